"""From nothing to the first training step: how long an experiment's start takes, cold and warm.

Measured is `python -m experiments.init_convergence` on the embedded data set in a new process and a
new run folder: from just before the process is started to when its first training call (of one
step) is back, as its manifest tells. So all that a person waits for counts: imports, data, plan,
the rough guess of the time, starting weights, compilation, the first evaluation, the step. Three
states are measured in turns:
  first: the very first time; nothing is kept, so the pictures are drawn as well;
  cold: the drawn pictures are kept in the user's cache, but no compiled program is;
  warm: compiled programs are kept, too.
Python's bytecode and what the system keeps of files in memory are there in all of them. 'imports'
is another process that only imports the experiment.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.shared.report import aligned
from experiments.shared.throughput.command import EXPERIMENT, Command, python_path, user_caches

MODEL, MEMBERS = "linear", 8
PATIENCE = 1800.0  # seconds to wait for a first step
IMPORTS = f"import experiments.{EXPERIMENT}, time; print(time.time())"
STATES = ("first", "cold", "warm")


def measure(
    models: Sequence[str],
    members: Sequence[int],
    rounds: int,
    settings: Sequence[str],
    folder: Path,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Start each model with each number of members, in each of STATES in turns.

    Args:
      models: as in --models.
      members: numbers of them.
      rounds: starts of each in each state.
      settings: further flags of the experiment.
      folder: where run folders and caches are made, and removed.
      say: told what comes now.

    Returns:
      One entry per model and number of members, ready for JSON: 'model', 'members', 'flags', and
      for each of STATES a list of rounds with seconds from the process's start: 'first_step',
      'begun' (the model's training begins), 'imports'.

    Raises:
      RuntimeError: the experiment failed.
    """
    found: list[dict[str, Any]] = []
    for model in models:
        for count in members:
            flags = [f"--models={model}", f"--num_members={count}", *settings]
            row: dict[str, Any] = {"model": model, "members": count, "flags": flags}
            row |= {state: [] for state in STATES}
            for number in range(rounds):
                with tempfile.TemporaryDirectory(prefix="start_", dir=folder) as scratch:
                    user, empty = Path(scratch) / "user", Path(scratch) / "empty"
                    for state in STATES:
                        say(f"start: {model} × {count}, round {number + 1} of {rounds}, {state}")
                        programs = Path(scratch) / ("others" if state == "cold" else "programs")
                        out_dir = Path(scratch) / state
                        row[state].append(start_once(model, flags, out_dir, user, programs))
                    imports = {"first": imports_once(empty), "warm": imports_once(user)}
                    for state in STATES:
                        row[state][-1]["imports"] = imports.get(state, imports["warm"])
            found.append(row)
    return found


def start_once(
    model: str, flags: Sequence[str], out_dir: Path, user: Path, programs: Path
) -> dict[str, float]:
    """Start the experiment once, and end it after its first step.

    Args:
      model: as in --models.
      flags: of the experiment.
      out_dir: for the run folder.
      user: the user's cache folder; made where it is missing.
      programs: folder of compiled programs, likewise.

    Returns:
      Seconds from the process's start to when its training had 'begun' and to its 'first_step'.
    """
    given = [*flags, f"--compile_cache={programs}"]
    with Command(out_dir, given, user_caches(user)) as command:
        times = command.times(model, "first_step", PATIENCE)
        command.stop()
        return {name: times[name] - command.began for name in ("begun", "first_step")}


def imports_once(caches: Path) -> float:
    """Tell the seconds from a process's start to the end of the experiment's imports.

    Args:
      caches: the user's cache folder.

    Raises:
      RuntimeError: it failed.
    """
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        env={**os.environ, "PYTHONPATH": python_path(), **user_caches(caches)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise RuntimeError(f"importing {EXPERIMENT} failed: {last[:300]}")
    return float(done.stdout) - began


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write medians and quartiles over the rounds, a line per model, members and state."""
    body = [["start", "", "first step s", "quartiles", "imports s", "data, plan s", "program s"]]
    for row in rows:
        for state in STATES:
            rounds = row[state]
            low, middle, high = np.percentile([r["first_step"] for r in rounds], [25, 50, 75])
            imports = float(np.median([r["imports"] for r in rounds]))
            begun = float(np.median([r["begun"] for r in rounds]))
            body.append(
                [
                    f"{row['model']} × {row['members']:,}",
                    state,
                    f"{middle:.2f}",
                    f"{low:.2f} to {high:.2f}",
                    f"{imports:.2f}",
                    f"{begun - imports:.2f}",
                    f"{middle - begun:.2f}",
                ]
            )
    return "\n".join(
        [
            "from the process's start to the end of its first training step",
            *("  " + line for line in aligned(body)),
            "  first: nothing kept; cold: pictures kept; warm: compiled programs, too",
            "  program: starting weights, compiling or reading programs, first evaluation, step",
        ]
    )
