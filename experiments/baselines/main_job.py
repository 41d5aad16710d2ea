"""The main job as a command of its own: how soon it begins to train, and how long all of it takes.

`start` is from just before the process of `python -m experiments.init_convergence` is started to
when its first training call, of one step, is back, as its manifest tells: imports, data, plan,
starting weights, compilation, the first evaluation, the step. Three states are measured in turns:
  first: nothing is kept, so the pictures of the embedded data set are drawn as well;
  cold: the drawn pictures are kept in the user's cache, but no compiled program is;
  warm: compiled programs are kept, too.
Python's bytecode and what the system keeps of files in memory are there in all of them.

`job` is from then to when the last wave is on the disk: training, evaluations, checkpoints,
whatever waits in between, on a case of the benchmark. It is held against as many steps at the rate
of this engine alone, sampled in a process before the job.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.baselines.case import Case, new_process, prepare, sample

CACHES = ("XDG_CACHE_HOME", "CATDOG_CACHE_DIR", "MPLCONFIGDIR")
STATES = {"first": "kept", "cold": "none", "warm": "kept"}  # folder of compiled programs


def run(flags: list[str], out_dir: Path, caches: Path) -> dict[str, float]:
    """Run the main job of one model in a process of its own.

    Args:
      flags: of the job.
      out_dir: where its run folder is made.
      caches: where it finds and keeps what a user's cache folders hold.

    Returns:
      Its latest times, see `Checkpointer`; and Unix time in seconds of when it 'began'.

    Raises:
      RuntimeError: it failed.
    """
    command = [sys.executable, "-m", "experiments.init_convergence", *flags]
    command += [f"--out_dir={out_dir}", "--name=run", "--coordinator=none"]
    environment = {**os.environ, **{name: str(caches / name) for name in CACHES}}
    began = time.time()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise RuntimeError(f"the main job ended with status {done.returncode}: {last}")
    manifest = json.loads((out_dir / "init_convergence" / "run" / "manifest.json").read_bytes())
    (timings,) = manifest["timings"].values()
    return {"began": began, **timings["latest"]}


def start(case: Case, rounds: int, folder: Path) -> dict[str, list[float]]:
    """Start the main job in each state in turns.

    Args:
      case: its model, members, precision and strategy.
      rounds: starts in each state.
      folder: where run folders and caches are made, and removed.

    Returns:
      State -> seconds to the first step, one per round.
    """
    flags = [f"--models={case.model}", f"--num_members={case.members}"]
    flags += [f"--precision={case.precision}", f"--strategy={case.strategy}"]
    flags += ["--num_steps=2", "--eval_every=2"]  # the first call makes one, as in a long job
    found: dict[str, list[float]] = {state: [] for state in STATES}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            base = Path(scratch)
            for state, programs in STATES.items():
                cache = f"--compile_cache={base / programs}"
                times = run([*flags, cache], base / state, base / "user")
                found[state].append(times["first_step"] - times["began"])
    return found


def job(case: Case, rounds: int, seconds: float, each: float, out_dir: Path) -> dict[str, Any]:
    """Run a whole job after samples of the engine.

    Args:
      case: what it trains.
      rounds: samples of the engine.
      seconds: that its training should last, about.
      each: seconds of a sample of the engine.
      out_dir: where its run folder is made, and stays.

    Returns:
      'steps' after the first call, of all waves; 'job_seconds' that they and all between took;
      'engine_seconds' that the engine takes for them; and their 'ratio': by the quartiles of the
      engine's rates lower, median, upper.
    """
    with new_process() as process:
        info = process.submit(prepare, "engine", case, None, each).result()
        measured = [process.submit(sample).result() for _ in range(rounds)]
    rates = np.percentile(measured, [25, 50, 75]) / info["measured"]  # steps of a whole wave
    steps = max(20, round(seconds * rates[1] / info["waves"]))
    times = run([*case.flags(steps), "--compile_cache=none"], out_dir, out_dir / "caches")
    took, done = times["kept"] - times["first_step"], times["steps"]
    return {
        "steps": done,
        "job_seconds": took,
        "engine_seconds": float(done / rates[1]),
        "ratio": [float(took * rate / done) for rate in rates],
    }
