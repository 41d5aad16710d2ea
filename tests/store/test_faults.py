"""Kills, refused writes and full disks: the last checkpoint survives, the bits stay the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scenario

from catdog_jax.store import RunFolder, StoreError
from catdog_jax.types import InputError


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_killed_at_any_change_of_the_disk_comes_to_the_same_end(tmp_path, stride):
    script = Path(__file__).with_name("kills.py")
    command = [sys.executable, script, tmp_path, str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 60 // stride


@pytest.fixture
def small_disk(tmp_path):
    """A small file system of its own; needs Linux and root."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("cannot mount a small file system here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_said_and_the_last_checkpoint_survives(small_disk):
    place = small_disk
    with RunFolder.open_or_create(place / "demo", "x", scenario.RECIPE) as folder:
        for step in (1, 2):
            folder.save_checkpoint(scenario.MODEL, 0, step, scenario.state(step))
        with open(place / "filler", "wb", buffering=0) as file:
            file.write(bytes(os.statvfs(place).f_bavail * os.statvfs(place).f_frsize - 2**18))
        before = {p: p.read_bytes() for p in folder.path.rglob("*.*")}
        large = {"a": np.zeros(2**18)}
        for what, write in (
            ("the checkpoint of x at step 3", lambda: folder.save_checkpoint("x", 0, 3, large)),
            ("wave 0 of x", lambda: folder.save_wave("x", 0, large, large)),
            ("manifest.json", lambda: folder.update_manifest(x=["z" * 100] * 2**13)),
        ):
            with pytest.raises(StoreError) as caught:
                write()
            assert str(caught.value) == (
                f"cannot write {what} under {folder.path}: No space left on device; the last "
                "checkpoint is kept: mend this and rerun the same command to resume"
            )
            assert {p: p.read_bytes() for p in folder.path.rglob("*.*")} == before
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    with pytest.raises(InputError, match=r"^cannot write to .*/demo/x \(.*Read-only file system"):
        RunFolder.open_or_create(place / "demo", "x", scenario.RECIPE)
