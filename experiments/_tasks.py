"""From a Config to tasks: the settings of every experiment that trains, every default filled in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from catdog_jax import run
from catdog_jax.augment import parse_augment
from catdog_jax.data import dataset_spec, load_dataset
from catdog_jax.models.build import MODEL, recipe_for
from catdog_jax.ops.conv import FORMS
from catdog_jax.optimizers import make_optimizer
from catdog_jax.population import Seeds, parse_vary, varied
from catdog_jax.population.plan import STRATEGIES
from catdog_jax.registry import parse_entry
from catdog_jax.run import Task
from catdog_jax.run.plans import MEASURE
from catdog_jax.run.progress import reading_progress
from catdog_jax.run.summary import aligned
from catdog_jax.run.task import default_eval_every
from catdog_jax.store.manifest import check_name
from catdog_jax.train import PRECISIONS
from catdog_jax.types import Dataset, InputError, Recipe
from experiments._cli import check_ranges, command_line, deciding, setting, split_list

SEED_MAX = 2**32 - 1
STEP_MAX = 2**31 - 1  # a step is an int32 in the program


@dataclass(frozen=True)
class FolderConfig:
    """Settings of every experiment that leaves a run folder."""

    out_dir: str = setting("runs", "where run folders are made", operational=True)
    name: str = setting("", "of the run folder; empty: made from the settings", operational=True)
    fresh: bool = setting(
        False, "start another run beside one of the same settings", operational=True
    )


@dataclass(frozen=True)
class TrainConfig(FolderConfig):
    """Settings of every experiment that trains populations."""

    run: str | None = setting(
        None, "folder of a finished run whose members are taken, instead of training some"
    )
    dataset: str = setting(
        "procedural",
        "procedural (embedded; procedural:difficulty=0.2 draws easier ones, 0 to 1), folder, "
        "cats_vs_dogs, cifar10, oxford_iiit_pet, any image set of TFDS, words (sentences), or "
        "package.module.function of your own",
    )
    data_dir: str | None = setting(
        None, "folder of the pictures, or of prepared TFDS data sets", operational=True
    )
    classes: str = setting("", "classes to tell apart, like cat,dog; empty: the data set's own")
    image_size: int = setting(
        0, "pixels a side, 8 to 1024; 0: the data set's default", low=0, high=1024
    )
    models: str = setting(
        "",
        "list of linear, mlp, cnn, resnet (of words: bag_of_words, word_average, word_conv, "
        "word_attention), each with settings if wanted (mlp:width=256:depth=3,"
        "cnn:widths=32-64-128), or package.module.builder of your own; "
        "empty: the data set's default",
    )
    num_members: int = setting(32, "random starts of each model", low=1)
    num_steps: int | None = setting(
        None, "training steps; unset: by model and data set", low=1, high=STEP_MAX
    )
    batch_size: int | None = setting(None, "examples a step; unset: by model and data set", low=1)
    optimizer: str | None = setting(
        None,
        "sgd, adam, adamw, nadamw, lion, rmsprop, lamb or muon, with settings if wanted "
        "(sgd:momentum=0.95); unset: by model and data set",
    )
    learning_rate: float | None = setting(
        None, "top of the schedule; unset: by model and data set", above=0.0
    )
    weight_decay: float | None = setting(None, "unset: by model and data set", low=0.0)
    schedule: str = setting(
        "cosine:warmup=0.1",
        "constant, cosine or linear, with settings if wanted (cosine:warmup=0.1)",
    )
    clip_norm: float = setting(0.0, "longest gradient let through; 0: any", low=0.0)
    label_smoothing: float = setting(
        0.0, "share of the target spread over all classes", low=0.0, high=0.999
    )
    augment: str | None = setting(
        None, "none, or a list of flip,shift,cutout; unset: by model and data set"
    )
    vary: str = setting("init", "what differs between members: a list of init,order,augment,data")
    sample: str | None = setting(
        None,
        "examples that a member learns from: bootstrap, subset:SHARE or leave_out:NUMBER, drawn "
        "for each member where --vary names data; unset: all",
    )
    init_seed: int = setting(0, "of the starting weights", low=0, high=SEED_MAX)
    order_seed: int = setting(0, "of the order of the examples", low=0, high=SEED_MAX)
    augment_seed: int = setting(0, "of the augmentation", low=0, high=SEED_MAX)
    data_seed: int | None = setting(
        None, "of the examples that --sample leaves; unset: 0", low=0, high=SEED_MAX
    )
    eval_every: int | None = setting(
        None, "steps between evaluations; unset: 5 to 20 evaluations, by their cost", low=1
    )
    keep: str | None = setting(
        None,
        "logits of every evaluation, or the final ones; unset: logits up to 256 MB a model",
        operational=True,
    )
    keep_params: str | None = setting(
        None, "list of steps whose weights are kept besides the last, like 0,100,200"
    )
    wave: int = setting(0, "members that train together; 0: as many as fit in memory", low=0)
    strategy: str = setting(
        "auto",
        "auto (a written rule), map, chunk or vmap: how members share a device; measure: try "
        "each for a moment and keep the fastest",
    )
    conv: str = setting(
        "auto", "auto, direct, lax or patches: how convolutions are computed, not what"
    )
    precision: str = setting("float32", "float32, tf32 or bfloat16")
    compile_cache: str = setting(
        "",
        "folder that keeps compiled programs; empty: the user's cache folder; none: no cache",
        operational=True,
    )
    download: bool = setting(
        False, "let TFDS fetch and prepare the data set in data_dir", operational=True
    )
    coordinator: str = setting(
        "",
        "host:port of process 0, where several share the run; empty: as SLURM, Open MPI, "
        "Kubernetes or Cloud TPU say, if they have started this one; none: always alone",
        operational=True,
    )
    num_processes: int | None = setting(
        None, "with --coordinator: processes that share the run", low=1, operational=True
    )
    process_id: int | None = setting(
        None, "with --coordinator: the number of this process, from 0", low=0, operational=True
    )

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
        check_ranges(self)
        parse_vary(self.vary)
        if self.name:
            check_name(self.name)
        if 0 < self.image_size < 8:
            raise InputError(f"--image_size={self.image_size} is out of range; give 8 to 1024")
        for flag, allowed in (
            ("strategy", (*STRATEGIES, MEASURE)),
            ("conv", ("auto", *FORMS)),
            ("precision", PRECISIONS),
        ):
            if getattr(self, flag) not in allowed:
                raise InputError(f"--{flag}={getattr(self, flag)}; allowed: {', '.join(allowed)}")
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
        for task in found:
            recipe = task.recipe
            for key in (*Recipe._fields[:6], "eval_every"):
                decided[f"{key} of {task.label}"] = getattr(recipe, key)
        return decided

    @staticmethod
    def epilogue() -> str:
        """Write the table of what unset training flags become, for the help."""
        names = ["steps", "batch", "optimizer", "rate", "decay", "augment"]
        rows = [["model", "data set", *names]]
        for model, spec in MODEL.table().items():
            for dataset, recipe in spec.recipes.items():
                cells = (f"{x:g}" if isinstance(x, float) else str(x) for x in recipe[:6])
                rows.append([model, "any other" if dataset == "default" else dataset, *cells])
        return "\n".join(["What unset training flags become:", *("  " + r for r in aligned(rows))])


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
    config: Any,
    data: Dataset,
    *,
    models: str = "",
    tag: str = "",
    stretch: float = 1.0,
    **changes: Any,
) -> list[Task]:
    """Fill in every default for every model.

    Args:
      config: the settings.
      data: what the models learn from.
      models: where the settings name none; empty: those of the data set.
      tag: added to the labels, where a run trains the same models on several data sets.
      stretch: times the steps that the models' recipes propose, > 0.
      changes: of the recipe, in the place of what models propose and of the settings.

    Raises:
      InputError: see `run.Task`; or too many steps.
    """
    models = config.models or models
    models = models or dataset_spec(config.dataset, data_dir=config.data_dir).models
    found = []
    for entry in split_list("models", models):
        proposed = recipe_for(entry, data.name)
        proposed = proposed._replace(
            num_steps=max(1, round(stretch * proposed.num_steps)),
            batch_size=min(proposed.batch_size, len(data.train.labels)),
        )
        flags = ((name, getattr(config, name, None)) for name in Recipe._fields)
        given: dict[str, Any] = {name: value for name, value in flags if value is not None}
        recipe = proposed._replace(**given | changes)
        if recipe.num_steps > STEP_MAX:
            raise InputError(
                f"--stretch={stretch:g} gives {entry} {recipe.num_steps:,} steps; at most "
                f"{STEP_MAX:,} are allowed, give a smaller one"
            )
        every = given.get("eval_every") or changes.get("eval_every")
        every = every or default_eval_every(recipe, data)
        found.append(
            Task(
                label=entry + tag,
                model=entry,
                recipe=recipe._replace(eval_every=min(every, recipe.num_steps)),
                data=data,
                members=varied(config.num_members, parse_vary(config.vary)),
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
    """
    names = (parse_entry(str(task.model))[0] for task in found)
    short_name = short_name or "+".join(names)
    keep_params = config.keep_params or ""
    return run.train_run(
        found,
        experiment=experiment,
        data=data,
        settings=config.decided(data, found) if decided is None else decided,
        short_name=f"{parse_entry(config.dataset)[0]}-{short_name}",
        command=command_line(config, experiment),
        source=config.source,
        out_dir=config.out_dir,
        name=config.name,
        fresh=config.fresh,
        growable=growable,
        keep=config.keep,
        keep_params=[_step(part, found) for part in keep_params.split(",") if part],
    )


def _step(text: str, found: Sequence[Task]) -> int:
    longest = max((task.recipe.num_steps for task in found), default=0)
    if not text.strip().isdecimal() or int(text) > longest:
        raise InputError(f"--keep_params: {text!r} is no step; give numbers from 0 to {longest}")
    return int(text)
