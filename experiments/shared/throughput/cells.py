"""Which competitors meet where: from the settings of a benchmark to its cells."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from catdog_jax.ops.conv import FORMS
from catdog_jax.types import InputError
from experiments.shared.peers.registry import ENGINE, PEERS, Peer
from experiments.shared.throughput.problem import Problem

PARTS = ("table", "scaling", "strategies", "devices", "start", "job")
SCALING = {
    "linear": (1, 4, 16, 64, 256, 1024, 4096),
    "mlp:width=32:depth=1": (1, 4, 16, 64, 256, 1024, 4096),
    "cnn:widths=32-64-128": (1, 4, 8, 32, 64, 128, 256),
}
SHORT_SCALING = {
    "linear": (1, 64, 1024),
    "mlp:width=32:depth=1": (1, 64, 512),
    "cnn:widths=32-64-128": (1, 8, 16),
}
_STRATEGIES = ("map", "chunk", "vmap")
_MOST_ON_CPU = 8  # members that are compared over strategies and devices: the slow ones are slow


class Entrant(NamedTuple):
    """One competitor in one cell.

    Attributes:
      name: a key of PEERS.
      title: for tables and figures.
      problem: what it trains, its own number of members included.
      members: for which it stands in the cell.
      cores: or devices it may use; 0 for all.
      hopeless: measured only to say how slow it is.
      lasting: keeps its process over all cells of a model, or its result where it is hopeless.
    """

    name: str
    title: str
    problem: Problem
    members: int
    cores: int = 0
    hopeless: bool = False
    lasting: bool = False

    @property
    def peer(self) -> Peer:
        """What kind of competitor it is."""
        return PEERS[self.name]

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for entrants that may share a process."""
        return self.name, self.problem, self.cores


class Cell(NamedTuple):
    """Competitors that are measured in turns, and compared.

    Attributes:
      part: of PARTS.
      model: as typed in --models.
      members: asked of each; 0 where they differ in that.
      entrants: the first is what the others are compared with.
    """

    part: str
    model: str
    members: int
    entrants: tuple[Entrant, ...]

    @property
    def title(self) -> str:
        """One line for a person."""
        asked = f" × {self.members}" if self.members else ""
        return f"{self.part}: {self.model}{asked}"


def table_cells(
    base: Problem, models: Sequence[str], members: Sequence[int], peers: Sequence[str], where: Any
) -> list[Cell]:
    """Lay out the engine against its peers: a cell per model and number of members.

    Args:
      base: everything but model and members.
      models: entries of --models.
      members: how many of each.
      peers: keys of PEERS, the engine apart.
      where: facts of the machine: 'backend' and 'cores'.
    """
    backend, cores = where["backend"], where["cores"]
    cells = []
    for model in models:
        for count in members:
            asked = base._replace(entry=model, members=count)
            entrants = [Entrant(ENGINE, PEERS[ENGINE].title, asked, count)]
            for name in peers:
                peer = PEERS[name]
                if peer.families and asked.family not in peer.families:
                    continue
                if peer.one_each and (count < cores or cores < 2):
                    continue
                trained = 1 if peer.one_each else peer.measured(asked, backend)
                own = asked._replace(members=trained)
                hopeless = peer.is_hopeless(asked, backend)
                lasting = hopeless or peer.sequential or trained < count
                entrants.append(
                    Entrant(name, peer.title, own, count, hopeless=hopeless, lasting=lasting)
                )
            cells.append(Cell("table", model, count, tuple(entrants)))
    return cells


def scaling_cells(base: Problem, full: bool) -> list[Cell]:
    """Lay out the engine against itself with other numbers of members: a cell per model."""
    cells = []
    for model, members in (SCALING if full else SHORT_SCALING).items():
        entrants = [
            Entrant(ENGINE, f"{count:,}", base._replace(entry=model, members=count), count)
            for count in members
        ]
        cells.append(Cell("scaling", model, 0, tuple(entrants)))
    return cells


def strategy_cells(
    base: Problem, models: Sequence[str], members: Sequence[int], backend: str
) -> list[Cell]:
    """Lay out the plan's own choice against every strategy and form of convolution."""
    cells = []
    for model in models:
        for count in _bounded(members, backend):
            asked = base._replace(entry=model, members=count)
            forms = FORMS if asked.has_conv else ("",)
            entrants = [Entrant(ENGINE, "auto", asked._replace(strategy="auto"), count)]
            for strategy in _STRATEGIES:
                for form in forms:
                    own = asked._replace(strategy=strategy, conv=form)
                    entrants.append(Entrant(ENGINE, f"{strategy} {form}".strip(), own, count))
            cells.append(Cell("strategies", model, count, tuple(entrants)))
    return cells


def device_cells(
    base: Problem,
    models: Sequence[str],
    members: Sequence[int],
    devices: Sequence[int],
    backend: str,
) -> list[Cell]:
    """Lay out the engine on all of some devices against the same on fewer."""
    cells = []
    for model in models:
        for count in _bounded(members, backend):
            own = base._replace(entry=model, members=count)
            entrants = [
                Entrant(ENGINE, f"{d} device" + "s" * (d > 1), own, count, cores=d)
                for d in sorted(devices, reverse=True)
            ]
            cells.append(Cell("devices", model, count, tuple(entrants)))
    return cells


def _bounded(members: Sequence[int], backend: str) -> list[int]:
    """Leave out what would take hours on a CPU."""
    return sorted({min(m, _MOST_ON_CPU) if backend == "cpu" else m for m in members})


def split_numbers(flag: str, text: str) -> tuple[int, ...]:
    """Read a list of whole numbers >= 1, each once, in rising order.

    Raises:
      InputError: anything else.
    """
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1 or len(set(numbers)) < len(numbers):
        raise InputError(f"--{flag}={text}: write different whole numbers above 0, like 1,8,64")
    return tuple(sorted(numbers))
