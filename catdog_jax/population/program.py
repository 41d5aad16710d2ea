"""The compiled programs of a wave: start, train a segment, evaluate."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from catdog_jax.population.devices import AXIS
from catdog_jax.population.plan import Plan
from catdog_jax.train import Info, Learner, MemberKeys, TrainState, batch_at, epoch_order
from catdog_jax.train import steps_per_epoch as count_steps_per_epoch
from catdog_jax.types import Data, Params

Observe = Callable[[Params], PyTree]


class Program:
    """One model's population as compiled programs over the devices of a mesh.

    Every program maps one member's function over the members of a device (`plan.strategy`), and
    that over the devices (`shard_map`, no communication). Members lie along the leading axis of
    every array; `TrainState.step` alone is shared.

    The number of steps of a segment is an argument: any cutting of a run into segments runs the
    same program, step for step, so a resumed run has the bits of one that never stopped.
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
          mesh: devices along the axis 'member'.
          observe: params -> what is kept of them at every evaluation.
        """
        self._learner = learner
        self._plan = plan
        self._mesh = mesh
        self._observe = observe or (lambda params: ())
        replicated = NamedSharding(mesh, P())
        self.train = jax.device_put(train, replicated)
        self.evaluations = jax.device_put(dict(evaluations), replicated)
        self.steps_per_epoch = count_steps_per_epoch(train.labels.shape[0], learner.batch_size)
        # The types of these NamedTuples speak of arrays; here each field is an array's spec.
        key_specs: list[Any] = [P() if key.ndim == 0 else P(AXIS) for key in keys]
        state_specs: list[Any] = [P(), P(AXIS), P(AXIS), P(AXIS)]
        self._keys_spec: Any = MemberKeys(*key_specs)
        self._state_spec: Any = TrainState(*state_specs)
        self._init = self._jit(self._init_local, (self._keys_spec,), self._state_spec)
        self._segment = self._jit(
            self._segment_local,
            (self._state_spec, self._keys_spec, P(), P()),
            (self._state_spec, P(AXIS)),
            donate=(0,),
        )
        self._evaluate = self._jit(self._evaluate_local, (P(AXIS), P()), P(AXIS))

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
        state = jax.eval_shape(self._init, keys)
        state = jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
            state,
            self._shardings(state),
        )
        return self._segment.lower(state, keys, self.train, np.int32(1))

    def place(self, state: TrainState) -> TrainState:
        """Put a state from the host (a checkpoint) on the devices."""
        return jax.device_put(state, self._shardings(state))

    def _shardings(self, state: TrainState) -> TrainState:
        def over(tree: PyTree, spec: P) -> PyTree:
            return jax.tree.map(lambda _: NamedSharding(self._mesh, spec), tree)

        return TrainState(
            *(over(part, spec) for part, spec in zip(state, self._state_spec, strict=True))
        )

    def _placed(self, keys: MemberKeys) -> MemberKeys:
        return MemberKeys(
            *(
                jax.device_put(key, NamedSharding(self._mesh, spec))
                for key, spec in zip(keys, self._keys_spec, strict=True)
            )
        )

    def _jit(self, function: Callable, in_specs: Any, out_specs: Any, donate: Any = ()) -> Any:
        # check_vma=False: the default sums gradients of what starts equal on all devices (biases),
        # which would couple the members without a word.
        sharded = jax.shard_map(
            function, mesh=self._mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
        )
        return jax.jit(sharded, donate_argnums=donate)

    def _over_members(self, function: Callable, axes: PyTree, *args: Any) -> Any:
        """Apply a function of one member to the members of this device, as the plan says.

        Args:
          axes: like `args`, 0 where members lie along the leading axis, None where they share.
        """
        leaves, treedef = jax.tree.flatten(args)
        varied = jax.tree.leaves(
            jax.tree.map(
                lambda a, x: jax.tree.map(lambda _: a is not None, x),
                axes,
                args,
                is_leaf=lambda a: a is None or a == 0,
            )
        )
        own = [x for x, v in zip(leaves, varied, strict=True) if v]

        def member(*xs: Any) -> Any:
            it = iter(xs)
            return function(
                *jax.tree.unflatten(
                    treedef, [next(it) if v else x for x, v in zip(leaves, varied, strict=True)]
                )
            )

        count, chunk = own[0].shape[0], self._plan.chunk
        if chunk == count and count > 1:
            return jax.vmap(member)(*own)
        if chunk == 1:
            return jax.lax.map(lambda xs: member(*xs), tuple(own))
        parts = tuple(x.reshape(count // chunk, chunk, *x.shape[1:]) for x in own)
        out = jax.lax.map(lambda xs: jax.vmap(member)(*xs), parts)
        return jax.tree.map(lambda x: x.reshape(count, *x.shape[2:]), out)

    def _key_axes(self) -> MemberKeys:
        axes: list[Any] = [None if spec == P() else 0 for spec in self._keys_spec]
        return MemberKeys(*axes)

    def _init_local(self, keys: MemberKeys) -> TrainState:
        state = self._over_members(self._learner.init, (self._key_axes(),), keys)
        return state._replace(step=jnp.int32(0))

    def _segment_local(
        self, state: TrainState, keys: MemberKeys, train: Data, num_steps: Any
    ) -> tuple[TrainState, Info]:
        first = state.step
        num_examples = train.labels.shape[0]

        def draw(keys: MemberKeys, step: Any) -> Any:
            return epoch_order(keys.order, step // self.steps_per_epoch, num_examples)

        def train_member(params: Any, opt_state: Any, frozen: Any, keys: MemberKeys) -> Any:
            def body(index: Any, carry: Any) -> Any:
                state, order, total = carry
                step = first + index
                # `step` and not `state.step`: it is the same for all members, so that under vmap
                # this stays a branch, and a shared batch is gathered once.
                order = jax.lax.cond(
                    step % self.steps_per_epoch == 0, lambda: draw(keys, step), lambda: order
                )
                batch = batch_at(order, step, train, self._learner.batch_size)
                state, info = self._learner.step(state._replace(step=step), keys, batch)
                return state, order, jax.tree.map(jnp.add, total, info)

            start = TrainState(first, params, opt_state, frozen)
            zero = Info(jnp.float32(0), jnp.float32(0))
            state, _, total = jax.lax.fori_loop(
                0, num_steps, body, (start, draw(keys, first), zero)
            )
            mean = jax.tree.map(lambda x: x / num_steps, total)
            return state.params, state.opt_state, state.frozen_step, mean

        *parts, info = self._over_members(
            train_member,
            (0, 0, 0, self._key_axes()),
            state.params,
            state.opt_state,
            state.frozen_step,
            keys,
        )
        return TrainState(first + num_steps, *parts), info

    def _evaluate_local(self, params: Params, evaluations: Mapping[str, Data]) -> Any:
        def judge(params: Params) -> Any:
            metrics = {name: self._learner.evaluate(params, d) for name, d in evaluations.items()}
            return metrics, self._observe(params)

        return self._over_members(judge, (0,), params)
