"""The cache: a hit equals a miss, damage is repaired, faults never stop a run."""

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from catdog_jax.data import cache, load_dataset
from catdog_jax.types import Dataset


@pytest.fixture
def root(make_folder) -> Path:
    folder = make_folder({"cat": 10, "dog": 10})
    (folder / "cat/notes.txt").write_text("words")
    return folder


def load(root: Path, size: int = 16, **flags: object) -> Dataset:
    return load_dataset("folder", data_dir=str(root), image_size=size, **flags)


def assert_equal(first: Dataset, second: Dataset) -> None:
    for split in ("train", "valid", "test"):
        a, b = getattr(first, split), getattr(second, split)
        np.testing.assert_array_equal(a.inputs, b.inputs, strict=True)
        np.testing.assert_array_equal(a.labels, b.labels, strict=True)
        assert a.ids == b.ids
    for field in ("name", "class_names", "provenance", "files"):
        assert getattr(first, field) == getattr(second, field)


def test_a_hit_equals_a_miss_and_every_setting_has_its_own_file(root, own_cache, decodes):
    first = load(root)
    assert decodes == [20]
    assert_equal(first, load(root))
    assert decodes == [20]
    assert first.files == (("cat/notes.txt", "skipped", "text, not a picture"),)
    load(root, size=12)
    load(root, classes=("dog", "cat"))
    load_dataset("folder:valid=0.3", data_dir=str(root), image_size=16)
    assert decodes == [80]
    assert len(list(own_cache.iterdir())) == 4


def test_content_counts_not_time_or_size(root, decodes):
    load(root)
    path = root / "cat/3.png"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # in the checksum of the last chunk: the same size, another content
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    load(root)
    path.touch()
    load(root)
    assert decodes == [40]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_file_is_noticed_and_made_again(root, own_cache, decodes, caplog, damage):
    first = load(root)
    (path,) = own_cache.iterdir()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    path.write_bytes({"flip": bytes(flipped), "cut": whole[:-500], "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        assert_equal(first, load(root))
    assert "is damaged" in caplog.text
    assert_equal(first, load(root))
    assert decodes == [40]


@pytest.mark.parametrize("fault", ["no folder", "full"])
def test_no_fault_of_the_cache_stops_a_run(root, own_cache, monkeypatch, caplog, fault):
    def full(path, **_):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    if fault == "full":
        monkeypatch.setattr(cache.np, "savez", full)
    else:
        own_cache.write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert len(load(root).train.labels) > 0
    (message,) = caplog.messages
    assert message.startswith("going on without a cache: ")
    assert "\n" not in message
    assert fault != "full" or list(own_cache.iterdir()) == []


def test_two_processes_at_once(root, own_cache):
    script = (
        "import sys; from catdog_jax.data import load_dataset\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for size in (16, 20, 24, 28):\n"
        "    d = load_dataset('folder', data_dir=sys.argv[1], image_size=size)\n"
        "    print(d.provenance['fingerprint'])\n"
    )
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-c", script, str(root)]
    running = [subprocess.Popen(command, text=True, **pipes) for _ in range(2)]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120) for process in running]
    assert outputs[0] == outputs[1] == (outputs[0][0], "")
    assert len(list(own_cache.iterdir())) == 4
    assert load(root, size=28).provenance["fingerprint"] == outputs[0][0].split()[-1]
