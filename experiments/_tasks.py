"""From a Config to tasks: the settings of every experiment that trains, every default filled in."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from catdog_jax import run
from catdog_jax.augment import parse_augment
from catdog_jax.data import dataset_spec, load_dataset
from catdog_jax.models.build import MODEL, recipe_for
from catdog_jax.ops.conv import FORMS
from catdog_jax.optimizers import make_optimizer
from catdog_jax.population import Seeds, parse_vary, varied
from catdog_jax.population.plan import STRATEGIES
from catdog_jax.registry import Kind, OneOf, Range, parse_entry, split_list, table
from catdog_jax.run import Task
from catdog_jax.run.plans import MEASURE
from catdog_jax.run.progress import duration, reading_progress
from catdog_jax.run.summary import WIDTH, aligned
from catdog_jax.run.task import default_eval_every
from catdog_jax.store.manifest import check_name
from catdog_jax.train import PRECISIONS
from catdog_jax.types import Dataset, InputError, Recipe
from experiments._cli import (
    Operational,
    Settings,
    command_line,
    deciding,
    flags_of,
    told_settings,
    whole_numbers,
)

SEEDS = Range(0, 2**32 - 1)
Seed = Annotated[int, SEEDS]
STEP_MAX = 2**31 - 1  # a step is an int32 in the program
LONG_SECONDS = 3600.0  # beyond, a person at a terminal is asked for --yes


@dataclass(frozen=True)
class FolderConfig(Settings):
    """Settings of every experiment that leaves a run folder.

    Attributes:
      out_dir: where run folders are made
      name: of the run folder; empty: made from the settings
      fresh: start another run beside one of the same settings
    """

    out_dir: Operational[str] = "runs"
    name: Operational[str] = ""
    fresh: Operational[bool] = False

    def place(self, experiment: str) -> dict[str, Any]:
        """Say where a run goes and what command makes it, as `run.train_run` is told."""
        where = {"out_dir": self.out_dir, "name": self.name, "fresh": self.fresh}
        return {**where, "experiment": experiment, "command": command_line(self, experiment)}


@dataclass(frozen=True)
class ProgramConfig(Settings):
    """Settings of training that decide its programs, of which fit_check asks too.

    Attributes:
      dataset: procedural (embedded; procedural:difficulty=0.2 draws easier ones, 0 to 1), folder,
        cats_vs_dogs, cifar10, oxford_iiit_pet, any image set of TFDS, words (sentences), or
        package.module.function of your own
      image_size: pixels a side, 8 to 1024; 0: the data set's default
      models: list of linear, mlp, cnn, resnet (of words: bag_of_words, word_average, word_conv,
        word_attention), each with settings if wanted (mlp:width=256:depth=3,
        cnn:widths=32-64-128), or package.module.builder of your own; empty: the data set's default
      num_members: random starts of each model; unset: 32, or 8 on photographs
      num_steps: training steps; unset: by model and data set
      batch_size: examples a step; unset: by model and data set
      optimizer: sgd, adam, adamw, nadamw, lion, rmsprop, lamb or muon, with settings if wanted
        (sgd:momentum=0.95); unset: by model and data set
      augment: none, or a list of flip,shift,cutout; unset: by model and data set
      vary: what differs between members: a list of init,order,augment,data
      eval_every: steps between evaluations; unset: 5 to 20 evaluations, by their cost
      wave: members that train together; 0: as many as fit in memory
      strategy: auto (a written rule), map, chunk or vmap: how members share a device; measure: try
        each for a moment and keep the fastest
      conv: auto, direct, lax, patches, wide or winograd: how convolutions are computed, not what
      precision: float32, tf32 or bfloat16
    """

    dataset: str = "procedural"
    image_size: Annotated[int, Range(0, 1024)] = 0
    models: str = ""
    num_members: Annotated[int | None, Range(1)] = None
    num_steps: Annotated[int | None, Range(1, STEP_MAX)] = None
    batch_size: Annotated[int | None, Range(1)] = None
    optimizer: str | None = None
    augment: str | None = None
    vary: str = "init"
    eval_every: Annotated[int | None, Range(1)] = None
    wave: Annotated[int, Range(0)] = 0
    strategy: Annotated[str, OneOf((*STRATEGIES, MEASURE))] = "auto"
    conv: Annotated[str, OneOf(("auto", *FORMS))] = "auto"
    precision: Annotated[str, OneOf(PRECISIONS)] = "float32"

    @classmethod
    def epilogue(cls, *kinds: Kind) -> str:
        """Write for the help what unset flags become, and the settings of all that has a name.

        Args:
          kinds: that may be named besides models and data sets.
        """
        names = ["steps", "batch", "optimizer", "rate", "decay", "augment"]
        rows = [["model", "data set", *names]]
        for model, spec in MODEL.table().items():
            for dataset, recipe in spec.recipes.items():
                cells = (f"{x:g}" if isinstance(x, float) else str(x) for x in recipe[:6])
                rows.append([model, "any other" if dataset == "default" else dataset, *cells])
        builders = [(name, x.build) for kind in (MODEL, *kinds) for name, x in kind.table().items()]
        datasets = table("catdog_jax.data", "DATASETS").items()
        builders += [(name, spec.load) for name, spec in datasets]
        hidden = {*flags_of(TrainConfig), "progress", "vocabulary"}
        return "\n".join(
            [
                "What unset training flags become:",
                *("  " + row for row in aligned(rows, width=WIDTH - 2)),
                "",
                "Settings, like mlp:depth=3:norm=layer, with their defaults:",
                *told_settings(builders, hidden),
            ]
        )


@dataclass(frozen=True)
class TrainConfig(ProgramConfig, FolderConfig):
    """Settings of every experiment that trains populations.

    Attributes:
      run: folder of a finished run whose members are taken, instead of training some; latest: the
        newest in out_dir
      data_dir: folder of the pictures, or of prepared TFDS data sets
      classes: classes to tell apart, like cat,dog; empty: the data set's own
      learning_rate: top of the schedule; unset: by model and data set
      weight_decay: unset: by model and data set
      schedule: constant, cosine or linear, with settings if wanted (cosine:warmup=0.1:cycles=4)
      clip_norm: longest gradient let through; 0: any
      label_smoothing: share of the target spread over all classes
      sample: examples that a member learns from: bootstrap, subset:SHARE or leave_out:NUMBER, drawn
        for each member where --vary names data; unset: all
      init_seed: of the starting weights
      order_seed: of the order of the examples
      augment_seed: of the augmentation
      data_seed: of the examples that --sample leaves; unset: 0
      keep: logits of every evaluation, or the final ones; unset: logits up to 256 MB a model
      keep_params: list of steps whose weights are kept besides the last, like 0,100,200
      compile_cache: folder that keeps compiled programs; empty: the user's cache folder; none: no
        cache
      download: let TFDS fetch and prepare the data set in data_dir
      dry_run: say what would be trained and what it takes, and write nothing
      yes: begin a run of more than an hour, which at a terminal is not begun without
      coordinator: host:port of process 0, where several share the run; empty: as SLURM, Open MPI,
        Kubernetes or Cloud TPU say, if they have started this one; none: always alone
      num_processes: with --coordinator: processes that share the run
      process_id: with --coordinator: the number of this process, from 0
    """

    run: str | None = None
    data_dir: Operational[str | None] = None
    classes: str = ""
    learning_rate: Annotated[float | None, Range(above=0)] = None
    weight_decay: Annotated[float | None, Range(0)] = None
    schedule: str = "cosine:warmup=0.1"
    clip_norm: Annotated[float, Range(0)] = 0.0
    label_smoothing: Annotated[float, Range(0, 0.999)] = 0.0
    sample: str | None = None
    init_seed: Seed = 0
    order_seed: Seed = 0
    augment_seed: Seed = 0
    data_seed: Annotated[int | None, SEEDS] = None
    keep: Operational[str | None] = None
    keep_params: str | None = None
    compile_cache: Operational[str] = ""
    download: Operational[bool] = False
    dry_run: Operational[bool] = False
    yes: Operational[bool] = False
    coordinator: Operational[str] = ""
    num_processes: Operational[Annotated[int | None, Range(1)]] = None
    process_id: Operational[Annotated[int | None, Range(0)]] = None

    @property
    def source(self) -> dict[str, Any]:
        """Say what data set is to be loaded, and from where."""
        return {
            "dataset": self.dataset,
            "data_dir": self.data_dir,
            "classes": tuple(part.strip() for part in self.classes.split(",") if part.strip()),
            "image_size": self.image_size,
        }

    def check(self) -> None:
        """Raise for what can be seen to be wrong before any data is read.

        Raises:
          InputError: as above.
        """
        parse_vary(self.vary)
        if self.name:
            check_name(self.name)
        if 0 < self.image_size < 8:
            raise InputError(f"--image_size={self.image_size} is out of range; give 8 to 1024")
        if self.augment is not None:
            parse_augment(self.augment)
        if self.models not in ("", "none"):
            for entry in split_list("models", self.models):
                recipe_for(entry, self.dataset)
        make_optimizer(self.optimizer or "sgd", 1.0, num_steps=1, schedule=self.schedule)

    def decided(self, data: Dataset, found: Sequence[Task]) -> dict[str, Any]:
        """Collect all that decides a run's numbers: what its folder is held to; ready for JSON."""
        decided = deciding(self)
        decided["models"] = ",".join(dict.fromkeys(str(task.model) for task in found))
        if data.kind == "images":
            decided["image_size"] = int(data.train.inputs.shape[1])
        decided["classes"] = ",".join(data.class_names)
        decided["data fingerprint"] = str(data.provenance["fingerprint"])
        if found:
            decided["num_members"] = max(task.members.count for task in found)
        for task in found:
            recipe = task.recipe
            if task.members.count < decided["num_members"]:
                decided[f"num_members of {task.label}"] = task.members.count
            for key in (*Recipe._fields[:6], "eval_every"):
                decided[f"{key} of {task.label}"] = getattr(recipe, key)
        return decided


