"""The cache: a hit equals a miss, damage is repaired, faults never stop a run."""

import errno
import logging
import os
from pathlib import Path

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


def test_a_hit_equals_a_miss_and_every_setting_has_its_own_file(
    root, own_cache, decodes, assert_equal
):
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
def test_a_damaged_file_is_noticed_and_made_again(
    root, own_cache, decodes, assert_equal, caplog, damage
):
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
