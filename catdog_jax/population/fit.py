"""Plans a training for a machine, here or not, and compiles its programs to see what they need.

On a CPU the written rule has the last word. On an accelerator all members train in one wave where
an estimate says that they fit with ease; else as many as the compiled programs leave room for. Only
shapes and total memory go in, so the same machine gives the same plan.
"""

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from catdog_jax.population.compiled import Collective, Memory, find_collectives, memory_of
from catdog_jax.population.devices import member_mesh
from catdog_jax.population.estimate import Work, member_bytes, member_state, step_work
from catdog_jax.population.flops import step_flops
from catdog_jax.population.machine import Machine
from catdog_jax.population.members import Members, Seeds, member_keys
from catdog_jax.population.plan import Plan, make_plan, tree_bytes
from catdog_jax.population.program import Observe, Program
from catdog_jax.train import Learner
from catdog_jax.types import Data, InputError, Model

# Of an accelerator's memory. No program counts the logits of the last evaluation, nor memory that
# is free but in pieces.
_SHARE = 0.9
# Of a GPU's memory: up to here the estimate is believed. TPUs pad arrays, so there it never is.
_WITH_EASE = 0.5
_CLOSE = 0.02  # a wave this much smaller than the largest will do
_AIM = 0.98  # of the memory that a wave may fill
_MOST = 6  # compilations of a search


class Training(NamedTuple):
    """What a population's programs are made of, its plan aside; data are given by their shapes.

    Attributes:
      model: the formula, in its usual form.
      stock: the same, with stock products and convolutions, to count its operations.
      learner: plan -> the functions of one member, in the plan's form.
      batch_size: examples of a step.
      train: the training examples.
      evaluations: name -> examples to judge the weights on.
      members: the table of members.
      fixed_bytes: what a wave of any size needs on each device.
      observe: see `Program`.
    """

    model: Model
    stock: Model
    learner: Callable[[Plan], Learner]
    batch_size: int
    train: Data
    evaluations: Mapping[str, Data]
    members: Members
    fixed_bytes: int
    observe: Observe | None = None

    @property
    def batch(self) -> jax.ShapeDtypeStruct:
        """One batch of inputs as the formula takes it."""
        inputs = self.train.inputs
        dtype = np.float32 if inputs.dtype == np.uint8 else inputs.dtype
        return jax.ShapeDtypeStruct((self.batch_size, *inputs.shape[1:]), dtype)


class Compiled(NamedTuple):
    """One of a population's two programs, compiled.

    Attributes:
      name: 'training' or 'evaluation'.
      memory: of the program; None where the compiler found it too large.
      beside: bytes that lie on each device meanwhile, but are no argument of this program.
      collectives: its communication.
      seconds: to compile it.
      refusal: what the compiler said where the program is too large.
    """

    name: str
    memory: Memory | None
    beside: int
    collectives: list[Collective]
    seconds: float
    refusal: str = ""

    @property
    def needed(self) -> int | None:
        """Bytes on each device in all; None where no one can say."""
        if self.memory is not None:
            return self.memory.needed + self.beside
        found = re.search(r"\(([0-9.]+)([KMGT])\) exceeds", self.refusal)
        if found is None:
            return None
        return int(float(found[1]) * 1024 ** ("KMGT".index(found[2]) + 1)) + self.beside


class CompiledWave(NamedTuple):
    """The programs of a wave of some size.

    Attributes:
      per_device: members on each device.
      needed: bytes on each device for both programs; None where the compiler gave no figure.
      fits: whether a device holds them.
      programs: training and evaluation.
    """

    per_device: int
    needed: int | None
    fits: bool
    programs: list[Compiled]


def flops_of(training: Training) -> int:
    """Count the operations of one member's step."""
    params = jax.eval_shape(training.stock.init, jax.eval_shape(lambda: jax.random.key(0)))
    return step_flops(training.stock.apply, params, training.batch)


def work_of(training: Training, plan: Plan) -> Work:
    """Count all that a member's step costs in the form of a plan."""
    learner = training.learner(plan)
    return step_work(learner, flops_of(training), training.train, training.members)


def plan_training(
    training: Training,
    machine: Machine,
    *,
    strategy: str = "auto",
    conv: str = "auto",
    wave: int = 0,
    transpose: bool = False,
    search: bool = False,
    tell: Callable[[str], None] = print,
) -> tuple[Plan, list[CompiledWave]]:
    """Plan a training for a machine.

    Args:
      training: what is planned.
      machine: to run on.
      strategy, conv, wave, transpose: see `make_plan`.
      search: whether to look for the largest wave that fits, also where no plan depends on it.
      tell: called with a line before each compilation.

    Returns:
      (the plan, what was compiled for it).

    Raises:
      InputError: an unknown strategy, or not even one member per device fits.
    """
    plan = make_plan(
        training.model,
        training.batch,
        num_members=training.members.count,
        num_devices=len(machine.devices),
        backend=machine.backend,
        memory=machine.memory,
        fixed_bytes=training.fixed_bytes,
        strategy=strategy,
        conv=conv,
        wave=wave,
        transpose=transpose,
    )
    multiple = 1 if plan.strategy == "vmap" else plan.chunk
    places = plan.num_devices // plan.share
    wanted = math.ceil(math.ceil(training.members.count / places) / multiple) * multiple
    settled = machine.backend == "cpu" or wave > 0
    if machine.backend != "cpu":
        whole = plan if wave else plan.resized(wanted)
        size = member_bytes(work_of(training, whole), whole, training.batch_size)
        needed = training.fixed_bytes + whole.per_device * size
        if machine.backend == "gpu" and needed <= _WITH_EASE * machine.memory:
            settled, plan = True, whole
        plan = plan._replace(bytes_per_member=size)
    if settled and not search:
        return plan, []

    def compile_at(per_device: int) -> CompiledWave:
        return compile_wave(training, plan.resized(per_device), machine, tell)

    tried = largest_wave(
        compile_at,
        min(plan.per_device, wanted),
        most=wanted,
        budget=usable(machine),
        multiple=multiple,
        settle=not search,
    )
    if not settled:
        plan = _fewest_waves(plan, tried, wanted, multiple, machine)
    return plan, tried


