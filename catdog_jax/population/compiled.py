"""What a compiled program says of itself: its memory on each device, and who talks to whom."""

import math
import re
from collections import Counter
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

Groups = tuple[tuple[int, ...], ...]

KINDS = (
    "all-reduce",
    "all-gather",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
    "reduce-scatter",
)
_NAMES = "|".join(sorted(KINDS, key=len, reverse=True))
_OPERATION = re.compile(r"[\]})] (" + _NAMES + r")(?:-start)?\(")
_LISTED = re.compile(r"(?:replica_groups|source_target_pairs)=\{((?:\{[0-9, ]*\},?\s*)*)\}")
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
      kind: one of KINDS.
      groups: the devices that exchange data, as positions along the mesh, row by row.
      occurrences: how often it stands in the program.
      couples_members: whether a group holds devices of different members.
    """

    kind: str
    groups: Groups
    occurrences: int
    couples_members: bool


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


def collectives_of(compiled: jax.stages.Compiled, mesh: Mesh) -> list[Collective]:
    """List the communication in a compiled program.

    Args:
      compiled: over the devices of the mesh.
      mesh: see `member_mesh`: the first axis is that of the members.
    """
    return find_collectives(compiled.as_text() or "", *mesh.devices.shape)


def find_collectives(text: str, num_groups: int, share: int = 1) -> list[Collective]:
    """List the communication in the text of an optimised program.

    Args:
      text: HLO.
      num_groups: devices along the axis of the members.
      share: devices that share the examples of each member.
    """
    devices = num_groups * share
    counts: Counter[tuple[str, Groups]] = Counter()
    for line in text.splitlines():
        found = _OPERATION.search(line)
        if found:
            counts[found[1], _groups(line, devices)] += 1
    return [
        Collective(kind, groups, count, _couples(groups, share))
        for (kind, groups), count in sorted(counts.items())
    ]


def _couples(groups: Groups, share: int) -> bool:
    return any(len({device // share for device in group}) > 1 for group in groups)


def _groups(line: str, devices: int) -> Groups:
    """Read which devices a line lets talk to each other; all of them where it does not say."""
    iota = _IOTA.search(line)
    if iota:
        shape, dims = _ints(iota[1]), _ints(iota[2])
        places = np.arange(math.prod(dims)).reshape(dims)
        if iota[3]:
            places = places.transpose(_ints(iota[3]))
        return tuple(tuple(row) for row in places.reshape(shape).tolist())
    listed = _LISTED.search(line)
    if listed and listed[1].strip():
        return tuple(_ints(part) for part in re.findall(r"\{([0-9, ]*)\}", listed[1]))
    return (tuple(range(devices)),)


def _ints(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.replace(" ", "").split(",") if part)


def groups_text(groups: Groups, most: int = 4) -> str:
    """Write groups for a person: '{0,1} {2,3} ...'."""
    shown = []
    for group in groups[:most]:
        text = ",".join(map(str, group[:8])) + (",…" if len(group) > 8 else "")
        shown.append("{" + text + "}")
    return " ".join(shown + (["…"] if len(groups) > most else []))
