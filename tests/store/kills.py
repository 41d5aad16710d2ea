"""Kill a run for real, at its n-th change of the disk, then go on with it: run by test_faults.

Usage: python kills.py FOLDER STRIDE. Each run is a fork of this process, which has imported
everything but started neither JAX nor Orbax; SIGKILL leaves no time to tidy up.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

import orbax.checkpoint  # noqa: F401
import scenario

from catdog_jax.store import open_run

CHANGES = ("replace", "rename", "fsync", "mkdir", "unlink", "rmdir", "open")


def count_changes(last: int) -> list[int]:
    """Count what changes the disk; at number `last` (from 1) kill this process instead."""
    count = [0]

    def counted(function):
        def call(*args, **kwargs):
            count[0] += 1
            if count[0] == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name)))
    return count


def in_child(work) -> int:
    """Do some work in a fork; return the status that `os.wait` gives."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def tell(out_dir: Path, whole: Path) -> None:
    """Train without a kill, and write down how many changes that took."""
    count = count_changes(0)
    scenario.train(out_dir)
    whole.write_text(str(count[0]))


def finish(out_dir: Path, expected: bytes) -> None:
    """Go on with a killed run and compare every bit of its end."""
    folder = scenario.train(out_dir)
    assert (folder.path / "results.nc").read_bytes() == expected, "other bits"
    assert not list(folder.path.rglob(".*.tmp")), "a temporary file is left"
    assert not (folder.path / "checkpoints").exists(), "checkpoints are left"
    stacked = open_run(folder.path).params["mlp"]["dense"]["weights"]
    waves = [scenario.wave_params(wave)["dense"].weights for wave in (0, 1)]
    assert stacked.tobytes() == b"".join(wave.tobytes() for wave in waves), "other params"


def main(folder: Path, stride: int) -> None:
    """Kill at each `stride`-th change and print the number of runs that came to the same end."""
    if in_child(lambda: tell(folder / "whole", folder / "count")) != 0:
        sys.exit("the run without a kill failed")
    total = int((folder / "count").read_text())
    expected = (folder / "whole" / "demo" / "x" / "results.nc").read_bytes()
    good = 0
    points = range(1, total + 1, stride)
    for point in points:
        out_dir = folder / f"killed_{point}"

        def killed(out_dir: Path = out_dir, point: int = point) -> None:
            count_changes(point)
            scenario.train(out_dir)

        status = in_child(killed)
        # Orbax's threads do not make the same number of changes each time: the last may not come.
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL) and status != 0:
            sys.exit(f"change {point}: ended with status {status} before the kill")
        if in_child(lambda out_dir=out_dir: finish(out_dir, expected)) != 0:
            sys.exit(f"change {point} of {total}: the run did not come to the same end")
        shutil.rmtree(out_dir)
        good += 1
    print(f"{good} kills of {total} changes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
