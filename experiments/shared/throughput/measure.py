"""Runs the cells of a benchmark: competitors in turns, one at a time, each in its own process."""

import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.shared.peers.registry import PEERS, ROOFLINE
from experiments.shared.throughput.cells import Cell, Entrant
from experiments.shared.throughput.problem import Problem
from experiments.shared.throughput.process import Worker, WorkerError, environment

IDLE_SHARE = 0.02  # of a core that a competitor may use while it is not its turn
HOPELESS_ROUNDS = 2


class Group:
    """A competitor's process, or its processes, one per core, where it asks for that."""

    def __init__(self, entrant: Entrant, reference: str, where: dict[str, Any]):
        peer = entrant.peer
        count = where["cores"] if peer.one_each else 1
        self.workers: list[Worker] = []
        try:
            settings = environment(
                module=peer.module, cores=entrant.cores, backend=where["backend"]
            )
            confined = entrant.cores if where["backend"] == "cpu" else 0
            for _ in range(count):
                self.workers.append(Worker(settings, confined))
            for worker in self.workers:
                worker.tell(
                    "prepare",
                    module=peer.module,
                    options=dict(peer.options),
                    problem=entrant.problem._asdict(),
                    reference=reference,
                )
            self.facts = [worker.answer() for worker in self.workers]
            if count > 1:  # one that makes more steps than the others would work on alone
                steps = min(facts["steps"] for facts in self.facts)
                for worker in self.workers:
                    worker.ask("take", steps=steps)
        except BaseException:
            self.close()
            raise

    def sample(self) -> dict[str, float]:
        """Train once more: all processes at the same time.

        Returns:
          'member_steps' and 'seconds'; 'start', seconds, where something came before the sample.
        """
        for worker in self.workers:
            worker.tell("sample")
        found = [worker.answer() for worker in self.workers]
        work = sum(a["steps"] * f["members"] for a, f in zip(found, self.facts, strict=True))
        known = [name for name in ("start", "seconds") if name in found[0]]
        return {**{name: max(a[name] for a in found) for name in known}, "member_steps": work}

    def row(self, samples: list[dict[str, float]]) -> dict[str, Any]:
        """Collect what was found out about a competitor, ready for JSON."""
        ends = [worker.ask("finish") for worker in self.workers]
        first = self.facts[0]
        starts = [sample["start"] for sample in samples if "start" in sample]
        memory = {
            name: None
            if any(end["memory"][name] is None for end in ends)
            else sum(end["memory"][name] for end in ends)
            for name in ends[0]["memory"]
        }
        return {
            "check": first["check"],
            "compile_seconds": first["compile_seconds"],
            "facts": ends[0]["facts"],
            "members_measured": sum(fact["members"] for fact in self.facts),
            "waves": first["facts"].get("waves", 1),
            "wave_start_seconds": statistics.median(starts) if starts else None,
            "memory": {**memory, "state_bytes": sum(f["state_bytes"] for f in self.facts)},
            "samples": list(samples),
        }

    def close(self) -> None:
        """End the processes."""
        for worker in self.workers:
            worker.close()


