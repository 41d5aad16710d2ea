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

import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from catdog_jax.population.flops import step_flops, tree_bytes, written_bytes
from catdog_jax.population.machine import Peak
from catdog_jax.population.members import Members
from catdog_jax.population.plan import Execution, Plan
from catdog_jax.population.program import Observe
from catdog_jax.population.waves import Schedule
from catdog_jax.train import Learner, MemberKeys, TrainState
from catdog_jax.types import Data, Key, Model

# By form of the convolution, of a matrix product's speed as measured on two cores; Winograd's does
# fewer operations than are counted.
EFFICIENCY = {"direct": 0.5, "lax": 0.3, "patches": 0.4, "wide": 0.37, "winograd": 0.9}
# Of the arrays that a step writes, those that a GPU holds at a time; as compiled for an H200:
# linear 1 / 11, mlp 1 / 12, cnn 1 / 12, cnn:widths=8-16-32 1 / 15, resnet 1 / 11.
_HELD = 1 / 10


class Training(NamedTuple):
    """What planning and compiling have to know of a task; data are given by their shapes.

    Attributes:
      form: form of the convolution -> the formula.
      learner: plan -> the functions of one member, in the plan's form.
      batch_size: examples of a step.
      schedule: steps and evaluations.
      train: the training examples.
      evaluations: name -> examples to judge the weights on.
      members: the table of members, or the part of a process.
      num_members: of all processes.
      how: what a person asked for.
      fixed_bytes: what a wave of any size needs on each device.
      transpose: see `make_plan`.
      observe: see `Program`.
    """

    form: Callable[[str], Model]
    learner: Callable[[Plan], Learner]
    batch_size: int
    schedule: Schedule
    train: Data
    evaluations: Mapping[str, Data]
    members: Members
    num_members: int
    how: Execution
    fixed_bytes: int
    transpose: bool
    observe: Observe

    @property
    def batch(self) -> jax.ShapeDtypeStruct:
        """One batch of inputs as the formula takes it."""
        inputs = self.train.inputs
        dtype = np.float32 if inputs.dtype == np.uint8 else inputs.dtype
        return jax.ShapeDtypeStruct((self.batch_size, *inputs.shape[1:]), dtype)


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


def flops_of(training: Training) -> int:
    """Count the operations of one member's step, from its stock products and convolutions."""
    stock = training.form("lax")
    params = jax.eval_shape(stock.init, jax.eval_shape(lambda: jax.random.key(0)))
    return step_flops(stock.apply, params, training.batch)


def work_of(training: Training, plan: Plan) -> Work:
    """Count all that a member's step costs in the form of a plan, from its traced program."""
    learner, streams = training.learner(plan), training.members.streams
    state = member_state(learner)
    batch = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((training.batch_size, *x.shape[1:]), x.dtype), training.train
    )
    key = jax.eval_shape(lambda: jax.random.key(0))

    def step(state: TrainState, batch: Data, augment: Key) -> Any:
        return learner.step(state, MemberKeys(augment, augment, augment, augment), batch)

    own = (True, "order" in streams or "data" in streams, "augment" in streams)
    moved = written_bytes(step, (state, batch, key), own)
    return Work(flops_of(training), tree_bytes((state.params, state.opt_state)), moved)


def member_state(learner: Learner) -> TrainState:
    """Return the shapes of what one member carries from step to step."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(learner.init, MemberKeys(key, key, key, key))


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
    return work.flops / (EFFICIENCY[plan.conv] * speed)


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


def run_seconds(training: Training, plan: Plan, step: float) -> float:
    """Estimate a whole run: all waves, with those members that only fill the last one.

    Args:
      training: what is run. An example that is judged costs a third of one that is trained on.
      plan: how members share the devices.
      step: see `step_seconds`.
    """
    judged = sum(len(data.labels) for data in training.evaluations.values())
    evaluation = judged / (3 * training.batch_size)
    due = training.schedule
    steps = due.num_steps - due.begin + due.num_evaluations * evaluation
    return plan.wave * math.ceil(training.members.count / plan.wave) * steps * step


@functools.cache
def product_speed() -> float:
    """Measure a float32 matrix product on all devices, in operations a second (a rough figure)."""
    multiply, operations = products(1024)
    multiply(1)
    begin = time.perf_counter()
    multiply(3)
    return 3 * operations / (time.perf_counter() - begin)


def products(
    side: int, dtype: Any = jnp.float32, precision: str = "default"
) -> tuple[Callable[[int], Any], int]:
    """Place a square matrix on every device, to be multiplied by itself.

    Returns:
      (number of products -> makes so many on each device and waits for them; operations of one on
      all devices).
    """
    matrix = np.random.default_rng(0).standard_normal((side, side), np.float32).astype(dtype)
    factors = [jax.device_put(matrix, device) for device in jax.local_devices()]
    multiply = jax.jit(lambda x: jnp.matmul(x, x, precision=precision))

    def run(count: int) -> Any:
        return jax.block_until_ready([multiply(x) for _ in range(count) for x in factors])

    return run, 2 * side**3 * len(factors)
