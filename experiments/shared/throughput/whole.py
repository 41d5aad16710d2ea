"""The parts of the benchmark that measure a whole command of the project: `start` and `job`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.shared.jobs import split_models
from experiments.shared.throughput import job, start
from experiments.shared.throughput.cells import split_numbers
from experiments.shared.throughput.problem import Problem

WHOLE = ("start", "job")
SHORT_JOB, LONG_JOB = 60.0, 1.1 * job.LONG_SECONDS  # seconds of training, about


def measure(
    part: str,
    config: Any,
    base: Problem,
    rounds: int,
    where: Mapping[str, Any],
    folder: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Measure one of WHOLE while nothing else of the benchmark runs.

    Args:
      part: of WHOLE.
      config: of `experiments.throughput`, checked; where it names no models or members, the part
        has its own.
      base: everything of the engine's problem but model and members.
      rounds: see the parts.
      where: facts of the machine: 'backend' and 'cores'.
      folder: of the benchmark.
      say: told what comes now.

    Returns:
      'rows' ready for JSON, the 'table' of them, and 'notes'.

    Raises:
      RuntimeError: the command failed.
    """
    own = start if part == "start" else job
    models: Sequence[str] = split_models(config.models) if config.models else (own.MODEL,)
    members = split_numbers("members", config.members) if config.members else (own.MEMBERS,)
    if part == "start":
        settings = [f"--precision={config.precision}", f"--strategy={config.strategy}"]
        rows = start.measure(models, members, rounds, settings, folder, say)
        return {"rows": rows, "table": start.table(rows), "notes": []}
    seconds = config.job_seconds or (LONG_JOB if config.full else SHORT_JOB)
    rows = job.measure(base, models, members, rounds, seconds, where, folder, say)
    return {"rows": rows, "table": job.table(rows), "notes": job.notes(rows)}
