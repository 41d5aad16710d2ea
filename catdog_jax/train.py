"""The only training step in the project: one member, one batch, one update.

A `Learner` is a handful of pure functions. It closes over functions and numbers, never over
data, so that a data set is an argument of the compiled program and not a constant in it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from catdog_jax import losses
from catdog_jax.augment import Augment
from catdog_jax.optimizers import set_hyperparams
from catdog_jax.sample import Sample, permutation
from catdog_jax.types import Data, First, InputError, Key, Model, Params

PRECISIONS = ("float32", "tf32", "bfloat16")


class MemberKeys(NamedTuple):
    """What a member's result is a function of: four streams, and settings of its own.

    Attributes:
      init: starting weights.
      order: which examples when.
      augment: flips, shifts and holes.
      data: which examples it learns from, where `Learner.sample` leaves some out.
      settings: name -> number that takes the place of the learner's own; see `Members`.

    Each stream is one key, or keys [M]; one that all members share is always one key. Settings are
    numbers, or [M].
    """

    init: Key
    order: Key
    augment: Key
    data: Key
    settings: dict[str, Array] = {}  # noqa: RUF012 (a field of a tuple; nothing writes to it)


class TrainState(NamedTuple):
    """What one training step hands to the next.

    Attributes:
      step: number of steps done, int32; the same for all members of a wave.
      params: the weights.
      opt_state: the optimiser's.
      diverged_step: the step whose loss or gradient was not finite, int32; -1 = never. A diverged
        member keeps the weights it had before that step.
    """

    step: Int[Array, ""]
    params: Params
    opt_state: PyTree
    diverged_step: Int[Array, "*M"]


class Info(NamedTuple):
    """What is only observed of a step: batch loss (nats) and gradient norm (L2)."""

    loss: Float[Array, "*M"]
    grad_norm: Float[Array, "*M"]


class Metrics(NamedTuple):
    """What a set of examples says of weights.

    Attributes:
      loss: mean cross-entropy, nats.
      accuracy: share of examples classified right, 0 to 1.
      logits: [N, K] float32.
    """

    loss: Float[Array, "*M"]
    accuracy: Float[Array, "*M"]
    logits: Float[Array, "*M N K"]


class Sharing(NamedTuple):
    """How several devices work on the examples of one member.

    Attributes:
      devices: how many share them.
      part: tree of [B, ...] -> tree of [B / devices, ...], this device's examples.
      total: tree -> tree, its sum over the devices.
    """

    devices: int = 1
    part: Callable[[PyTree], PyTree] = lambda tree: tree
    total: Callable[[PyTree], PyTree] = lambda tree: tree


ALONE = Sharing()


class Learner(NamedTuple):
    """How weights start, change and are judged.

    Attributes:
      init: keys -> state at step 0.
      step: (state, keys, batch, sharing=ALONE, view=identity) -> (state after the batch, what was
        observed). Each device gets the whole batch, changes it at random as a whole, and learns
        from its part. `view` gives the formula's params from what `state` carries in their place.
      evaluate: (params, data, sharing=ALONE) -> metrics; loss and accuracy over the data of all
        devices, logits of the data at hand.
      batch_size: examples per step.
      model: the formula that is trained.
      sample: the part of the examples that a member learns from; None: all of them.
    """

    init: Callable[[MemberKeys], TrainState]
    step: Callable[..., tuple[TrainState, Info]]
    evaluate: Callable[..., Metrics]
    batch_size: int
    model: Model
    sample: Sample | None = None


def make_learner(
    model: Model,
    optimizer: optax.GradientTransformation,
    *,
    batch_size: int,
    augment: Augment | None = None,
    objective: losses.Objective = losses.CLASSIFICATION,
    smoothing: float = 0.0,
    precision: str = "float32",
    microbatch: int = 0,
    eval_batch: int = 256,
    sample: Sample | None = None,
    start: Callable[[MemberKeys, Params], Params] | None = None,
    joined: int = 1,
) -> Learner:
    """Make a learner of a formula and an optimiser.

    Args:
      model: the formula; only `init` and `apply` are used.
      optimizer: any optax transformation; its update runs per member.
      batch_size: examples per step, >= 1.
      augment: (key, inputs) -> inputs of the same shape; None for none.
      objective: loss and score; classification, or regression on float labels.
      smoothing: label smoothing, 0 <= smoothing < 1, in training only.
      precision: 'float32'; 'tf32' (matrix products on tensor cores); 'bfloat16' (the formula runs
        in bfloat16). Weights, optimiser and loss stay float32 in all three.
      microbatch: the gradient is summed over parts of this many examples, which fit the cache; 0
        for the whole batch at once. The result differs by rounding only.
      eval_batch: examples evaluated at a time.
      sample: of the training examples, drawn from `keys.data`; None for all of them.
      start: (keys, what `model.init` drew) -> the params that a member begins with.
      joined: `step`, vmapped over up to so many members that share their batch, computes their
        first layers as one (see `types.First`), the rest of one member after another; 1: not so.

    Settings of `keys.settings` take the place of what is given here and to the optimiser.

    Raises:
      InputError: an unknown precision.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}; allowed: {', '.join(PRECISIONS)}")
    matmul = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}[precision]

    def logits_of(params: Params, inputs: Array) -> Array:
        if precision == "bfloat16":
            params = jax.tree.map(_to_bfloat16, params)
        return model.apply(params, inputs).astype(jnp.float32)

    def init(keys: MemberKeys) -> TrainState:
        params = model.init(keys.init)
        if "gain" in keys.settings:
            params = _scaled(params, keys.settings["gain"])
        if start is not None:
            params = start(keys, params)
        opt_state = set_hyperparams(optimizer.init(params), keys.settings)
        return TrainState(jnp.int32(0), params, opt_state, jnp.int32(-1))

    # Around gradients as well: those that are written by hand are traced after the forward pass.
    @jax.default_matmul_precision(matmul)
    def step(
        state: TrainState,
        keys: MemberKeys,
        batch: Data,
        sharing: Sharing = ALONE,
        view: Callable[[PyTree], Params] = lambda carried: carried,
    ) -> tuple[TrainState, Info]:
        inputs, labels = jnp.asarray(batch.inputs), jnp.asarray(batch.labels)
        num = inputs.shape[0]
        if augment is not None:
            inputs = augment(jax.random.fold_in(keys.augment, state.step), inputs)
        spread = keys.settings.get("label_smoothing", smoothing)

        def loss_sum(carried: PyTree, inputs: Array, labels: Array, spread: Array) -> Array:
            return jnp.sum(objective.loss(logits_of(view(carried), inputs), labels, spread))

        parts = functools.partial(_in_microbatches, microbatch)
        gradient: Any = functools.partial(parts, jax.value_and_grad(loss_sum))
        if joined > 1 and model.first:
            first, rest = model.first, model.first.rest

            def rest_sum(carried: PyTree, made: Array, labels: Array, spread: Array) -> Array:
                return jnp.sum(objective.loss(rest(view(carried), made), labels, spread))

            of_members = functools.partial(
                parts, functools.partial(_joined, joined, first, rest_sum)
            )
            gradient = jax.custom_batching.custom_vmap(gradient)
            marks = True, jax.tree.map(lambda _: True, state.params)
            gradient.def_vmap(lambda size, batched, *args: (of_members(*args), marks))
        inputs, labels = sharing.part((inputs, labels))
        total = sharing.total(gradient(state.params, inputs, labels, jnp.float32(spread)))
        ends, info = finish(state, *jax.tree.map(lambda x: x / num, total))
        return TrainState(state.step + 1, *ends), info

    def update(state: TrainState, loss: Array, grads: PyTree) -> tuple[tuple, Info]:
        grad_norm = optax.tree.norm(grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)

        running = state.diverged_step < 0
        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        params, opt_state = jax.tree.map(
            functools.partial(jnp.where, running & finite),
            (params, opt_state),
            (state.params, state.opt_state),
        )
        diverged_step = jnp.where(running & ~finite, state.step, state.diverged_step)
        return (params, opt_state, diverged_step), Info(loss, grad_norm)

    # Of an update that is vmapped, the last bits depend on how many members there are.
    one_by_one = jax.custom_batching.sequential_vmap
    finish = one_by_one(update) if joined > 1 else update

    @jax.default_matmul_precision(matmul)
    def evaluate(params: Params, data: Data, sharing: Sharing = ALONE) -> Metrics:
        inputs, labels = jnp.asarray(data.inputs), jnp.asarray(data.labels)
        logits = _in_parts(functools.partial(logits_of, params), inputs, eval_batch)
        loss = jnp.sum(objective.loss(logits, labels, 0.0))
        right = jnp.sum(objective.right(logits, labels).astype(jnp.float32))
        loss, right = sharing.total((loss, right))
        num = labels.shape[0] * sharing.devices
        return Metrics(loss / num, right / num, logits)

    return Learner(init, step, evaluate, batch_size, model, sample)