def read_data(config: Any) -> Dataset:
    """Check a Config, meet the other processes of the run, take the devices, and read the data.

    Raises:
      InputError: wrong input; nothing is touched.
      RuntimeError: the other processes did not come, or have ended.
    """
    config.check()
    run.begin(config.coordinator, config.num_processes, config.process_id, config.compile_cache)
    where = config.source
    name = where.pop("dataset")
    where |= {"download": config.download, "progress": reading_progress()}
    return run.read_together(lambda: load_dataset(name, **where), config.download)


def tasks(
    config: Any, data: Dataset, *, models: str = "", tag: str = "", stretch: float = 1.0
) -> list[Task]:
    """Fill in every default for every model.

    Args:
      config: the settings.
      data: what the models learn from.
      models: where the settings name none; empty: those of the data set.
      tag: added to the labels, where a run trains the same models on several data sets.
      stretch: times the steps that the models' recipes propose, > 0.

    Raises:
      InputError: see `run.Task`; or too many steps.
    """
    models, count = config.models or models, config.num_members
    if not models or not count:
        spec = dataset_spec(config.dataset, data_dir=config.data_dir)
        models, count = models or spec.models, count or spec.num_members
    found = []
    for entry in split_list("models", models):
        proposed = recipe_for(entry, data.name)
        proposed = proposed._replace(
            num_steps=max(1, round(stretch * proposed.num_steps)),
            batch_size=min(proposed.batch_size, len(data.train.labels)),
        )
        flags = ((name, getattr(config, name)) for name in Recipe._fields)
        given: dict[str, Any] = {name: value for name, value in flags if value is not None}
        recipe = proposed._replace(**given)
        if recipe.num_steps > STEP_MAX:
            raise InputError(
                f"--stretch={stretch:g} gives {entry} {recipe.num_steps:,} steps; at most "
                f"{STEP_MAX:,} are allowed, give a smaller one"
            )
        every = config.eval_every or default_eval_every(recipe, data)
        found.append(
            Task(
                label=entry + tag,
                model=entry,
                recipe=recipe._replace(eval_every=min(every, recipe.num_steps)),
                data=data,
                members=varied(count, parse_vary(config.vary)),
                seeds=Seeds(
                    config.init_seed, config.order_seed, config.augment_seed, config.data_seed or 0
                ),
                execution=run.Execution(
                    config.strategy, config.conv, config.wave, config.precision
                ),
            )
        )
    return found


