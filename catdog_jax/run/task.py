"""A task: what one population is asked to learn, every default filled in."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import optax

from catdog_jax.analysis.sketch import sketch
from catdog_jax.augment import augmenter, parse_augment
from catdog_jax.models.build import MODEL, build_model, check_logits
from catdog_jax.optimizers import HYPERPARAMS, NUMBERWISE, make_optimizer
from catdog_jax.population import Execution, Members, Plan, Schedule, Seeds
from catdog_jax.population.estimate import Training
from catdog_jax.population.flops import tree_bytes
from catdog_jax.population.members import DEFAULT_SEEDS
from catdog_jax.population.plan import BY_RULE
from catdog_jax.registry import own_code, parse_entry
from catdog_jax.sample import Sample, parse_sample, spread_rows
from catdog_jax.train import Learner, MemberKeys, TrainState, make_learner, steps_per_epoch
from catdog_jax.types import Data, Dataset, InputError, Model, Params, Recipe

TRAIN_EVAL_EXAMPLES = 512  # training examples that learning curves are drawn on, at most
EVAL_SHARE = 0.1  # of the training's work that evaluations may take, as long as they are few
FEWEST_EVALS, MOST_EVALS = 5, 20
STARTS = 4  # of a formula of one's own that are tried before it is trained
KEEP_BYTES = 256 * 10**6  # of a model's logits at all its evaluations, kept where no one says
SETTINGS = (*HYPERPARAMS, "label_smoothing", "gain")


@dataclass(frozen=True, eq=False)
class Task:
    """What one population is asked to do.

    Attributes:
      label: what it is called in the results; unique in a run.
      model: as typed in `--models`, or a formula of one's own.
      recipe: training settings, all filled in.
      data: what it learns from and is judged on.
      members: the table of members.
      seeds: of the streams.
      execution: how it is computed.
      start: where members begin: (keys, what was drawn) -> params, or the params [M, ...] that
        another population had reached; None for what is drawn. Or the state that they themselves
        had reached, which they go on from; see `Population.state`.
      until: the step where training stops, and its state is kept; 0: at the end.
      judged: parts of the data that members are judged on, besides some of those they learn from.
      tags: what an analysis has to know of it, ready for JSON.
    """

    label: str
    model: str | Model
    recipe: Recipe
    data: Dataset
    members: Members
    seeds: Seeds = DEFAULT_SEEDS
    execution: Execution = BY_RULE
    start: Callable[[MemberKeys, Params], Params] | Params | TrainState | None = None
    until: int = 0
    judged: tuple[str, ...] = ("test",)
    tags: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the parts fit together.

        Raises:
          InputError: a model that does not read such examples, does not fit them or does not give
            one logit per class; a batch larger than the data; a setting of members that nothing
            reads.
        """
        sample = self.sample
        num_examples = sample.size if sample else len(self.data.train.labels)
        steps_per_epoch(num_examples, self.recipe.batch_size)
        _check_reads(self)
        for name in self.members.settings:
            if name not in SETTINGS and not callable(self.start):
                raise InputError(f"no member has a {name!r} of its own; give {', '.join(SETTINGS)}")
        _check_formula(self)

    @functools.cached_property
    def formula(self) -> Model:
        """The formula in its usual form."""
        return self.form("direct")

    @functools.cached_property
    def num_params(self) -> int:
        """Weights of one member."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.param_shapes))

    @functools.cached_property
    def param_shapes(self) -> Params:
        """Shapes of one member's params."""
        return jax.eval_shape(self.formula.init, jax.eval_shape(lambda: jax.random.key(0)))

    @property
    def schedule(self) -> Schedule:
        """Steps and evaluations."""
        begin = int(self.start.step) if isinstance(self.start, TrainState) else 0
        return Schedule(self.until or self.recipe.num_steps, self.recipe.eval_every, begin)

    @property
    def sample(self) -> Sample | None:
        """The part of the examples that each member learns from; None for all."""
        text = self.recipe.sample
        return parse_sample(text, len(self.data.train.labels)) if text else None

    @functools.cached_property
    def evaluations(self) -> dict[str, Data]:
        """The examples that members are judged on.

        'train' is a fixed part of the training examples, evenly spaced and at most
        TRAIN_EVAL_EXAMPLES, to keep learning curves cheap; of other parts it is all examples.
        """
        train = self.data.train
        rows = spread_rows(train.labels, TRAIN_EVAL_EXAMPLES)
        found = {"train": Data(train.inputs[rows], train.labels[rows])}
        return found | {name: getattr(self.data, name).data for name in self.judged}

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The optimiser; what members have of their own is data of its state."""
        recipe = self.recipe
        return make_optimizer(
            recipe.optimizer,
            recipe.learning_rate,
            num_steps=recipe.num_steps,
            schedule=recipe.schedule,
            weight_decay=recipe.weight_decay,
            clip_norm=recipe.clip_norm,
            own=[name for name in self.members.settings if name in HYPERPARAMS],
        )

    def form(self, conv: str) -> Model:
        """Build the formula with convolutions in some form."""
        if isinstance(self.model, Model):
            return self.model
        shape, num_classes = self.data.train.inputs.shape[1:], len(self.data.class_names)
        return build_model(self.model, shape, num_classes, conv=conv, **self.data.constants)

    def learner(self, plan: Plan) -> Learner:
        """Make the functions of one member in the form that a plan asks for."""
        names, mean = parse_augment(self.recipe.augment), self.data.constants.get("mean", ())
        return make_learner(
            self.form(plan.conv),
            self.optimizer,
            batch_size=self.recipe.batch_size,
            augment=augmenter(names, mean),
            smoothing=self.recipe.label_smoothing,
            precision=self.execution.precision,
            microbatch=plan.microbatch,
            eval_batch=plan.eval_batch,
            sample=self.sample,
            start=self.start if callable(self.start) else None,
            joined=plan.joined,
        )

    @property
    def training(self) -> Training:
        """Describe by shapes alone what is trained, to plan it and to compile its programs."""
        train, test = self.data.train, self.data.test
        logits = 4 * len(self.data.class_names) * (len(test.labels) + TRAIN_EVAL_EXAMPLES)
        data, evaluations = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (train.data, self.evaluations)
        )
        return Training(
            form=self.form,
            learner=self.learner,
            batch_size=self.recipe.batch_size,
            schedule=self.schedule,
            train=data,
            evaluations=evaluations,
            members=self.members,
            num_members=self.members.count,
            how=self.execution,
            fixed_bytes=train.inputs.nbytes + test.inputs.nbytes + logits,
            transpose=parse_entry(self.recipe.optimizer)[0] in NUMBERWISE,
            observe=sketch,
        )

    @property
    def state_bytes(self) -> int:
        """Bytes of a checkpoint of one member: weights and the optimiser's state."""
        state = jax.eval_shape(self.optimizer.init, self.param_shapes)
        return tree_bytes(self.param_shapes) + tree_bytes(state)

    @property
    def logits_bytes(self) -> int:
        """Bytes of the test logits of all members at every evaluation, in float16."""
        numbers = len(self.data.test.labels) * len(self.data.class_names)
        return 2 * self.schedule.num_evaluations * self.members.count * numbers

    @property
    def is_own(self) -> bool:
        """Whether the formula is a person's own."""
        return isinstance(self.model, Model) or MODEL.is_own(self.model)

    @property
    def alike(self) -> bool:
        """Whether all members must end the same, because nothing that differs touches them."""
        table, recipe = self.members, self.recipe
        return table.count > 1 and not (
            table.settings
            or "init" in table.streams
            or ("data" in table.streams and recipe.sample)
            or ("order" in table.streams and recipe.batch_size < len(self.data.train.labels))
            or ("augment" in table.streams and recipe.augment != "none")
        )


