"""From a config and its data to the jobs of a run: one per model, every default filled in."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from catdog_jax.augment import augmenter, parse_augment
from catdog_jax.models.build import MODEL, build_model, check_logits, recipe_for
from catdog_jax.ops.conv import FORMS
from catdog_jax.optimizers import make_optimizer
from catdog_jax.population import Members, Plan, Schedule, Seeds, parse_vary, varied
from catdog_jax.population.plan import STRATEGIES, tree_bytes
from catdog_jax.registry import reason
from catdog_jax.sample import Sample, parse_sample
from catdog_jax.store.manifest import check_name
from catdog_jax.train import PRECISIONS, Learner, make_learner, steps_per_epoch
from catdog_jax.types import Data, Dataset, InputError, Model, Recipe
from experiments.shared.config import STEP_MAX, TrainConfig, check_ranges, deciding

MEASURE = "measure"
TRAIN_EVAL_EXAMPLES = 512  # training examples that learning curves are drawn on, at most
EVAL_SHARE = 0.1  # of the training's work that evaluations may take, as long as they are few
FEWEST_EVALS, MOST_EVALS = 5, 20


class Job(NamedTuple):
    """One model of a run, and the examples it learns from.

    Attributes:
      label: what it is called in the results; unique in a run.
      entry: as typed in --models.
      dataset: what it learns from and is judged on.
      folder: what it is called in the run folder.
      model: the formula.
      recipe: training settings, all filled in.
      schedule: steps and evaluations.
      num_params: weights of one member.
    """

    label: str
    entry: str
    dataset: Dataset
    folder: str
    model: Model
    recipe: Recipe
    schedule: Schedule
    num_params: int


def split_models(text: str) -> tuple[str, ...]:
    """Split --models at its commas.

    Raises:
      InputError: an empty entry, or one given twice.
    """
    return split_list("models", text)


def split_list(flag: str, text: str) -> tuple[str, ...]:
    """Split a flag's list of entries at its commas.

    Raises:
      InputError: an empty entry, or one given twice.
    """
    entries = tuple(part.strip() for part in text.split(","))
    for index, entry in enumerate(entries):
        if not entry:
            raise InputError(f"--{flag}={text!r}: an entry is empty; write them like a,b,c")
        if entry in entries[:index]:
            raise InputError(f"--{flag}={text}: {entry!r} is given twice; give it once")
    return entries


def check_config(config: TrainConfig) -> None:
    """Refuse what can be refused before any data is read."""
    check_ranges(config)
    if config.name:
        check_name(config.name)
    if 0 < config.image_size < 8:
        raise InputError(f"--image_size={config.image_size} is out of range; give 8 to 1024")
    if config.strategy not in (*STRATEGIES, MEASURE):
        allowed = ", ".join((*STRATEGIES, MEASURE))
        raise InputError(f"--strategy={config.strategy}; allowed: {allowed}")
    if config.conv not in ("auto", *FORMS):
        raise InputError(f"--conv={config.conv}; allowed: {', '.join(('auto', *FORMS))}")
    if config.precision not in PRECISIONS:
        raise InputError(f"--precision={config.precision}; allowed: {', '.join(PRECISIONS)}")
    if config.augment is not None:
        parse_augment(config.augment)
    if config.models:
        for entry in split_models(config.models):
            recipe_for(entry, config.dataset)
    _optimizer(config, Recipe(1, 1, config.optimizer or "sgd", 1.0))


def make_jobs(
    config: TrainConfig,
    dataset: Dataset,
    entries: Sequence[str],
    *,
    first: int = 0,
    tag: str = "",
    stretch: float = 1.0,
) -> list[Job]:
    """Fill in every default for every model and build the formulas.

    Args:
      config: the settings.
      dataset: what the models learn from.
      entries: of --models.
      first: number of the first job in its run, for the names of its parts.
      tag: added to the labels, where a run trains the same models on several data sets.
      stretch: times the steps that the models' recipes propose, > 0.

    Raises:
      InputError: a model that does not read such examples, does not fit them or does not give one
        logit per class, a batch larger than the data, or too many steps.
    """
    jobs = []
    for index, entry in enumerate(entries, start=first):
        num_examples = len(dataset.train.labels)
        proposed = recipe_for(entry, dataset.name)
        proposed = proposed._replace(num_steps=max(1, round(stretch * proposed.num_steps)))
        recipe = _filled(config, proposed, num_examples)
        if recipe.num_steps > STEP_MAX:
            raise InputError(
                f"--stretch={stretch:g} gives {entry} {recipe.num_steps:,} steps; at most "
                f"{STEP_MAX:,} are allowed, give a smaller one"
            )
        sample = _sample(config, num_examples)
        steps_per_epoch(sample.size if sample else num_examples, recipe.batch_size)
        _check_reads(entry, recipe, dataset)
        model = formula(entry, dataset, "direct")
        count = _checked_num_params(entry, model, dataset)
        every = config.eval_every or default_eval_every(recipe, dataset)
        schedule = Schedule(recipe.num_steps, min(every, recipe.num_steps))
        label = entry + tag
        folder = f"{index:02d}_{label}"
        jobs.append(Job(label, entry, dataset, folder, model, recipe, schedule, count))
    return jobs


def _check_reads(entry: str, recipe: Recipe, dataset: Dataset) -> None:
    reads = MODEL.spec(entry).reads
    if dataset.kind not in reads:
        fit = [name for name, spec in MODEL.table().items() if dataset.kind in spec.reads]
        raise InputError(
            f"model {entry!r} reads {' or '.join(reads)}; the data set {dataset.name} has "
            f"{dataset.kind}; give one of {', '.join(fit)}"
        )
    if recipe.augment != "none" and dataset.kind != "images":
        raise InputError(
            f"--augment={recipe.augment} changes pictures; the data set {dataset.name} has "
            f"{dataset.kind}; give none"
        )


def _checked_num_params(entry: str, model: Model, dataset: Dataset) -> int:
    """Count the weights of a formula, a person's own above all, that does what a run relies on."""
    inputs = dataset.train.inputs
    try:
        params = jax.eval_shape(model.init, jax.eval_shape(lambda: jax.random.key(0)))
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a formula of one's own may raise anything
        raise InputError(f"model {entry!r} fails ({reason(error)}); mend its init") from error
    leaves = jax.tree.leaves(params)
    if not leaves or not all(np.issubdtype(leaf.dtype, np.floating) for leaf in leaves):
        raise InputError(f"model {entry!r}: init must return floating-point arrays, at least one")
    examples = jax.ShapeDtypeStruct((2, *inputs.shape[1:]), inputs.dtype)
    check_logits("model", entry, model.apply, params, examples, len(dataset.class_names))
    return sum(math.prod(leaf.shape) for leaf in leaves)


