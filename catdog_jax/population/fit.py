"""Plans a training for a machine, here or not, and compiles its programs to see what they need.

On a CPU the written rule has the last word. On an accelerator all members train in one wave where
an estimate says that they fit with ease; else as many as the compiled programs leave room for. Only
shapes and total memory go in, so the same machine gives the same plan.
"""

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from catdog_jax import interrupt
from catdog_jax.population.devices import member_mesh
from catdog_jax.population.estimate import Training, flops_of, member_bytes, member_state, work_of
from catdog_jax.population.flops import tree_bytes
from catdog_jax.population.machine import Machine
from catdog_jax.population.members import Seeds, member_keys
from catdog_jax.population.plan import Plan, make_plan
from catdog_jax.population.program import Program
from catdog_jax.types import InputError

# Of an accelerator's memory. No program counts the logits of the last evaluation, nor memory that
# is free but in pieces.
_SHARE = 0.9
# Of a GPU's memory: up to here the estimate is believed. TPUs pad arrays, so there it never is.
_WITH_EASE = 0.5
_CLOSE = 0.02  # a wave this much smaller than the largest will do
_AIM = 0.98  # of the memory that a wave may fill
_MOST = 6  # compilations of a search
_COLLECTIVE = re.compile(
    r"[\]})] ((?:ragged-)?all-to-all|all-reduce|all-gather|collective-permute|"
    r"collective-broadcast|reduce-scatter)(?:-start)?\("
)
_LISTED = re.compile(r"(?:replica_groups|source_target_pairs)=\{((?:\{[0-9, ]*\},?\s*)+)\}")
_IOTA = re.compile(r"replica_groups=\[([0-9,]+)\]<=\[([0-9,]+)\](?:T\(([0-9,]+)\))?")


class Memory(NamedTuple):
    """Bytes on each device, of one compiled program.

    Attributes:
      arguments: what is given to it.
      outputs: what it gives back.
      aliases: outputs that take the place of arguments.
      temporaries: what it needs meanwhile.
      peak: the most at any time, as the compiler says; without temporaries on CPU.
    """

    arguments: int
    outputs: int
    aliases: int
    temporaries: int
    peak: int

    @property
    def needed(self) -> int:
        """The most that it can take."""
        total = self.arguments + self.outputs - self.aliases + self.temporaries
        return max(self.peak, total)


class Collective(NamedTuple):
    """One kind of communication between devices.

    Attributes:
      kind: as XLA calls it.
      couples_members: whether devices of different members exchange data.
      occurrences: how often it stands in the program.
    """

    kind: str
    couples_members: bool
    occurrences: int


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