def default_eval_every(recipe: Recipe, dataset: Dataset) -> int:
    """Space 5 to 20 evaluations so that they take about a tenth of the training's work.

    An example judged costs a third of one trained on.
    """
    judged = min(len(dataset.train.labels), TRAIN_EVAL_EXAMPLES) + len(dataset.test.labels)
    trained = recipe.num_steps * recipe.batch_size
    count = round(EVAL_SHARE * 3 * trained / judged)
    return math.ceil(recipe.num_steps / min(max(count, FEWEST_EVALS), MOST_EVALS))


def _check_reads(task: Task) -> None:
    kind, augment = task.data.kind, task.recipe.augment
    reads = (kind,) if isinstance(task.model, Model) else MODEL.spec(task.model).reads
    if kind not in reads:
        fit = [name for name, spec in MODEL.table().items() if kind in spec.reads]
        raise InputError(
            f"model {task.model!r} reads {' or '.join(reads)}; the data set {task.data.name} has "
            f"{kind}; give one of {', '.join(fit)}"
        )
    if augment != "none" and kind != "images":
        raise InputError(
            f"--augment={augment} changes pictures; the data set {task.data.name} has {kind}; "
            "give none"
        )


def _check_formula(task: Task) -> None:
    """Check that a formula, a person's own above all, does what a run relies on."""
    name, inputs = task.label, task.data.train.inputs
    with own_code(f"model {name!r}", "init"):
        params = task.param_shapes
    leaves = jax.tree.leaves(params)
    if not leaves or not all(np.issubdtype(leaf.dtype, np.floating) for leaf in leaves):
        raise InputError(f"model {name!r}: init must return floating-point arrays, at least one")
    examples = jax.ShapeDtypeStruct((2, *inputs.shape[1:]), inputs.dtype)
    num_classes = len(task.data.class_names)
    check_logits("model", name, task.formula.apply, params, examples, num_classes)
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
    names = [jax.tree_util.keystr((key,), simple=True) for path in paths for key in path]
    if any("/" in name for name in names):
        raise InputError(f"model {name!r}: the names of its params are {names}; none may hold '/'")
    if task.is_own and not any(_begins(task, inputs[:2], number) for number in range(STARTS)):
        raise InputError(
            f"model {name!r} gives logits that are not finite for the first two training examples, "
            f"whatever start of {STARTS} it has; mend its init or its apply"
        )


def _begins(task: Task, inputs: np.ndarray, number: int) -> bool:
    """Return whether a random start of a formula of one's own gives finite logits."""
    with own_code(f"model {task.label!r}", "apply"):
        params = task.formula.init(jax.random.key(number))
        logits = jax.jit(task.formula.apply)(params, inputs)
    return bool(np.isfinite(np.asarray(logits, np.float32)).all())
