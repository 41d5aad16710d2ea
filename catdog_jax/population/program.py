"""The compiled programs of a wave: start, train a segment, evaluate."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from catdog_jax.population.devices import AXIS, SHARED_AXIS, loop_options, sharing
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
)
from catdog_jax.train import steps_per_epoch as count_steps_per_epoch
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
        self._mesh = mesh
        self._observe = observe or (lambda params: ())
        self._sharing = sharing(plan.share)
        self.train = self._place(train, P())
        # Examples that the devices cannot share evenly, each device judges all by itself.
        self._shared = {
            name: len(data.labels) % plan.share == 0 for name, data in evaluations.items()
        }
        self.evaluations = {
            name: self._place(data, P(SHARED_AXIS) if self._shared[name] else P())
            for name, data in evaluations.items()
        }
        sample = learner.sample
        self._num_examples = sample.size if sample else train.labels.shape[0]
        self.steps_per_epoch = count_steps_per_epoch(self._num_examples, learner.batch_size)
        # The types of these NamedTuples speak of arrays; here each field is an array's spec.
        key_specs: list[Any] = [P() if key.ndim == 0 else P(AXIS) for key in keys[:-1]]
        state_specs: list[Any] = [P(), P(AXIS), P(AXIS), P(AXIS)]
        self._keys_spec: Any = MemberKeys(*[*key_specs, P(AXIS)])
        self._state_spec: Any = TrainState(*state_specs)
        self._init = self._jit(self._init_local, (self._keys_spec,), self._state_spec)
        self._segment = self._jit(
            self._segment_local,
            (self._state_spec, self._keys_spec, P(), P()),
            (self._state_spec, P(AXIS)),
            donate_argnums=(0,),
            compiler_options=loop_options(mesh),
        )
        examples = {n: P(SHARED_AXIS) if shared else P() for n, shared in self._shared.items()}
        self._evaluate = self._jit(
            self._evaluate_local,
            (P(AXIS), examples),
            ({name: self._metrics_spec(name) for name in evaluations}, P(AXIS)),
        )

    def init(self, keys: MemberKeys) -> TrainState:
        """Draw the starting weights of a wave."""
        return self._init(self._placed(keys))

    def segment(
        self, state: TrainState, keys: MemberKeys, num_steps: int
    ) -> tuple[TrainState, Info]:
        """Train all members of a wave for some steps; `state` is used up.

        Returns:
          The new state, and the mean of what was observed over the steps, per member.
        """
        return self._segment(state, self._placed(keys), self.train, np.int32(num_steps))

    def evaluate(self, params: Params) -> tuple[dict[str, Any], PyTree]:
        """Judge the weights of a wave.

        Returns:
          (name -> Metrics [M, ...], what `observe` made of the weights [M, ...]).
        """
        return self._evaluate(params, self.evaluations)

    def lower_segment(self, keys: MemberKeys) -> jax.stages.Lowered:
        """Lower the segment program without running it, to read or compile it."""
        keys = self._placed(keys)
        return self._segment.lower(self._state_shapes(keys), keys, self.train, np.int32(1))

    def lower_evaluate(self, keys: MemberKeys) -> jax.stages.Lowered:
        """Lower the program that judges weights, likewise."""
        params = self._state_shapes(self._placed(keys)).params
        return self._evaluate.lower(params, self.evaluations)

    def place(self, state: TrainState) -> TrainState:
        """Put a state from the host (a checkpoint) on the devices."""
        return jax.device_put(state, self._shardings(state))

    def _state_shapes(self, keys: MemberKeys) -> TrainState:
        state = jax.eval_shape(self._init, keys)
        return jax.tree.map(_shape, state, self._shardings(state))

    def _shardings(self, state: TrainState) -> TrainState:
        def over(tree: PyTree, spec: P) -> PyTree:
            return jax.tree.map(lambda _: NamedSharding(self._mesh, spec), tree)

        return TrainState(
            *(over(part, spec) for part, spec in zip(state, self._state_spec, strict=True))
        )

    def _placed(self, keys: MemberKeys) -> MemberKeys:
        return MemberKeys(
            *(self._place(key, spec) for key, spec in zip(keys, self._keys_spec, strict=True))
        )

    def _place(self, tree: PyTree, spec: P) -> PyTree:
        sharding = NamedSharding(self._mesh, spec)

        def place(x: Any) -> Any:
            shape_only = isinstance(x, jax.ShapeDtypeStruct)
            return _shape(x, sharding) if shape_only else jax.device_put(x, sharding)

        return jax.tree.map(place, tree)

    def _metrics_spec(self, name: str) -> Metrics:
        per_example = P(AXIS, SHARED_AXIS) if self._shared[name] else P(AXIS)
        specs: list[Any] = [P(AXIS), P(AXIS), per_example]
        return Metrics(*specs)

    def _jit(self, function: Callable, in_specs: Any, out_specs: Any, **options: Any) -> Any:
        # check_vma=False: the default sums gradients of what starts equal on all devices (biases),
        # which would couple the members without a word.
        sharded = jax.shard_map(
            function, mesh=self._mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
        )
        return jax.jit(sharded, **options)

    def _over_chunks(self, function: Callable, varied: PyTree, *args: Any) -> Any:
        """Apply a function of one chunk to the chunks of this device, one after another.

        Args:
          function: of `args` with the members of a chunk along the leading axis, or of one member's
            where a chunk is one member.
          varied: like `args` or a prefix of it: whether members lie along the leading axis.
        """
        leaves, treedef = jax.tree.flatten(args)
        flags = _spread(varied, args)
        own = [x for x, v in zip(leaves, flags, strict=True) if v]

        def chunk(xs: Any) -> Any:
            it = iter(xs)
            return function(
                *jax.tree.unflatten(
                    treedef, [next(it) if v else x for x, v in zip(leaves, flags, strict=True)]
                )
            )

        count, size = own[0].shape[0], self._plan.chunk
        if size == 1:
            return jax.lax.map(chunk, tuple(own))
        if size == count:
            return chunk(own)
        parts = tuple(x.reshape(count // size, size, *x.shape[1:]) for x in own)
        out = jax.lax.map(chunk, parts)
        return jax.tree.map(lambda x: x.reshape(count, *x.shape[2:]), out)

    def _each(self, function: Callable, in_axes: Any, out_axes: Any = 0) -> Callable:
        """Turn a function of one member into one of a chunk."""
        return function if self._plan.chunk == 1 else jax.vmap(function, in_axes, out_axes)

    def _key_axes(self) -> MemberKeys:
        axes: list[Any] = [None if spec == P() else 0 for spec in self._keys_spec]
        return MemberKeys(*axes)

    def _keys_varied(self) -> MemberKeys:
        varied: list[Any] = [spec != P() for spec in self._keys_spec]
        return MemberKeys(*varied)

    def _init_local(self, keys: MemberKeys) -> TrainState:
        init = self._each(self._learner.init, (self._key_axes(),))
        state = self._over_chunks(init, (self._keys_varied(),), keys)
        return state._replace(step=jnp.int32(0))

    def _segment_local(
        self, state: TrainState, keys: MemberKeys, train: Data, num_steps: Any
    ) -> tuple[TrainState, Info]:
        first = state.step
        key_axes = self._key_axes()
        sample = self._learner.sample
        # None where all members see the same examples at a step.
        rows_axis = 0 if key_axes.order == 0 or (sample and key_axes.data == 0) else None

        def draw(order_key: Any, data_key: Any, step: Any) -> Any:
            order = epoch_order(order_key, step // self.steps_per_epoch, self._num_examples)
            return sample.draw(data_key)[order] if sample else order

        def gather(rows: Any, step: Any) -> Data:
            return batch_at(rows, step, train, self._learner.batch_size)

        if rows_axis is not None:
            draw = self._each(draw, (key_axes.order, key_axes.data, None))
            gather = self._each(gather, (0, None))

        def rows_at(keys: MemberKeys, step: Any) -> Any:
            return draw(keys.order, keys.data, step)

        over_members: list[Any] = [None, 0, 0, 0]
        members = TrainState(*over_members)
        tall, tall_moments = self._tall(state.params), self._tall(state.opt_state)

        def train_chunk(params: Any, opt_state: Any, diverged: Any, keys: MemberKeys) -> Any:
            update = self._each(
                lambda state, keys, batch: self._learner.step(
                    state, keys, batch, self._sharing, lambda carried: _transposed(carried, tall)
                ),
                (members, key_axes, rows_axis),
                (members, 0),
            )

            def body(index: Any, carry: Any) -> Any:
                state, rows, total = carry
                step = first + index
                # `step` is the same for all members, so this stays a branch under vmap.
                rows = jax.lax.cond(
                    step % self.steps_per_epoch == 0, lambda: rows_at(keys, step), lambda: rows
                )
                state, info = update(state._replace(step=step), keys, gather(rows, step))
                return state, rows, jax.tree.map(jnp.add, total, info)

            zero = jnp.zeros(diverged.shape, jnp.float32)
            start = TrainState(first, params, opt_state, diverged)
            state, _, total = jax.lax.fori_loop(
                0, num_steps, body, (start, rows_at(keys, first), Info(zero, zero))
            )
            mean = jax.tree.map(lambda x: x / num_steps, total)
            return state.params, state.opt_state, state.diverged_step, mean

        params, opt_state, diverged, info = self._over_chunks(
            train_chunk,
            (True, True, True, self._keys_varied()),
            _transposed(state.params, tall),
            _transposed(state.opt_state, tall_moments),
            state.diverged_step,
            keys,
        )
        params, opt_state = _transposed(params, tall), _transposed(opt_state, tall_moments)
        return TrainState(first + num_steps, params, opt_state, diverged), info

    def _tall(self, tree: PyTree) -> PyTree:
        """Mark the matrices [M, ., .] that are carried from step to step transposed."""

        def mark(x: Any) -> bool:
            if self._plan.matrices == "stored" or x.ndim != 3:
                return False
            return x.shape[-2] >= TALL * x.shape[-1]

        return jax.tree.map(mark, tree)

    def _evaluate_local(self, params: Params, evaluations: Mapping[str, Data]) -> Any:
        def judge(params: Params) -> Any:
            metrics = {
                name: self._learner.evaluate(
                    params, data, self._sharing if self._shared[name] else ALONE
                )
                for name, data in evaluations.items()
            }
            return metrics, self._observe(params)

        return self._over_chunks(self._each(judge, (0,)), (True,), params)


def _transposed(tree: PyTree, marks: PyTree) -> PyTree:
    """Transpose the marked matrices; done twice, everything is as it was."""
    return jax.tree.map(lambda x, mark: jnp.swapaxes(x, -1, -2) if mark else x, tree, marks)


def _shape(x: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)


def _spread(prefix: PyTree, tree: PyTree) -> list[Any]:
    """Repeat each leaf of a prefix for every leaf below it."""
    below = jax.tree.map(lambda p, x: jax.tree.map(lambda _: p, x), prefix, tree)
    return jax.tree.leaves(below)