def plan_training(
    training: Training,
    machine: Machine,
    *,
    search: bool = False,
    tell: Callable[[str], None] = print,
) -> tuple[Plan, list[CompiledWave]]:
    """Plan a training for a machine, in the fewest waves that fit, all of nearly the same size.

    Args:
      training: what is planned.
      machine: to run on.
      search: whether to look for the largest wave that fits, also where no plan depends on it.
      tell: called with a line before each compilation.

    Returns:
      (the plan, what was compiled for it).

    Raises:
      InputError: an unknown strategy, or not even one member per device fits.
    """
    fixed, asked, on_cpu = training.fixed_bytes, training.how.wave, machine.backend == "cpu"
    plan = make_plan(
        training.form("direct"),
        training.batch,
        training.members.count,
        training.how,
        machine,
        fixed_bytes=fixed,
        transpose=training.transpose,
        shared=0
        if {"order", "augment", "data"} & {*training.members.streams}
        else training.num_members,
        flops=flops_of(training) * training.schedule.num_steps * training.num_members,
    )
    multiple = 1 if plan.strategy == "vmap" else plan.chunk

    def whole_chunks(members: float) -> int:
        return math.ceil(math.ceil(members) / multiple) * multiple

    most = whole_chunks(training.members.count / (plan.num_devices // plan.share))
    settled = on_cpu or asked > 0
    if not on_cpu:
        whole = plan if asked else plan.resized(most)
        size = member_bytes(work_of(training, whole), whole, training.batch_size)
        needed = fixed + whole.per_device * size
        if machine.backend == "gpu" and needed <= _WITH_EASE * machine.memory:
            settled, plan = True, whole
        plan = plan._replace(bytes_per_member=size)
    if settled and not search:
        return plan, []
    tried = largest_wave(
        lambda members: compile_wave(training, plan.resized(members), machine, tell),
        min(plan.per_device, most),
        most=most,
        budget=usable(machine),
        multiple=multiple,
        settle=not search,
    )
    if settled:
        return plan, tried
    largest = best(tried)
    if largest is None:
        least = min(tried, key=lambda wave: wave.per_device)
        needs = f"{least.needed / 2**30:.1f} GiB" if least.needed else "more"
        raise InputError(
            f"not even {least.per_device} member(s) fit on a device: they need {needs}, where a "
            f"wave may fill {usable(machine) / 2**30:.1f} GiB; make the model, --batch_size or "
            "--image_size smaller"
        )
    each = min(whole_chunks(most / math.ceil(most / largest.per_device)), largest.per_device)
    size = int((largest.needed or 0) / largest.per_device)
    return plan.resized(each)._replace(bytes_per_member=size), tried


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
    learner, sets = training.learner(plan), training.evaluations
    program = Program(learner, keys, training.train, sets, plan, mesh, training.observe)
    moments = tree_bytes(member_state(learner).opt_state) * plan.per_device
    programs = []
    for name, lower, beside in (
        ("training", program.lower_segment, tree_bytes(sets) // plan.share),
        ("evaluation", program.lower_evaluate, tree_bytes(training.train) + moments),
    ):
        interrupt.check()
        tell(
            f"compiling the {name} program of {plan.wave:,} members ({plan.per_device:,} a device) "
            f"for {machine.name} ..."
        )
        begin = time.monotonic()
        memory, collectives, refusal = None, [], ""
        try:
            compiled = lower(keys).compile()
            memory = memory_of(compiled)
            collectives = find_collectives(compiled.as_text() or "", plan.num_devices, plan.share)
        except jax.errors.JaxRuntimeError as error:
            refusal = str(error).strip().partition("\n")[0] or "no reason given"
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise RuntimeError(refusal) from error
        seconds = time.monotonic() - begin
        programs.append(Compiled(name, memory, beside, collectives, seconds, refusal))
    sizes = [program.needed for program in programs]
    needed = None if None in sizes else max(size or 0 for size in sizes)
    fits = needed is not None and needed <= usable(machine) and not any(p.refusal for p in programs)
    return CompiledWave(plan.per_device, needed, fits, programs)


def memory_of(compiled: jax.stages.Compiled) -> Memory:
    """Read a compiled program's memory."""
    found = compiled.memory_analysis()
    names = (f"{x}_size" for x in ("argument", "output", "alias", "temp"))
    return Memory(*(getattr(found, f"{name}_in_bytes") for name in (*names, "peak_memory")))


def find_collectives(text: str, num_devices: int, share: int = 1) -> list[Collective]:
    """List the communication in the text of an optimised program.

    Args:
      text: HLO.
      num_devices: of the program's mesh.
      share: neighbouring devices that share the examples of each member.
    """
    counts: Counter[tuple[str, bool]] = Counter()
    for line in text.splitlines():
        found = _COLLECTIVE.search(line)
        if found:
            groups = _groups(line) or [range(num_devices)]  # all, where the line does not say
            coupled = any(len({device // share for device in group}) > 1 for group in groups)
            counts[found[1], coupled] += 1
    return [Collective(*key, count) for key, count in sorted(counts.items())]


def _groups(line: str) -> list:
    """Read which devices a line lets talk to each other."""
    iota = _IOTA.search(line)
    if iota:
        shape, dims, order = (_ints(part) for part in iota.groups())
        places = np.arange(math.prod(dims)).reshape(dims)
        return places.transpose(order or None).reshape(shape).tolist()
    listed = _LISTED.search(line)
    return [_ints(part) for part in re.findall(r"\{([0-9, ]+)\}", listed[1])] if listed else []


def _ints(text: str | None) -> list[int]:
    return [int(part) for part in text.split(",")] if text else []
