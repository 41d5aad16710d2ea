"""Kill a run for real, at its n-th change of the disk, then resume it: run by test_faults.

Usage: python kills.py FOLDER STRIDE. Each run is a fork of this process, which has imported
everything but not started JAX; SIGKILL leaves no time to tidy up.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

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


def in_child(work, *args) -> int:
    """Do some work in a fork; return the status that `os.wait` gives."""
    pid = os.fork()
    if pid == 0:
        try:
            work(*args)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def run(out_dir: Path, last: int, counted: Path) -> None:
    """Train, killed at a change, and write down how many changes there were where that is none."""
    count = count_changes(last)
    scenario.train(out_dir)
    counted.write_text(str(count[0]))


def contents(out_dir: Path) -> dict[str, bytes]:
    """All that a run leaves, but its manifest and lock."""
    files = [p for p in (out_dir / "demo/x").rglob("*") if p.suffix not in ("", ".json")]
    return {str(p.relative_to(out_dir)): p.read_bytes() for p in files}


def finish(out_dir: Path, whole: Path) -> None:
    """Resume a killed run and compare every bit of its end."""
    folder = scenario.train(out_dir)
    assert contents(out_dir) == contents(whole), "other bits, or a file is left"
    assert not (folder.path / "checkpoints").exists(), "checkpoints are left"
    assert len(open_run(folder.path).params["mlp"]["dense"]["weights"]) == 4


def main(folder: Path, stride: int) -> None:
    """Kill at each `stride`-th change and print the number of kills and of changes."""
    whole, killed = folder / "whole", folder / "killed"
    if in_child(run, whole, 0, folder / "count") != 0:
        sys.exit("the run without a kill failed")
    total = int((folder / "count").read_text())
    points = range(1, total + 1, stride)
    for point in points:
        if in_child(run, killed, point, folder / "none") != signal.SIGKILL:
            sys.exit(f"change {point} of {total}: it was not killed")
        if in_child(finish, killed, whole) != 0:
            sys.exit(f"change {point} of {total}: the run did not come to the same end")
        shutil.rmtree(killed)
    print(len(points), total)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
