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


def kill_at_every(stride, tmp_path):
    script = Path(__file__).with_name("kills.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path, str(stride)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    kills, total = (int(word) for word in done.stdout.split() if word.isdecimal())
    assert kills == len(range(1, total + 1, stride))
    return kills


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_run_comes_to_the_same_end(tmp_path):
    assert kill_at_every(67, tmp_path) > 5


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_killed_at_many_points_comes_to_the_same_end(tmp_path):
    assert kill_at_every(5, tmp_path) > 60


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


@pytest.mark.parametrize(
    ("name", "stride", "code"),
    [
        ("replace", 7, errno.ENOSPC),
        ("replace", 11, errno.EIO),
        ("fsync", 61, errno.ENOSPC),
        ("mkdir", 7, errno.ENOSPC),
        ("rename", 5, errno.ENOSPC),
    ],
)
def test_a_refused_write_is_one_line_and_the_run_goes_on(
    tmp_path, finished, scenario, monkeypatch, name, stride, code
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
            with pytest.raises((StoreError, InputError)) as caught:
                scenario.train(out_dir)
        message = str(caught.value)
        assert "\n" not in message
        if code == errno.ENOSPC:
            assert message.startswith("disk full while writing ")
            assert message.endswith("free space and run the same command again")
        else:
            assert message.startswith("cannot write ")
            assert "Input/output error" in message
        assert not list(out_dir.rglob(".*.tmp"))
        assert all(path.read_bytes() == whole for path in out_dir.rglob("*results.nc"))
        folder = scenario.train(out_dir)
        assert (folder.path / "results.nc").read_bytes() == whole
        assert not list(out_dir.rglob(".*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["replace", "fsync", "mkdir", "rename"])
def test_every_refused_write_is_survived(tmp_path, finished, scenario, monkeypatch, name):
    test_a_refused_write_is_one_line_and_the_run_goes_on(
        tmp_path, finished, scenario, monkeypatch, name, 1, errno.ENOSPC
    )


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
        "00_mlp", 0, {"logits": np.zeros((2, 2**18), np.float32)}, scenario.wave_params(0)
    ),
    "results.nc": lambda folder, scenario: folder.write_results(
        xr.Dataset({"logits": (("member", "example"), np.ones((2, 2**18), np.float32))})
    ),
    "files.csv": lambda folder, scenario: folder.write_files(
        [FileNote("x" * 100, "skipped", "y" * 100)] * 2**13
    ),
    "manifest.json": lambda folder, scenario: folder.update_manifest(timings=["z" * 100] * 2**13),
}


@pytest.mark.parametrize("room", [0, 256], ids=["full", "almost"])
@pytest.mark.parametrize("what", WRITES)
def test_a_full_disk_is_said_and_the_last_checkpoint_survives(mount, scenario, what, room):
    place = mount("size=3m")
    with RunFolder.open(place, "demo", "x", scenario.RECIPE) as folder:
        for step in (1, 2):
            folder.save_checkpoint("00_mlp", 0, step, scenario.state(step))
        fill(place / "filler", keep=room * 1024)
        before = {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}
        with pytest.raises(StoreError) as caught:
            WRITES[what](folder, scenario)
        assert str(caught.value) in [
            f"disk full while writing {name} under {folder.path}; the last checkpoint is kept: "
            "free space and run the same command again"
            for name in (what, *(["manifest.json"] if what == "results.nc" else []))
        ]
        # Results are preceded by their record, waves by their params: these may be there.
        after = {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}
        changed = {p.name for p in before | after if before.get(p) != after.get(p)}
        assert changed <= {"manifest.json", "wave_00000.params.npz"}
        assert folder.load_checkpoint("00_mlp", 0, scenario.state(0))[0] == 2
        (place / "filler").unlink()
    with RunFolder.open(place, "demo", "x", scenario.RECIPE) as folder:
        step, tree = folder.load_checkpoint("00_mlp", 0, scenario.state(0))
        assert step == 2
        assert scenario.same(tree, scenario.state(2))
        if "checkpoint" not in what:
            WRITES[what](folder, scenario)


def fill(path, keep):
    """Fill the disk until `keep` bytes are left."""
    with open(path, "wb", buffering=0) as file:
        free = os.statvfs(path).f_bavail * os.statvfs(path).f_frsize
        file.write(bytes(max(0, free - keep)))


def test_a_full_disk_at_the_start_is_said(mount):
    place = mount("size=64k")
    fill(place / "filler", keep=0)
    with pytest.raises(StoreError, match=r"^disk full while writing the run folder under "):
        RunFolder.open(place, "demo", "x", {})
    (place / "filler").unlink()
    RunFolder.open(place, "demo", "x", {}).close()


def test_a_read_only_disk_is_wrong_input(mount):
    place = mount("size=64k,ro")
    with pytest.raises(InputError) as caught:
        RunFolder.open(place, "demo", "x", {})
    assert str(caught.value) == (
        f"cannot write to {place}/demo/x: Read-only file system; choose another --out_dir"
    )
