"""The cache: a hit equals a miss, damage is repaired, faults never stop a run."""

import errno
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from catdog_jax.data import cache, decoding, load_dataset
from catdog_jax.data.cache import digest_files
from catdog_jax.types import Dataset

MakeFolder = Callable[..., Path]


@pytest.fixture
def root(make_folder: MakeFolder) -> Path:
    folder = make_folder("photos", {"cat": 10, "dog": 10})
    (folder / "cat/notes.txt").write_text("words")
    return folder


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the pictures that are decoded."""
    count = [0]
    real = decoding.decode_here

    def counting(content: bytes, size: int):
        count[0] += 1
        return real(content, size)

    monkeypatch.setattr(decoding, "decode_here", counting)
    return count


def load(root: Path, size: int = 16, **flags: object) -> Dataset:
    return load_dataset("folder", data_dir=str(root), image_size=size, **flags)


def assert_equal(first: Dataset, second: Dataset) -> None:
    for part in ("train", "valid", "test"):
        a, b = getattr(first, part), getattr(second, part)
        np.testing.assert_array_equal(a.inputs, b.inputs)
        np.testing.assert_array_equal(a.labels, b.labels)
        assert (a.inputs.dtype, a.labels.dtype) == (b.inputs.dtype, b.labels.dtype)
        assert a.ids == b.ids
    assert first.class_names == second.class_names
    assert first.provenance == second.provenance
    assert first.files == second.files
    assert first.name == second.name


def test_a_hit_equals_a_miss_and_decodes_nothing(root: Path, decodes: list[int]):
    first = load(root)
    assert decodes == [20]
    second = load(root)
    assert decodes == [20]
    assert_equal(first, second)
    assert second.files == (("cat/notes.txt", "skipped", "text, not a picture"),)


def test_every_setting_has_its_own_entry(root: Path, own_cache: Path, decodes: list[int]):
    load(root)
    load(root, size=12)
    load(root, classes=("dog", "cat"))
    load_dataset("folder:valid=0.3", data_dir=str(root), image_size=16)
    assert decodes == [80]
    assert len(list(own_cache.glob("*.npz"))) == 4


def test_content_counts_not_time_or_size(root: Path, decodes: list[int]):
    first = load(root)
    path = root / "cat/3.png"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # in the checksum of the last chunk: the same size, another content
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    load(root)
    assert decodes == [40]
    path.touch()
    load(root)
    assert decodes == [40]
    assert first.name == "folder"


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "words"])
def test_a_damaged_entry_is_noticed_and_made_again(
    root: Path, own_cache: Path, decodes: list[int], caplog: pytest.LogCaptureFixture, damage: str
):
    first = load(root)
    (entry,) = own_cache.glob("*.npz")
    whole = entry.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    entry.write_bytes(
        {"flip": bytes(flipped), "cut": whole[:-500], "empty": b"", "words": b"no zip"}[damage]
    )
    with caplog.at_level(logging.WARNING):
        assert_equal(first, load(root))
    assert decodes == [40]
    assert "is damaged" in caplog.text
    assert_equal(first, load(root))
    assert decodes == [40]


def test_a_folder_that_cannot_be_made_does_not_stop_a_run(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CATDOG_CACHE_DIR", str(tmp_path / "file/cache"))
    with caplog.at_level(logging.WARNING):
        assert len(load(root).train.labels) > 0
    (record,) = caplog.records
    assert "going on without a cache" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_full_disk_does_not_stop_a_run(
    root: Path,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    def full(file, **_):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.np, "savez", full)
    with caplog.at_level(logging.WARNING):
        assert len(load(root).train.labels) > 0
    assert "No space left on device" in caplog.text
    assert list(own_cache.iterdir()) == []


def test_leftovers_of_killed_processes_are_swept(root: Path, own_cache: Path):
    own_cache.mkdir()
    old, new = own_cache / "old.tmp", own_cache / "new.tmp"
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (time.time() - 2 * 86_400,) * 2)
    load(root)
    assert not old.exists()
    assert new.exists()


def test_two_processes_at_once(root: Path, own_cache: Path):
    script = (
        "import sys; from catdog_jax.data import load_dataset\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for size in (16, 20, 24, 28):\n"
        "    d = load_dataset('folder', data_dir=sys.argv[1], image_size=size)\n"
        "    print(d.provenance['fingerprint'])\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert outputs[0] == outputs[1]
    assert outputs[0][1] == ""
    assert len(list(own_cache.glob("*.npz"))) == 4
    assert list(own_cache.glob("*.tmp")) == []
    assert load(root, size=28).provenance["fingerprint"] == outputs[0][0].split()[-1]


def test_digest_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"one" * 1000)
    b.write_bytes(b"two")
    first = digest_files([a, b])
    assert digest_files([b, a]) == first
    a.touch()
    assert digest_files([a, b]) == first
    a.write_bytes(b"one" * 999 + b"0ne")
    assert digest_files([a, b]) != first
    # Beyond the limit: name, size, time, and both ends.
    monkeypatch.setattr(cache, "_WHOLE", 100)
    large = digest_files([a, b])
    os.utime(a, (1, 1))
    assert digest_files([a, b]) != large