def _fewest_waves(
    plan: Plan, tried: list[CompiledWave], wanted: int, multiple: int, machine: Machine
) -> Plan:
    """Give a plan the fewest waves that fit, all of nearly the same size."""
    largest = best(tried)
    if largest is None:
        least = min(tried, key=lambda wave: wave.per_device)
        needs = f"{least.needed / 2**30:.1f} GiB" if least.needed else "more"
        raise InputError(
            f"not even {least.per_device} member(s) fit on a device: they need {needs}, where a "
            f"wave may fill {usable(machine) / 2**30:.1f} GiB; make the model, --batch_size or "
            "--image_size smaller"
        )
    each = math.ceil(wanted / math.ceil(wanted / largest.per_device))
    each = min(math.ceil(each / multiple) * multiple, largest.per_device)
    size = int((largest.needed or 0) / largest.per_device)
    return plan.resized(each)._replace(bytes_per_member=size)


def usable(machine: Machine) -> int:
    """Return how many bytes of a device a wave may fill."""
    return machine.memory if machine.backend == "cpu" else int(_SHARE * machine.memory)


def best(tried: Sequence[CompiledWave]) -> CompiledWave | None:
    """Pick the largest wave that fits; None where none does."""
    return max((w for w in tried if w.fits), key=lambda w: w.per_device, default=None)


def largest_wave(
    compile_at: Callable[[int], CompiledWave],
    first: int,
    *,
    most: int,
    budget: int,
    multiple: int = 1,
    settle: bool = False,
) -> list[CompiledWave]:
    """Find how many members a device holds, within a few percent, from few compilations.

    Args:
      compile_at: compiles a wave of so many members on each device.
      first: where to begin.
      most: members on each device that are asked for; more are of no use.
      budget: bytes of a device that may be filled.
      multiple: members come in multiples of this, `first` and `most` too.
      settle: whether to end as soon as more members would not save a wave.

    Returns:
      The compilations in the order they were made. The largest that fits is the answer; there may
      be none.
    """
    tried: list[CompiledWave] = []
    members = first
    while len(tried) < _MOST and members not in [wave.per_device for wave in tried]:
        wave = compile_at(members)
        tried.append(wave)
        # Memory is a fixed part and a straight line: a wave in proportion needs no more than this.
        share = _AIM * budget / wave.needed if wave.needed else 0.5
        guess = min(max(int(members * share) // multiple * multiple, multiple), most)
        if settle and wave.fits and math.ceil(most / guess) >= math.ceil(most / members):
            break
        if wave.fits and guess - members <= _CLOSE * members:
            break
        members = guess
    return tried


def compile_wave(
    training: Training, plan: Plan, machine: Machine, tell: Callable[[str], None] = print
) -> CompiledWave:
    """Compile the programs of a wave, training first, without data and without running them.

    Raises:
      RuntimeError: the compiler fails for another reason than memory.
    """
    mesh = member_mesh(plan.num_devices, plan.share, machine.devices)
    keys: Any = jax.eval_shape(lambda: member_keys(Seeds(), training.members.rows(0, plan.wave)))
    learner = training.learner(plan)
    sets = training.evaluations
    program = Program(learner, keys, training.train, sets, plan, mesh, training.observe)
    moments = tree_bytes(member_state(learner).opt_state) * plan.per_device
    programs = []
    for name, lower, beside in (
        ("training", program.lower_segment, tree_bytes(sets) // plan.share),
        ("evaluation", program.lower_evaluate, tree_bytes(training.train) + moments),
    ):
        tell(
            f"compiling the {name} program of {plan.wave:,} members ({plan.per_device:,} a device) "
            f"for {machine.name} ..."
        )
        begin = time.monotonic()
        memory, collectives, refusal = None, [], ""
        try:
            compiled = lower(keys).compile()
            text = compiled.as_text() or ""
            memory = memory_of(compiled)
            collectives = find_collectives(text, plan.num_devices, plan.share)
        except jax.errors.JaxRuntimeError as error:
            refusal = (str(error).strip().splitlines() or ["no reason given"])[0]
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise RuntimeError(refusal) from error
        seconds = time.monotonic() - begin
        programs.append(Compiled(name, memory, beside, collectives, seconds, refusal))
    sizes = [program.needed for program in programs]
    needed = None if None in sizes else max(size or 0 for size in sizes)
    fits = needed is not None and needed <= usable(machine) and not any(p.refusal for p in programs)
    return CompiledWave(plan.per_device, needed, fits, programs)
