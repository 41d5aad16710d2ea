"""The compiled programs of a wave: start, train a segment, evaluate."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from catdog_jax.population.devices import AXIS, SHARED_AXIS, loop_options, once_options, sharing
from catdog_jax.population.plan import Plan
from catdog_jax.train import (
    ALONE,
    Info,
    Learner,
    MemberKeys,
    Metrics,
    TrainState,
    batch_at,
    epoch_order,
    steps_per_epoch,
)
from catdog_jax.types import Data, Params

Observe = Callable[[Params], PyTree]
TALL = 2  # rows over columns of a matrix, from which on it is carried transposed


class Program:
    """One model's population as compiled programs over the devices of a mesh.

    Every program maps one member's function over the members of a device (`plan.strategy`), and
    that over the devices (`shard_map`, no communication between members). Members lie along the
    leading axis of every array; `TrainState.step` alone is shared. Where a member has several
    devices (`plan.share`), each learns from its part of the batch, and gradients are summed.

    The number of steps of a segment is an argument: any cutting of a run into segments runs the
    same program, step for step, so a resumed run has the bits of one that never stopped.

    With the shapes of data instead of data, and a mesh of devices that need not be here, nothing
    is placed: such a program can be lowered and compiled, not run.
    """

    def __init__(
        self,
        learner: Learner,
        keys: MemberKeys,
        train: Data,
        evaluations: Mapping[str, Data],
        plan: Plan,
        mesh: Mesh,
        observe: Observe | None = None,
    ):
        """Place the data on the devices; nothing is compiled yet.

        Args:
          learner: the functions of one member.
          keys: of any wave; only which streams are shared matters here.
          train: the training examples.
          evaluations: name -> examples to judge the weights on.
          plan: see `make_plan`.
          mesh: see `member_mesh`.
          observe: params -> what is kept of them at every evaluation.
        """
        self._learner = learner
        self._plan = plan
        self._chunk = 0 if plan.chunk == plan.joined == 1 else plan.chunk
        self._mesh = mesh
        self._observe = observe or (lambda params: ())
        self._sharing = sharing(plan.share)
        # Examples that the devices cannot share evenly, each device judges all by itself.
        shared = {name: len(data.labels) % plan.share == 0 for name, data in evaluations.items()}
        self._examples = {name: P(SHARED_AXIS) if even else P() for name, even in shared.items()}
        self.train = self._place(train, P())
        self.evaluations = self._place(dict(evaluations), self._examples)
        sample = learner.sample
        self._num_examples = sample.size if sample else train.labels.shape[0]
        self._steps_per_epoch = steps_per_epoch(self._num_examples, learner.batch_size)
        # Where members lie along the leading axis, the spec is not P(): see `_axes`.
        streams = (P() if key.ndim == 0 else P(AXIS) for key in keys[:-1])
        self._keys = MemberKeys._make((*streams, P(AXIS)))
        self._state = TrainState._make((P(), P(AXIS), P(AXIS), P(AXIS)))
        start = (self._keys,), self._state
        self._init = self._jit(self._init_local, *start, compiler_options=once_options())
        self._segment = self._jit(
            self._segment_local,
            (self._state, self._keys, P(), P()),
            (self._state, P(AXIS)),
            donate_argnums=(0,),
            compiler_options=loop_options(mesh),
        )
        metrics = {
            name: Metrics._make((P(AXIS), P(AXIS), P(AXIS, *spec)))
            for name, spec in self._examples.items()
        }
        judged = (P(AXIS), self._examples), (metrics, P(AXIS))
        self._evaluate = self._jit(self._evaluate_local, *judged)

    def init(self, keys: MemberKeys) -> TrainState:
        """Draw the starting weights of a wave."""
        return self._init(self._place(keys, self._keys))

    def segment(
        self, state: TrainState, keys: MemberKeys, num_steps: int
    ) -> tuple[TrainState, Info]:
        """Train all members of a wave for some steps; `state` is used up.

        Returns:
          The new state, and the mean of what was observed over the steps, per member.
        """
        return self._segment(state, self._place(keys, self._keys), self.train, np.int32(num_steps))

    def evaluate(self, params: Params) -> tuple[dict[str, Any], PyTree]:
        """Judge the weights of a wave.

        Returns:
          (name -> Metrics [M, ...], what `observe` made of the weights [M, ...]).
        """
        return self._evaluate(params, self.evaluations)

    def lower_segment(self, keys: MemberKeys) -> jax.stages.Lowered:
        """Lower the segment program without running it, to read or compile it."""
        keys = self._place(keys, self._keys)
        return self._segment.lower(self._shapes(keys), keys, self.train, np.int32(1))

    def lower_evaluate(self, keys: MemberKeys) -> jax.stages.Lowered:
        """Lower the program that judges weights, likewise."""
        return self._evaluate.lower(self._shapes(keys).params, self.evaluations)

    def place(self, state: TrainState) -> TrainState:
        """Put a state from the host (a checkpoint) on the devices."""
        return self._place(state, self._state)

    def _shapes(self, keys: MemberKeys) -> TrainState:
        return self.place(jax.eval_shape(self._init, keys))

    def _place(self, tree: Any, specs: PyTree) -> Any:
        """Put arrays on the devices, or note on shapes where they would be."""

        def place(x: Any, spec: P) -> Any:
            sharding = NamedSharding(self._mesh, spec)
            if isinstance(x, jax.ShapeDtypeStruct):
                return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
            return jax.device_put(x, sharding)

        return jax.tree.map(place, tree, jax.tree.broadcast(specs, tree))

    def _jit(self, function: Callable, in_specs: Any, out_specs: Any, **options: Any) -> Any:
        # check_vma=False: the default sums gradients of what starts equal on all devices (biases),
        # which would couple the members without a word.
        sharded = jax.shard_map(
            function, mesh=self._mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
        )
        return jax.jit(sharded, **options)

    def _over_chunks(self, function: Callable, specs: PyTree, size: int, *args: Any) -> Any:
        """Apply a function of one chunk to the chunks of this device, one after another.

        Args:
          size: members of a chunk; 0 for one member without its axis.
          function: of `args` with the members of a chunk along the leading axis, or of one member's
            where a chunk is one member.
          specs: of `args`, or a prefix of them: P() where all members share an array.
        """
        leaves, treedef = jax.tree.flatten(args)
        varied = [spec != P() for spec in jax.tree.leaves(jax.tree.broadcast(specs, args))]
        own = [x for x, v in zip(leaves, varied, strict=True) if v]

        def chunk(xs: Any) -> Any:
            it = iter(xs)
            merged = [next(it) if v else x for x, v in zip(leaves, varied, strict=True)]
            return function(*jax.tree.unflatten(treedef, merged))

        count = own[0].shape[0]
        if size == 0:
            return jax.lax.map(chunk, tuple(own))
        if size == count:
            return chunk(own)
        parts = tuple(x.reshape(count // size, size, *x.shape[1:]) for x in own)
        out = jax.lax.map(chunk, parts)
        return jax.tree.map(lambda x: x.reshape(count, *x.shape[2:]), out)

    def _alone(self, function: Callable, specs: Any, *args: Any) -> Any:
        """Apply a function of one member to all of this device: vmapped where steps are, too."""
        size = self._chunk if self._plan.joined == 1 else 0
        each = jax.vmap(function, _axes(specs)) if size else function
        return self._over_chunks(each, specs, size, *args)

    def _each(self, function: Callable, in_axes: Any, out_axes: Any = 0) -> Callable:
        """Turn a function of one member into one of a chunk."""
        return jax.vmap(function, in_axes, out_axes) if self._chunk else function

    def _init_local(self, keys: MemberKeys) -> TrainState:
        return self._alone(self._learner.init, (self._keys,), keys)._replace(step=jnp.int32(0))

    def _segment_local(
        self, state: TrainState, keys: MemberKeys, train: Data, num_steps: Any
    ) -> tuple[TrainState, Info]:
        first = state.step
        key_axes = _axes(self._keys)
        sample = self._learner.sample
        # None where all members see the same examples at a step.
        rows_axis = 0 if key_axes.order == 0 or (sample and key_axes.data == 0) else None

        def draw(keys: MemberKeys, step: Any) -> Any:
            order = epoch_order(keys.order, step // self._steps_per_epoch, self._num_examples)
            return sample.draw(keys.data)[order] if sample else order

        def gather(rows: Any, step: Any) -> Data:
            return batch_at(rows, step, train, self._learner.batch_size)

        if rows_axis is not None:
            draw = self._each(draw, (key_axes, None))
            gather = self._each(gather, (0, None))

        tall = self._tall(state)

        def train_chunk(state: TrainState, keys: MemberKeys) -> Any:
            update = self._each(
                lambda state, keys, batch: self._learner.step(
                    state, keys, batch, self._sharing, lambda x: _transposed(x, tall.params)
                ),
                (_axes(self._state), key_axes, rows_axis),
                (_axes(self._state), 0),
            )

            def body(index: Any, carry: Any) -> Any:
                state, rows, total = carry
                step = first + index
                # `step` is the same for all members, so this stays a branch under vmap.
                # Drawn in one place: a generator of random numbers takes long to compile.
                new = (step % self._steps_per_epoch == 0) | (index == 0)
                rows = jax.lax.cond(new, lambda: draw(keys, step), lambda: rows)
                state, info = update(state._replace(step=step), keys, gather(rows, step))
                return state, rows, jax.tree.map(jnp.add, total, info)

            zero = jnp.zeros(state.diverged_step.shape, jnp.float32)
            drawn = jax.eval_shape(draw, keys, first)
            none = jnp.zeros(drawn.shape, drawn.dtype)
            begin = state, none, Info(zero, zero)
            state, _, total = jax.lax.fori_loop(0, num_steps, body, begin)
            return state[1:], jax.tree.map(lambda x: x / num_steps, total)  # but the step

        turned = _transposed(state, tall)
        specs = self._state, self._keys
        ends, info = self._over_chunks(train_chunk, specs, self._chunk, turned, keys)
        return _transposed(TrainState(first + num_steps, *ends), tall), info

    def _tall(self, tree: PyTree) -> PyTree:
        """Mark the matrices [M, ., .] that are carried from step to step transposed."""

        turn = self._plan.matrices != "stored"
        return jax.tree.map(
            lambda x: turn and x.ndim == 3 and x.shape[1] >= TALL * x.shape[2], tree
        )

    def _evaluate_local(self, params: Params, evaluations: Mapping[str, Data]) -> Any:
        ways = {n: ALONE if spec == P() else self._sharing for n, spec in self._examples.items()}

        def judge(params: Params) -> Any:
            judged = self._learner.evaluate
            metrics = {n: judged(params, data, ways[n]) for n, data in evaluations.items()}
            return metrics, self._observe(params)

        return self._alone(judge, (P(AXIS),), params)


def _transposed(tree: PyTree, marks: PyTree) -> PyTree:
    """Transpose the marked matrices; done twice, everything is as it was."""
    return jax.tree.map(lambda x, mark: jnp.swapaxes(x, -1, -2) if mark else x, tree, marks)


def _axes(specs: Any) -> Any:
    """Tell `vmap` where members lie: along the leading axis, or nowhere."""
    return jax.tree.map(lambda spec: None if spec == P() else 0, specs)