class Bench:
    """The processes of a benchmark; a context manager that ends them."""

    def __init__(self, where: dict[str, Any]):
        """Start with nothing running.

        Args:
          where: facts of the machine: 'backend' and 'cores'.
        """
        self._where = where
        self._count = 0
        self._scratch = tempfile.TemporaryDirectory(prefix="catdog_throughput_")
        self._lasting: dict[Any, Group] = {}
        self._own: dict[Any, Group] = {}
        self._done: dict[Any, dict[str, Any]] = {}
        self._rooflines: dict[int, Group] = {}
        self._model = ""
        self.references: dict[str, str] = {}
        self._random = random.Random(0)
        self._disturbed: dict[str, list[tuple[float, float]]] = {}
        self._faults: list[str] = []
        self.roofline: dict[int, list[float]] = {}

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: object) -> None:
        for group in [*self._own.values(), *self._lasting.values(), *self._rooflines.values()]:
            group.close()
        self._scratch.cleanup()

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers should know: a line per competitor that is concerned."""
        lines = list(self._faults)
        for name, found in self._disturbed.items():
            share, spent, seconds = max((a / b, a, b) for a, b in found)
            lines.append(
                f"{name}: in {len(found)} of its samples others used processor time, at most "
                f"{spent:.2f} s in one of {seconds:.2f} s ({100 * share:.0f} %): its rate may be "
                "too low"
            )
        return lines

    def describe(self, base: Problem, model: str, members: Sequence[int]) -> dict[str, Any]:
        """Write a model's reference, and tell the size of its work; see `Worker.describe`."""
        path = str(Path(self._scratch.name) / f"{len(self.references)}.npz")
        self.references[model] = path
        checked = sorted({0, *(1 for m in members if m > 1), *(m - 1 for m in members)})
        problem = base._replace(entry=model, members=1, precision="float32")
        settings = environment(module="flax_loop", cores=0, backend=self._where["backend"])
        with Worker(settings) as worker:
            return worker.ask(
                "describe", problem=problem._asdict(), reference=path, members=checked
            )

    def start_roofline(self, base: Problem, cores: Sequence[int]) -> dict[str, Any]:
        """Start what measures matrix products on so many cores (0: all).

        Returns:
          'backend' and 'devices' of the machine.
        """
        facts: dict[str, Any] = {}
        for count in cores:
            entrant = Entrant(ROOFLINE, "", base, 1, cores=count)
            group = Group(entrant, "", self._where)
            self._rooflines[count], self.roofline[count] = group, []
            facts = facts or group.facts[0]["facts"]
        return {name: facts[name] for name in ("backend", "devices")}

    def look_at_roofline(self, cores: int = 0) -> float | None:
        """Measure matrix products once.

        Returns:
          Operations a second; None where its process is lost, with a note.
        """
        if cores not in self._rooflines:
            return None
        try:
            self._rooflines[cores].sample()
            found = self._rooflines[cores].workers[0].ask("finish")["facts"]["best"]
        except WorkerError as error:
            self._rooflines.pop(cores).close()
            where = f"on {cores}" if cores else "on all"
            self._faults.append(f"matrix products {where} are no longer measured: {error}")
            return None
        self.roofline[cores] = found
        return found[-1]

    def measure(self, cell: Cell, rounds: int, say: Callable[[int, str], None]) -> dict[str, Any]:
        """Measure a cell: every competitor once a round, in an order drawn anew each time.

        After them come the matrix products that they are held against, in every round.

        Args:
          cell: what to compare.
          rounds: samples of each.
          say: told how many preparations and samples are done, and what comes now.

        Returns:
          The cell ready for JSON; a competitor that failed has a row with 'error'. 'roofline' has
          the products of its rounds, operations a second, by the devices they used ('0': all).
        """
        if cell.model != self._model:
            self._forget()
            self._model = cell.model
        rows: dict[int, dict[str, Any]] = {}
        groups: dict[int, Group] = {}
        for index, entrant in enumerate(cell.entrants):
            self._count += 1
            if entrant.hopeless and entrant.key in self._done:
                rows[index] = self._done[entrant.key]
                continue
            say(self._count, f"{cell.title}: preparing {entrant.title}")
            try:
                groups[index] = self._group(entrant)
            except WorkerError as error:
                rows[index] = {"error": str(error), "samples": []}
        samples: dict[int, list[dict[str, float]]] = {index: [] for index in groups}
        counts = sorted({0, *(e.cores for e in cell.entrants if e.cores in self._rooflines)})
        looks: dict[int, list[float]] = {count: [] for count in counts}
        for number in range(rounds):
            for index in self._random.sample(sorted(groups), len(groups)):
                entrant = cell.entrants[index]
                if entrant.hopeless and number >= HOPELESS_ROUNDS:
                    continue
                say(self._count, f"{cell.title}: round {number + 1} of {rounds}, {entrant.title}")
                try:
                    samples[index].append(self._one(groups, index, cell, entrant))
                except WorkerError as error:
                    rows[index] = {"error": str(error), "samples": []}
                    self._drop(groups.pop(index))
            self._count += len(cell.entrants)
            for count in counts:
                found = self.look_at_roofline(count)
                looks[count] += [] if found is None else [found]
        for index, group in groups.items():
            entrant = cell.entrants[index]
            try:
                rows[index] = group.row(samples[index])
            except WorkerError as error:
                rows[index] = {"error": str(error), "samples": []}
                self._drop(group)
                continue
            if entrant.hopeless:
                self._done[entrant.key] = rows[index]
        self._close_own()
        return {
            "part": cell.part,
            "model": cell.model,
            "members": cell.members,
            "roofline": {str(count): found for count, found in looks.items()},
            "rows": [_named(e, rows[i]) for i, e in enumerate(cell.entrants)],
        }

    def _one(
        self, groups: dict[int, Group], index: int, cell: Cell, entrant: Entrant
    ) -> dict[str, float]:
        """Take one sample, and watch that the others keep still."""
        others = [w for i, g in groups.items() if i != index for w in g.workers]
        before = sum(worker.cpu_seconds() for worker in others)
        found = groups[index].sample()
        spent = sum(worker.cpu_seconds() for worker in others) - before
        if spent > max(IDLE_SHARE * found["seconds"], 0.05):
            name = entrant.title if cell.part == "table" else f"{cell.part}, {entrant.title}"
            self._disturbed.setdefault(name, []).append((spent, found["seconds"]))
        return found

    def _group(self, entrant: Entrant) -> Group:
        store = self._lasting if entrant.lasting else self._own
        if entrant.key not in store:
            reference = self.references[entrant.problem.entry]
            store[entrant.key] = Group(entrant, reference, self._where)
        return store[entrant.key]

    def _drop(self, group: Group) -> None:
        group.close()
        for store in (self._lasting, self._own):
            for key in [key for key, value in store.items() if value is group]:
                del store[key]

    def _close_own(self) -> None:
        for group in self._own.values():
            group.close()
        self._own.clear()

    def _forget(self) -> None:
        for group in self._lasting.values():
            group.close()
        self._lasting.clear()
        self._done.clear()


def _named(entrant: Entrant, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "competitor": entrant.name,
        "title": entrant.title,
        "members": entrant.members,
        "strategy": entrant.problem.strategy,
        "conv": entrant.problem.conv,
        "devices": entrant.cores,
        "sequential": PEERS[entrant.name].sequential,
        "hopeless": entrant.hopeless,
        **row,
    }