def epoch_order(order_key: Key, epoch: Int[Array, ""], num_examples: int) -> Int[Array, " N"]:
    """Draw the order of an epoch: a function of the key and the epoch alone.

    Args:
      order_key: the member's, or the one that all members share.
      epoch: int32 >= 0.
      num_examples: N.

    Returns:
      [N] int32, see `sample.permutation`.
    """
    return permutation(jax.random.fold_in(order_key, epoch), num_examples)


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Count the whole batches of an epoch; the rest of the order is left out.

    Raises:
      InputError: the batch is larger than the data.
    """
    if batch_size > num_examples:
        raise InputError(
            f"batch_size {batch_size} is larger than the {num_examples} training examples; "
            f"give at most {num_examples}"
        )
    return num_examples // batch_size


def batch_at(order: Int[Array, " n"], step: Int[Array, ""], data: Data, batch_size: int) -> Data:
    """Gather the examples of one step from the epoch's order."""
    slot = step % steps_per_epoch(order.shape[0], batch_size)
    rows = jax.lax.dynamic_slice(order, (slot * batch_size,), (batch_size,))
    inputs = jnp.asarray(data.inputs)
    # Whole rows: XLA:CPU computes the index of every number that it gathers from more axes.
    chosen = inputs.reshape(inputs.shape[0], -1)[rows].reshape(batch_size, *inputs.shape[1:])
    return Data(chosen, jnp.asarray(data.labels)[rows])


