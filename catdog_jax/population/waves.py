"""The host's side of training: waves one after another, segments, evaluations, snapshots."""

import functools
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from catdog_jax import interrupt
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
      begin: how many of the steps members have behind them.
    """

    num_steps: int
    eval_every: int
    begin: int = 0

    @property
    def evaluations(self) -> tuple[int, ...]:
        """The steps after which members are evaluated: begin, by eval_every, and num_steps."""
        return (*range(self.begin, self.num_steps, self.eval_every), self.num_steps)

    @property
    def num_evaluations(self) -> int:
        """The length of `evaluations`, without making it."""
        return math.ceil((self.num_steps - self.begin) / self.eval_every) + 1


class Snapshot(NamedTuple):
    """A wave between two segments, in host memory that nothing else writes to.

    Attributes:
      state: TrainState of numpy arrays.
      history: as of a `Wave`; what is not evaluated or reached yet is nan.
    """

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
      steps: [E] int32, steps done at each evaluation.
      history: name -> [M, E, ...]: '<evaluation>_loss' (nats), '<evaluation>_accuracy' (0 to 1),
        'observed' where something was, 'logits' [M, E, N, K] float16 where they are kept,
        'params' where some are: step -> params [M, ...] then, and 'opt_state', the optimiser's at
        the end, where it is kept.
      logits: evaluation -> [M, N, K] float32, of the final weights.
      diverged_step: [M] int32, -1 = never; `num_steps` where only the final loss is not finite.
      params: final weights, stacked along the leading axis [M, ...].
    """

    number: int
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
    observe: Observe | None = None,
    begin: PyTree | None = None,
    keep_logits: str = "",
    keep_params: Collection[int] = (),
    keep_state: bool = False,
    waves: Iterable[int] | None = None,
    restore: Callable[[int, Snapshot], Snapshot | None] = lambda wave, like: None,
    on_segment: Callable[[Segment], None] = lambda segment: None,
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
      observe: params -> array [S] kept at every evaluation as history['observed'].
      begin: params [M, ...] that members begin with in the place of those that are drawn; or the
        state at step `schedule.begin` that they had reached, to go on from.
      keep_logits: the evaluation whose logits are kept each time, in float16; '': none.
      keep_params: steps whose params are kept, each 0..num_steps.
      keep_state: whether the optimiser's state at the end is kept, so that training can go on.
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
    mesh = member_mesh(plan.num_devices, plan.share)
    keys = member_keys(seeds, members.rows(0, plan.wave))
    program = Program(learner, keys, train, evaluations, plan, mesh, observe)
    for index in range(math.ceil(members.count / plan.wave)) if waves is None else waves:
        numbers = range(index * plan.wave, (index + 1) * plan.wave)
        keys = member_keys(seeds, members.rows(numbers.start, numbers.stop))
        kept = keep_logits, sorted(keep_params), keep_state
        runner = _WaveRunner(program, schedule, keys, index, *kept)
        runner.start(jax.tree.map(functools.partial(_rows, numbers), begin), restore)
        for segment in runner.segments():
            on_segment(segment)
        yield runner.finish()


@dataclass
class _WaveRunner:
    """One wave from its start, or from a snapshot, to its end."""

    program: Program
    schedule: Schedule
    keys: MemberKeys
    index: int
    keep_logits: str
    keep_params: list[int]
    keep_state: bool
    state: Any = None
    step: int = 0
    history: dict[str, PyTree] = field(default_factory=dict)
    metrics: Any = None

    def start(
        self, begin: PyTree | None, restore: Callable[[int, Snapshot], Snapshot | None]
    ) -> None:
        interrupt.check()  # before each of the programs is compiled
        self.state, self.step = self.program.init(self.keys), self.schedule.begin
        if isinstance(begin, TrainState):
            self.state = self.program.place(begin)
        elif begin is not None:
            self.state = self.program.place(self.state._replace(params=begin))
        if self.keep_params:
            empty = jax.tree.map(lambda x: np.full(x.shape, np.nan, x.dtype), self.state.params)
            self.history["params"] = {str(step): empty for step in self.keep_params}
        interrupt.check()
        self._reached()
        interrupt.check()
        if found := restore(self.index, self.snapshot()):
            self.state = self.program.place(found.state)
            self.history = jax.tree.map(np.array, found.history)
            self.step = int(found.state.step)
            if self.step == self.schedule.num_steps:
                self._reached()

    def segments(self) -> Iterator[Segment]:
        limit = 1
        stops = (*self.schedule.evaluations, *self.keep_params)
        while self.step < self.schedule.num_steps:
            count = min(limit, min(s for s in stops if s > self.step) - self.step)
            begin = time.perf_counter()
            self.state, info = self.program.segment(self.state, self.keys, count)
            losses = np.asarray(info.loss)
            seconds = time.perf_counter() - begin
            self.step += count
            if count == limit:
                limit = max(1, min(2 * limit, int(limit * SEGMENT_SECONDS / max(seconds, 1e-6))))
            self._reached()
            running = losses[np.asarray(self.state.diverged_step) < 0]
            loss = float(running.mean()) if running.size else math.nan
            yield Segment(self.index, self.step, count, loss, seconds, self.snapshot)

    def snapshot(self) -> Snapshot:
        # The next segment gives these buffers to XLA, so nothing here may share memory with them.
        return Snapshot(_copied(self.state), jax.tree.map(np.copy, self.history))

    def finish(self) -> Wave:
        # No step comes after the last update to find that it went too far: its evaluation does.
        diverged = np.array(self.state.diverged_step)
        for metrics in self.metrics.values():
            lost = (diverged < 0) & ~np.isfinite(np.asarray(metrics.loss))
            diverged[lost] = self.schedule.num_steps
        if self.keep_state:
            self.history["opt_state"] = _copied(self.state.opt_state)
        return Wave(
            number=self.index,
            steps=np.array(self.schedule.evaluations, np.int32),
            history=self.history,
            logits={name: np.array(m.logits) for name, m in self.metrics.items()},
            diverged_step=diverged,
            params=_copied(self.state.params),
        )

    def _reached(self) -> None:
        """Keep the params, and judge the members, where that is due."""
        if self.step in self.keep_params:
            self.history["params"][str(self.step)] = _copied(self.state.params)
        if self.step not in self.schedule.evaluations:
            return
        self.metrics, observed = self.program.evaluate(self.state.params)
        found = {"observed": observed} if jax.tree.leaves(observed) else {}
        for name, metrics in self.metrics.items():
            found |= {f"{name}_loss": metrics.loss, f"{name}_accuracy": metrics.accuracy}
            if name == self.keep_logits:
                with np.errstate(over="ignore"):  # of members that diverge
                    found["logits"] = np.asarray(metrics.logits, np.float16)
        evaluations = self.schedule.evaluations
        for name, values in found.items():
            if name not in self.history:
                shape = (values.shape[0], len(evaluations), *values.shape[1:])
                self.history[name] = np.full(shape, np.nan, values.dtype)
            self.history[name][:, evaluations.index(self.step)] = values


def _rows(members: range, x: Any) -> Any:
    """Take what some members have, the last one repeated; a number is that of all."""
    return np.take(x, members, axis=0, mode="clip") if np.ndim(x) else x


def _copied(tree: PyTree) -> Any:
    return jax.tree.map(lambda x: np.array(x, copy=True), tree)