def default_eval_every(recipe: Recipe, dataset: Dataset) -> int:
    """Space 5 to 20 evaluations so that they take about a tenth of the training's work.

    An example judged costs a third of one trained on.
    """
    judged = min(len(dataset.train.labels), TRAIN_EVAL_EXAMPLES) + len(dataset.test.labels)
    trained = recipe.num_steps * recipe.batch_size
    count = round(EVAL_SHARE * 3 * trained / judged)
    return math.ceil(recipe.num_steps / min(max(count, FEWEST_EVALS), MOST_EVALS))


def job_learner(config: TrainConfig, job: Job, plan: Plan) -> Learner:
    """Make the learner of a job in the form its plan asks for."""
    return make_learner(
        formula(job.entry, job.dataset, plan.conv),
        _optimizer(config, job.recipe),
        batch_size=job.recipe.batch_size,
        augment=augmenter(parse_augment(job.recipe.augment), job.dataset.constants.get("mean", ())),
        smoothing=config.label_smoothing,
        precision=config.precision,
        microbatch=plan.microbatch,
        eval_batch=plan.eval_batch,
        sample=_sample(config, len(job.dataset.train.labels)),
    )


def evaluation_sets(dataset: Dataset) -> dict[str, Data]:
    """The examples that members are judged on.

    'train' is a fixed part of the training examples, evenly spaced and at most
    TRAIN_EVAL_EXAMPLES, to keep learning curves cheap; 'test' is all of the test examples.
    """
    num = len(dataset.train.labels)
    rows = np.linspace(0, num - 1, min(num, TRAIN_EVAL_EXAMPLES)).astype(np.int64)
    part = Data(dataset.train.inputs[rows], dataset.train.labels[rows])
    return {"train": part, "test": dataset.test.data}


def run_settings(config: TrainConfig, dataset: Dataset, jobs: Sequence[Job]) -> dict[str, Any]:
    """Collect all that decides a run's numbers, ready for JSON: what a run folder is held to."""
    settings = deciding(config)
    settings["models"] = ",".join(dict.fromkeys(job.entry for job in jobs))
    if dataset.kind == "images":
        settings["image_size"] = int(dataset.train.inputs.shape[1])
    settings["classes"] = ",".join(dataset.class_names)
    settings["data fingerprint"] = str(dataset.provenance["fingerprint"])
    for job in jobs:
        for key, value in {**job.recipe._asdict(), "eval_every": job.schedule.eval_every}.items():
            settings[f"{key} of {job.label}"] = value
    return settings


def seeds_of(config: TrainConfig) -> Seeds:
    """The integers a person typed."""
    return Seeds(config.init_seed, config.order_seed, config.augment_seed, config.data_seed or 0)


def members_of(config: TrainConfig) -> Members:
    """The usual table, of --num_members and --vary."""
    return varied(config.num_members, parse_vary(config.vary))


def state_bytes(config: TrainConfig, job: Job) -> int:
    """Estimate what a checkpoint of one member holds: weights and the optimiser's state."""
    tx = _optimizer(config, job.recipe)
    params = jax.eval_shape(job.model.init, jax.eval_shape(lambda: jax.random.key(0)))
    return tree_bytes(params) + tree_bytes(jax.eval_shape(tx.init, params))


def formula(entry: str, dataset: Dataset, conv: str) -> Model:
    """Build the model of an entry of --models for a data set, with convolutions in some form."""
    shape, num_classes = dataset.train.inputs.shape[1:], len(dataset.class_names)
    return build_model(entry, shape, num_classes, conv=conv, **dataset.constants)


def _sample(config: TrainConfig, num_examples: int) -> Sample | None:
    return parse_sample(config.sample, num_examples) if config.sample else None


def _filled(config: TrainConfig, recipe: Recipe, num_examples: int) -> Recipe:
    recipe = recipe._replace(batch_size=min(recipe.batch_size, num_examples))
    given = {name: getattr(config, name) for name in Recipe._fields}
    return recipe._replace(**{name: value for name, value in given.items() if value is not None})


def _optimizer(config: TrainConfig, recipe: Recipe) -> Any:
    return make_optimizer(
        recipe.optimizer,
        recipe.learning_rate,
        num_steps=recipe.num_steps,
        schedule=config.schedule,
        weight_decay=recipe.weight_decay,
        clip_norm=config.clip_norm,
    )