def _in_microbatches(size: int, gradient: Any, params: PyTree, *batch: Array) -> Any:
    """Sum (loss, gradient) over parts of a batch of which each fits the cache."""
    *examples, spread = batch
    num = examples[0].shape[0]
    size = next((s for s in range(min(size, num), 0, -1) if num % s == 0), num)
    if size == num:
        return gradient(params, *batch)
    parts = [x.reshape(-1, size, *x.shape[1:]) for x in examples]

    def add(total: Any, part: list[Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, gradient(params, *part, spread)), None

    shapes = jax.eval_shape(lambda part: gradient(params, *part, spread), [x[0] for x in parts])
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(add, zero, parts)[0]


def _joined(
    room: int,
    first: First,
    rest_sum: Callable[..., Array],
    params: PyTree,
    inputs: Array,
    *others: Array,
) -> tuple[Array, PyTree]:
    """Compute loss and gradient of members [M, ...] of which all see the same examples.

    The one layer always has room for as many: its shape, on which the order of sums may depend,
    is the same for any number of members beside a member.
    """
    labels, spread = others

    def begin(layers: PyTree) -> Array:
        count = jax.tree.leaves(layers)[0].shape[0]

        def wide(x: Array) -> Array:
            x = jnp.pad(x, [(0, room - count)] + [(0, 0)] * (x.ndim - 1))
            return jnp.moveaxis(x, 0, -2).reshape(*x.shape[1:-1], -1)

        made = first.apply(jax.tree.map(wide, layers), inputs)
        return jnp.moveaxis(made.reshape(*made.shape[:-1], room, -1), -2, 0)[:count]

    made, back = jax.vjp(begin, params[first.name])
    spread = jnp.broadcast_to(spread, made.shape[:1])
    loss, (grads, of_made) = jax.lax.map(
        lambda member: jax.value_and_grad(rest_sum, (0, 1))(*member[:2], labels, member[2]),
        (params, made, spread),
    )
    (own,) = back(of_made)
    return loss, grads | {first.name: jax.tree.map(jnp.add, grads[first.name], own)}


def _in_parts(function: Callable[[Array], Array], inputs: Array, size: int) -> Array:
    """Apply a function of a batch to parts of it, one after another, and join the results."""
    num = inputs.shape[0]
    count = -(-num // size)
    size = -(-num // count)
    padding = ((0, count * size - num),) + ((0, 0),) * (inputs.ndim - 1)
    parts = jnp.pad(inputs, padding).reshape(count, size, *inputs.shape[1:])
    out = jax.lax.map(function, parts)
    return out.reshape(count * size, *out.shape[2:])[:num]


def _scaled(params: Params, gain: Array) -> Params:
    """Multiply what is drawn at random; of a norm's 'scale' the start is one, of biases zero."""

    def scaled(path: tuple, leaf: Array) -> Array:
        named = jax.tree_util.keystr(path[-1:], simple=True) if path else ""
        return leaf if named == "scale" else leaf * gain

    return jax.tree_util.tree_map_with_path(scaled, params)


def _to_bfloat16(array: Array) -> Array:
    return array.astype(jnp.bfloat16) if array.dtype == jnp.float32 else array
