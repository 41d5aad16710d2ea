"""Kills, refused writes and full disks: the last checkpoint survives, the bits stay the same."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from catdog_jax.store import RunFolder, StoreError
from catdog_jax.types import FileNote, InputError


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_killed_at_any_change_of_the_disk_comes_to_the_same_end(tmp_path, stride):
    script = Path(__file__).with_name("kills.py")
    command = [sys.executable, script, tmp_path, str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    kills, changes = map(int, done.stdout.split())
    assert changes > 50
    assert kills >= changes / stride


class Fault:
    """Makes the n-th call of a function of `os` fail, in this process."""

    def __init__(self, monkeypatch, name, number, code):
        self.calls = 0
        real = getattr(os, name)

        def call(*args, **kwargs):
            self.calls += 1
            if self.calls == number:
                raise OSError(code, os.strerror(code), str(args[0]))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "code"),
    [("replace", errno.ENOSPC), ("replace", errno.EIO), ("fsync", errno.ENOSPC)],
)
def test_a_refused_write_is_one_line_and_the_run_resumes(
    tmp_path, finished, scenario, monkeypatch, name, code, stride
):
    whole = (finished.path / "results.nc").read_bytes()
    with monkeypatch.context() as patch:
        total = Fault(patch, name, 0, code)
        scenario.train(tmp_path / "count")
    assert total.calls >= stride
    for number in range(1, total.calls + 1, stride):
        out_dir = tmp_path / f"{name}_{number}"
        with monkeypatch.context() as patch:
            Fault(patch, name, number, code)
            with pytest.raises(StoreError) as caught:
                scenario.train(out_dir)
        message = str(caught.value)
        assert message.startswith("cannot write ")
        assert message.endswith(
            f"{os.strerror(code)}; the last checkpoint is kept: mend this and rerun the same "
            "command to resume"
        )
        assert not list(out_dir.rglob(".*.tmp"))
        scenario.train(out_dir)
        assert (out_dir / "demo/x/results.nc").read_bytes() == whole


@pytest.fixture
def mount(tmp_path):
    """A function that mounts a small file system of its own; needs Linux and root."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = []

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
            pytest.skip("cannot mount a small file system here")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


WRITES = {
    "the checkpoint of 00_mlp at step 3": lambda folder, scenario: folder.save_checkpoint(
        "00_mlp", 0, 3, {"a": np.random.default_rng(0).normal(size=2**18)}
    ),
    "wave 0 of 00_mlp": lambda folder, scenario: folder.save_wave(
        "00_mlp", 0, {"logits": np.zeros((2, 2**18), np.float32)}, scenario.params(0)
    ),
    "results.nc": lambda folder, scenario: folder.write_results(
        xr.Dataset({"logits": (("member", "example"), np.ones((2, 2**18), np.float32))})
    ),
    "files.csv": lambda folder, scenario: folder.write_files(
        [FileNote("x" * 100, "skipped", "y" * 100)] * 2**13
    ),
    "manifest.json": lambda folder, scenario: folder.update_manifest(timings=["z" * 100] * 2**13),
}


@pytest.mark.parametrize("what", WRITES)
def test_a_full_disk_is_said_and_the_last_checkpoint_survives(mount, scenario, what):
    place = mount("size=3m")
    with RunFolder.open_or_create(place, "demo", "x", scenario.RECIPE) as folder:
        for step in (1, 2):
            folder.save_checkpoint("00_mlp", 0, step, scenario.state(step))
        with open(place / "filler", "wb", buffering=0) as file:
            file.write(bytes(os.statvfs(place).f_bavail * os.statvfs(place).f_frsize - 2**18))
        before = {p: p.read_bytes() for p in folder.path.rglob("*.n*")}
        with pytest.raises(StoreError) as caught:
            WRITES[what](folder, scenario)
        assert str(caught.value) == (
            f"cannot write {what} under {folder.path}: No space left on device; the last "
            "checkpoint is kept: mend this and rerun the same command to resume"
        )
        if what != "results.nc":  # where no checkpoint is needed any more
            assert {p: p.read_bytes() for p in folder.path.rglob("*.n*")} == before
        (place / "filler").unlink()
        WRITES[what](folder, scenario)


def test_a_disk_that_is_full_or_read_only_at_the_start(mount):
    place = mount("size=64k")
    with open(place / "filler", "wb", buffering=0) as file:
        file.write(bytes(2**16))
    with pytest.raises((StoreError, InputError), match=r"^cannot write .*No space left on device"):
        RunFolder.open_or_create(place, "demo", "x", {})
    (place / "filler").unlink()
    RunFolder.open_or_create(place, "demo", "x", {}).close()
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    with pytest.raises(InputError, match=r"^cannot write to .*/demo/x \(.*Read-only file system"):
        RunFolder.open_or_create(place, "demo", "x", {})
