"""What a compiled program says of itself: its memory on each device, and who talks to whom."""

import math
import re
from collections import Counter
from typing import Any, NamedTuple

import jax
import numpy as np

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


def memory_of(compiled: jax.stages.Compiled) -> Memory:
    """Read a compiled program's memory."""
    found: Any = compiled.memory_analysis()
    return Memory(
        found.argument_size_in_bytes,
        found.output_size_in_bytes,
        found.alias_size_in_bytes,
        found.temp_size_in_bytes,
        getattr(found, "peak_memory_in_bytes", 0),
    )


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
