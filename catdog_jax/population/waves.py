"""The host's side of training: waves one after another, segments, evaluations, snapshots."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree

from catdog_jax.population.devices import member_mesh
from catdog_jax.population.members import DEFAULT_SEEDS, Members, Seeds, member_keys
from catdog_jax.population.plan import Plan, make_plan
from catdog_jax.population.program import Observe, Program
from catdog_jax.train import Learner, MemberKeys, TrainState
from catdog_jax.types import Data

SEGMENT_SECONDS = 4.0  # a call to the devices should last about this long; no bit depends on it


class Schedule(NamedTuple):
    """When members learn and when they are judged.

    Attributes:
      num_steps: training steps, >= 1.
      eval_every: steps between evaluations, >= 1; the start and the end are always evaluated.
    """

    num_steps: int
    eval_every: int

    @property
    def evaluations(self) -> tuple[int, ...]:
        """The steps after which members are evaluated: 0, eval_every, ..., num_steps."""
        return (*range(0, self.num_steps, self.eval_every), self.num_steps)

    @property
    def num_evaluations(self) -> int:
        """The length of `evaluations`, without making it."""
        return math.ceil(self.num_steps / self.eval_every) + 1


class Snapshot(NamedTuple):
    """A wave between two segments, in host memory that nothing else writes to.

    Attributes:
      step: steps done.
      state: TrainState of numpy arrays.
      history: as of a `Wave`; what is not evaluated or reached yet is nan.
    """

    step: int
    state: TrainState
    history: dict[str, PyTree]


class Segment(NamedTuple):
    """What is told after each segment.

    Attributes:
      wave: its number.
      step: steps done.
      steps: steps of this segment.
      loss: mean batch loss of the segment over running members, nats.
      seconds: what the segment took.
      snapshot: makes a copy of the wave as it stands.
    """

    wave: int
    step: int
    steps: int
    loss: float
    seconds: float
    snapshot: Callable[[], Snapshot]


class Wave(NamedTuple):
    """Trained members.

    Attributes:
      number: of the wave.
      start: its first member's number.
      steps: [E] int32, steps done at each evaluation.
      history: name -> [M, E, ...]: '<evaluation>_loss' (nats), '<evaluation>_accuracy' (0 to 1),
        'observed' where something was, 'logits' [M, E, N, K] float16 where they are kept, and
        'params' where some are: step -> params [M, ...] then.
      logits: evaluation -> [M, N, K] float32, of the final weights.
      diverged_step: [M] int32, -1 = never; `num_steps` where only the final loss is not finite.
      params: final weights, stacked along the leading axis [M, ...].
    """

    number: int
    start: int
    steps: np.ndarray
    history: dict[str, PyTree]
    logits: dict[str, np.ndarray]
    diverged_step: np.ndarray
    params: PyTree


def train_population(
    learner: Learner,
    train: Data,
    schedule: Schedule,
    *,
    members: Members,
    evaluations: Mapping[str, Data],
    seeds: Seeds = DEFAULT_SEEDS,
    plan: Plan | None = None,
    mesh: Mesh | None = None,
    observe: Observe | None = None,
    begin: PyTree | None = None,
    keep_logits: str = "",
    keep_params: Collection[int] = (),
    waves: Iterable[int] | None = None,
    restore: Callable[[int, Snapshot], Snapshot | None] | None = None,
    on_segment: Callable[[Segment], None] | None = None,
) -> Iterator[Wave]:
    """Train a population wave after wave.

    The last wave may hold members beyond the table: every wave has the shape of the others.

    Args:
      learner: the functions of one member.
      train: training examples.
      schedule: steps and evaluations.
      members: the table of members; see `varied` for the usual one.
      evaluations: name -> examples to judge weights on.
      seeds: see `member_keys`.
      plan: see `make_plan`; made for this machine by default.
      mesh: devices; all local ones by default.
      observe: params -> array [S] kept at every evaluation as history['observed'].
      begin: params [M, ...] that members begin with in the place of those that are drawn.
      keep_logits: the evaluation whose logits are kept each time, in float16; '': none.
      keep_params: steps whose params are kept, each 0..num_steps.
      waves: numbers of the waves to train, asked for one at a time; all by default.
      restore: (wave, a snapshot of the right structure) -> the snapshot to go on from, or None.
      on_segment: called after each segment; what it raises ends the training.

    Yields:
      One Wave after the other, in order.
    """
    if plan is None:
        shape = (learner.batch_size, *train.inputs.shape[1:])
        batch = jax.ShapeDtypeStruct(shape, train.inputs.dtype)
        plan = make_plan(learner.model, batch, members.count)
    mesh = member_mesh(plan.num_devices, plan.share) if mesh is None else mesh
    keys = member_keys(seeds, members.rows(0, plan.wave))
    program = Program(learner, keys, train, evaluations, plan, mesh, observe)
    for index in range(math.ceil(members.count / plan.wave)) if waves is None else waves:
        first = index * plan.wave
        keys = member_keys(seeds, members.rows(first, first + plan.wave))
        runner = _WaveRunner(program, schedule, keys, first, index, keep_logits, keep_params)
        own = begin and jax.tree.map(lambda x, first=first: _rows(x, first, plan.wave), begin)
        runner.start(own, restore)
        for step, count, loss, seconds in runner.segments():
            if on_segment is not None:
                on_segment(Segment(index, step, count, loss, seconds, runner.snapshot))
        yield runner.finish()


class _WaveRunner:
    """One wave from its start, or from a snapshot, to its end."""

    def __init__(
        self,
        program: Program,
        schedule: Schedule,
        keys: MemberKeys,
        first: int,
        index: int,
        keep_logits: str,
        keep_params: Collection[int],
    ):
        self._program = program
        self._schedule = schedule
        self._keys = keys
        self._first = first
        self._index = index
        self._keep_logits, self._keep_params = keep_logits, sorted(keep_params)
        self._history: dict[str, PyTree] = {}
        self._metrics: Any = None
        self._step = 0

    def start(
        self, begin: PyTree | None, restore: Callable[[int, Snapshot], Snapshot | None] | None
    ) -> None:
        self._state = self._program.init(self._keys)
        if begin is not None:
            self._state = self._program.place(self._state._replace(params=begin))
        if self._keep_params:
            empty = jax.tree.map(lambda x: np.full(x.shape, np.nan, x.dtype), self._state.params)
            self._history["params"] = {str(step): empty for step in self._keep_params}
        self._reached()
        found = restore(self._index, self.snapshot()) if restore is not None else None
        if found is not None:
            self._state = self._program.place(found.state)
            self._history = jax.tree.map(np.array, found.history)
            self._step = found.step
            if self._step == self._schedule.num_steps:
                self._reached()

    def segments(self) -> Iterator[tuple[int, int, float, float]]:
        limit = 1
        while self._step < self._schedule.num_steps:
            stops = (*self._schedule.evaluations, *self._keep_params)
            count = min(limit, min(s for s in stops if s > self._step) - self._step)
            begin = time.perf_counter()
            self._state, info = self._program.segment(self._state, self._keys, count)
            losses = np.asarray(info.loss)
            seconds = time.perf_counter() - begin
            self._step += count
            if count == limit:
                limit = max(1, min(2 * limit, int(limit * SEGMENT_SECONDS / max(seconds, 1e-6))))
            self._reached()
            running = losses[np.asarray(self._state.diverged_step) < 0]
            loss = float(running.mean()) if running.size else math.nan
            yield self._step, count, loss, seconds

    def snapshot(self) -> Snapshot:
        # The next segment gives these buffers to XLA, so nothing here may share memory with them.
        state = jax.tree.map(lambda x: np.array(x, copy=True), self._state)
        return Snapshot(self._step, state, jax.tree.map(np.copy, self._history))

    def finish(self) -> Wave:
        return Wave(
            number=self._index,
            start=self._first,
            steps=np.array(self._schedule.evaluations, np.int32),
            history=self._history,
            logits={name: np.array(m.logits) for name, m in self._metrics.items()},
            diverged_step=self._diverged_step(),
            params=jax.tree.map(lambda x: np.array(x, copy=True), self._state.params),
        )

    def _diverged_step(self) -> np.ndarray:
        # No step comes after the last update to find that it went too far: its evaluation does.
        diverged = np.array(self._state.diverged_step)
        for metrics in self._metrics.values():
            lost = ~np.isfinite(np.asarray(metrics.loss))
            diverged = np.where((diverged < 0) & lost, np.int32(self._schedule.num_steps), diverged)
        return diverged

    def _reached(self) -> None:
        """Keep the params, and judge the members, where that is due."""
        if self._step in self._keep_params:
            params = jax.tree.map(lambda x: np.array(x, copy=True), self._state.params)
            self._history["params"][str(self._step)] = params
        if self._step not in self._schedule.evaluations:
            return
        self._metrics, observed = self._program.evaluate(self._state.params)
        column = self._schedule.evaluations.index(self._step)
        for name, metrics in self._metrics.items():
            self._record(f"{name}_loss", column, metrics.loss)
            self._record(f"{name}_accuracy", column, metrics.accuracy)
            if name == self._keep_logits:
                self._record("logits", column, metrics.logits, np.float16)
        if jax.tree.leaves(observed):
            self._record("observed", column, observed)

    def _record(self, name: str, column: int, values: Any, dtype: Any = None) -> None:
        with np.errstate(over="ignore"):  # of members that diverge
            values = np.asarray(values, dtype)
        if name not in self._history:
            shape = (values.shape[0], len(self._schedule.evaluations), *values.shape[1:])
            self._history[name] = np.full(shape, np.nan, values.dtype)
        self._history[name][:, column] = values


def _rows(array: Any, first: int, count: int) -> Any:
    """Take some members' rows, the last again beyond the end."""
    return np.asarray(array)[np.minimum(np.arange(first, first + count), len(array) - 1)]
