"""Kill a run for real, at its n-th change of the disk, then resume it: run by test_faults.

Usage: python kills.py FOLDER STRIDE. Each run is a fork of this process, which has imported
everything but not started JAX; SIGKILL leaves no time to tidy up.
"""

import itertools
import os
import shutil
import signal
import sys
from pathlib import Path

import scenario

from catdog_jax.run import open_run

CHANGES = ("replace", "rename", "fsync", "mkdir", "unlink", "rmdir", "open")


def train_until(out_dir: Path, last: int) -> None:
    """Train, and at the change of the disk with this number (from 1) kill this process."""
    numbers = itertools.count(1)

    def counted(function):
        def call(*args, **kwargs):
            if next(numbers) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name)))
    scenario.train(out_dir)


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


def finish(out_dir: Path, whole: Path) -> None:
    """Resume a killed run and compare every bit of its end, but for the manifest."""
    scenario.train(out_dir)
    ends = [
        {str(p.relative_to(end)): p.is_file() and p.read_bytes() for p in end.rglob("*")}
        for end in (out_dir / "demo/x", whole / "demo/x")
    ]
    for end in ends:
        end.pop("manifest.json")  # it holds times
    assert ends[0].keys() == ends[1].keys(), "a file is left"
    assert all(ends[0][name] == ends[1][name] for name in ends[0] if name != "lock"), "other bits"
    assert len(open_run(out_dir / "demo/x").params["mlp"]["dense"]["weights"]) == 4


def main(folder: Path, stride: int) -> None:
    """Kill at each `stride`-th change, until there is none so late; print the number of kills."""
    whole, killed, point = folder / "whole", folder / "killed", 1
    assert in_child(train_until, whole, 0) == 0
    while in_child(train_until, killed, point) == signal.SIGKILL:
        assert in_child(finish, killed, whole) == 0, f"after change {point}"
        shutil.rmtree(killed)
        point += stride
    finish(killed, whole)
    print(point // stride)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
