"""What training costs, estimated before anything is compiled: seconds, and bytes on a device.

On an accelerator a step takes the time of its arithmetic and then that of its memory,

    seconds of a member's step = flops / peak flops[precision] + bytes / peak bandwidth,

with the peaks that the maker publishes (`machine.PEAKS`), and as bytes all arrays that the step's
program writes and members do not share. Fusion saves some of these writes, and reads cost about as
much: nothing is fitted. Against one H200 (jax 0.11.2, 11 cases: convolutional, residual, dense and
linear models, three precisions, 16 to 4,096 members) it gives 0.83 to 1.36 times what was measured.

Source: Williams, Waterman and Patterson 2009 (the roofline); a sum in place of their maximum, since
products and the passes between them take turns.

A CPU's matrix product is timed instead; see EFFICIENCY.
"""

import math
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from catdog_jax.population.flops import written_bytes
from catdog_jax.population.machine import Peak
from catdog_jax.population.members import Members
from catdog_jax.population.plan import Plan, tree_bytes
from catdog_jax.population.waves import Schedule
from catdog_jax.train import Learner, MemberKeys, TrainState
from catdog_jax.types import Data, Key

EFFICIENCY = {"map": 0.5, "chunk": 0.4, "vmap": 0.3}  # of a matrix product's speed, typical on CPU
# Of the arrays that a step writes, those that a GPU holds at a time; as compiled for an H200:
# linear 1 / 11, mlp 1 / 12, cnn 1 / 12, cnn:widths=8-16-32 1 / 15, resnet 1 / 11.
_HELD = 1 / 10


class Work(NamedTuple):
    """What one member's training step costs.

    Attributes:
      flops: of matrix products; see `step_flops`.
      state: bytes of weights and of the optimiser's moments.
      moved: bytes of all that the step writes and members do not share.
    """

    flops: int
    state: int
    moved: int


def member_state(learner: Learner) -> TrainState:
    """Return the shapes of what one member carries from step to step."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(learner.init, MemberKeys(key, key, key, key))


def step_work(learner: Learner, flops: int, train: Data, members: Members) -> Work:
    """Count what a member's step costs, from its traced program.

    Args:
      learner: the functions of one member, in the form that runs.
      flops: of a step.
      train: the training examples; only shapes are looked at.
      members: the table of members.
    """
    state = member_state(learner)
    batch = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((learner.batch_size, *x.shape[1:]), x.dtype), train
    )
    key = jax.eval_shape(lambda: jax.random.key(0))

    def step(state: TrainState, batch: Data, augment: Key) -> Any:
        return learner.step(state, MemberKeys(augment, augment, augment, augment), batch)

    streams = members.streams
    own = (True, "order" in streams or "data" in streams, "augment" in streams)
    moved = written_bytes(step, (state, batch, key), own)
    return Work(flops, tree_bytes((state.params, state.opt_state)), moved)


def member_bytes(work: Work, plan: Plan, batch_size: int) -> int:
    """Estimate what one member of a wave takes of an accelerator's memory, the data left out.

    Args:
      work: of a step of the plan's form.
      plan: of the wave.
      batch_size: examples of a step.
    """
    # Judging writes about half as much an example as training.
    held = _HELD * work.moved * max(1.0, plan.eval_batch / (2 * batch_size))
    return int(work.state + held * plan.chunk / plan.per_device)


def step_seconds(work: Work, plan: Plan, precision: str, speed: Peak | float) -> float:
    """Estimate the seconds that all devices together take for one step of one member.

    Args:
      work: of the step.
      plan: how members share the devices.
      precision: of matrix products, one of PRECISIONS.
      speed: the peak of each device; or what `product_speed` measured, on a CPU.
    """
    if isinstance(speed, Peak):
        seconds = work.flops / speed.flops[precision] + work.moved / speed.bandwidth
        return seconds / plan.num_devices
    return work.flops / (EFFICIENCY[plan.strategy] * speed)


def least_step(work: Work, plan: Plan, precision: str, peak: Peak) -> tuple[float, str]:
    """Bound the time of one step of a full wave from below.

    Returns:
      (seconds, whether 'arithmetic' or 'memory' bounds it): the state is read and written once.
    """
    seconds, by = max(
        (work.flops / plan.share / peak.flops[precision], "arithmetic"),
        (2 * work.state / peak.bandwidth, "memory"),
    )
    return plan.per_device * seconds, by


def equivalent_steps(schedule: Schedule, judged: int, batch_size: int) -> float:
    """Count the steps that take as long as training and evaluations do together.

    Args:
      schedule: of the run.
      judged: examples of one evaluation; each costs a third of one that is trained on.
      batch_size: examples of a step.
    """
    return schedule.num_steps + schedule.num_evaluations * judged / (3 * batch_size)


def run_seconds(plan: Plan, num_members: int, steps: float, step: float) -> float:
    """Add up a run: all waves, with those members that only fill the last one.

    Args:
      plan: how members share the devices.
      num_members: asked for.
      steps: see `equivalent_steps`.
      step: see `step_seconds`.
    """
    return plan.wave * math.ceil(num_members / plan.wave) * steps * step


def product_speed() -> float:
    """Measure a float32 matrix product on all devices, in operations a second (a rough figure)."""
    side = 1024
    devices = jax.local_devices()
    products = [jax.device_put(np.ones((side, side), np.float32), d) for d in devices]
    multiply = jax.jit(lambda x: x @ x)
    jax.block_until_ready([multiply(x) for x in products])
    begin = time.perf_counter()
    jax.block_until_ready([multiply(x) for x in products for _ in range(3)])
    return 3 * len(devices) * 2 * side**3 / (time.perf_counter() - begin)