def train(
    config: Any,
    experiment: str,
    data: Dataset,
    found: Sequence[Task],
    short_name: str = "",
    growable: bool = True,
    *,
    decided: dict[str, Any] | None = None,
    keep_params: Collection[int] = (),
) -> run.Run:
    """Train tasks into the run folder that a Config names; see `run.train_run`.

    Args:
      config: the settings.
      experiment: name of the folder below `--out_dir`.
      data: the run's data set.
      found: the tasks.
      short_name: of the name of a run without `--name`, behind the data set's; by default those of
        the models.
      growable: whether `--num_members` may grow.
      decided: of `TrainConfig.decided`, and more.
      keep_params: steps whose params are kept beside those that are asked for.
    """

    def confirm(seconds: float) -> None:
        fewer = int(found[0].members.count * LONG_SECONDS / seconds) if found else 0
        attended = os.isatty(0) and os.isatty(2)
        if seconds > LONG_SECONDS and attended and not config.yes:
            hint = f": --num_members={fewer} takes about an hour" if fewer > 1 else ""
            raise InputError(
                f"this run takes about {duration(seconds)}; add --yes to begin it, or ask for less"
                f"{hint} (--dry_run shows the plan)"
            )

    names = (parse_entry(str(task.model))[0] for task in found)
    short_name = short_name or "+".join(names)
    longest, keep = max((t.recipe.num_steps for t in found), default=0), config.keep_params
    return run.train_run(
        found,
        data=data,
        settings=config.decided(data, found) if decided is None else decided,
        short_name=f"{parse_entry(config.dataset)[0]}-{short_name}",
        source=config.source,
        growable=growable,
        keep=config.keep,
        dry_run=config.dry_run,
        confirm=confirm,
        keep_params={
            *keep_params,
            *(whole_numbers("keep_params", keep, 0, longest) if keep else ()),
        },
        **config.place(experiment),
    )
