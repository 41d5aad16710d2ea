"""Folders of one's own: what is used, what is refused, and that order never matters."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from catdog_jax.data import decode, load_dataset
from catdog_jax.store import manifest
from catdog_jax.types import Dataset, InputError

SPLITS = ("train", "valid", "test")


def load(root: Path, entry: str = "folder", **flags: object) -> Dataset:
    return load_dataset(entry, data_dir=str(root), **{"image_size": 8, **flags})


def sizes(dataset: Dataset) -> list[int]:
    return [len(getattr(dataset, split).labels) for split in SPLITS]


def names(dataset: Dataset) -> set[str]:
    return {name for split in SPLITS for name in getattr(dataset, split).ids}


def test_pixels_labels_and_names_belong_together_and_classes_are_mixed(make_folder):
    root = make_folder({"cat": 30, "dog": 30})
    calls = []
    dataset = load(root, progress=lambda *at: calls.append(at))
    assert sum(sizes(dataset)) == 60
    assert calls.count((60, 60)) == 2  # once while reading, once while decoding
    for split in (dataset.train, dataset.valid, dataset.test):
        for pixels, label, name in zip(split.inputs, split.labels, split.ids, strict=True):
            np.testing.assert_array_equal(pixels, decode(root / name, 8)[0])
            assert name.startswith(("cat/", "dog/")[label])
    assert np.count_nonzero(np.diff(dataset.train.labels)) > 12


def test_names_of_files_do_not_matter_and_a_new_picture_moves_no_other(make_folder, encode):
    root = make_folder({"cat": 40, "dog": 40})
    before = load(root)
    (root / "cat/new.png").write_bytes(encode(500))
    after = load(root)
    for split in SPLITS:
        old, new = getattr(before, split).ids, getattr(after, split).ids
        assert [name for name in new if name != "cat/new.png"] == list(old)
    assert sum(sizes(after)) == 81
    for i, path in enumerate(sorted(root.glob("*/*.png"))):
        path.rename(path.with_name(f"{(7 * i) % 83:03d}x.png"))
    renamed = load(root)
    assert renamed.provenance["fingerprint"] == after.provenance["fingerprint"]
    assert renamed.train.ids != after.train.ids


def test_nested_folders_are_read_and_the_rest_is_explained(make_folder):
    counts = {"cat/2019/summer": 5, "cat/.trash": 5, "cat/@eaDir/0.png": 5, "dog": 5}
    root = make_folder(counts)
    (root / "cat/loop").symlink_to(root / "cat", target_is_directory=True)
    (root / "cat/broken.png").symlink_to(root / "nowhere.png")
    os.mkfifo(root / "cat/pipe.png")
    (root / "dog/0.png").rename(root / "dog/0.jpg")
    (root / "dog/1.png").rename(root / "dog/1")
    (root / "notes.txt").touch()
    dataset = load(root)
    assert dataset.files == (
        ("cat/.trash", "skipped", "hidden"),
        ("cat/@eaDir", "skipped", "hidden"),
        ("cat/broken.png", "skipped", "cannot be read: No such file or directory"),
        ("cat/loop", "skipped", "a link to a folder; links are not followed"),
        ("cat/pipe.png", "skipped", "not a regular file"),
        ("dog/0.jpg", "reported", "a PNG named .jpg; read as PNG"),
        ("dog/1", "reported", "a PNG named without an extension; read as PNG"),
        ("notes.txt", "skipped", "not inside a class folder"),
    )
    assert sum(sizes(dataset)) == 10
    linked = root.with_name("linked")
    linked.mkdir()
    for name in ("cat", "dog"):
        (linked / name).symlink_to(root / name, target_is_directory=True)
    assert load(linked).provenance["fingerprint"] == dataset.provenance["fingerprint"]


def test_classes_are_chosen_and_ordered(make_folder):
    root = make_folder({"cat": 5, "dog": 6, "emu": 7})
    assert load(root).class_names == ("cat", "dog", "emu")
    chosen = load(root, classes=("emu", "Cat"))
    assert chosen.class_names == ("emu", "cat")
    assert sum(chosen.provenance["counts"][split]["emu"] for split in SPLITS) == 7
    assert chosen.files == (("dog", "skipped", "not one of --classes"),)
    for wrong, message in {
        ("cat", "dgo"): r"'dgo'; known: cat, dog, emu \(did you mean 'dog'\?\)",
        ("cat", "cat"): "'cat' is given twice",
        ("cat",): r"3 classes \(cat, dog, emu\); choose at least two with --classes=a,b",
    }.items():
        with pytest.raises(InputError, match=message):
            load(root, classes=wrong)


def test_train_and_test_folders_are_used_as_given(make_folder):
    root = make_folder({"train/cat": 20, "train/dog": 20, "test/cat": 3, "test/dog": 4})
    dataset = load(root)
    assert sizes(dataset) == [40, 0, 7]
    assert all(name.startswith("test/") for name in dataset.test.ids)
    divided = load(root, "folder:valid=0.25")
    assert 2 <= sizes(divided)[1] <= 20
    assert names(divided) == names(dataset)
    assert divided.test.ids == dataset.test.ids
    counts = {f"{split}/{name}": 4 for split in ("train", "Validation", "test") for name in "ab"}
    root = make_folder(counts, "with_valid")
    assert sizes(load(root)) == [8, 8, 8]
    with pytest.raises(InputError, match="has a valid part of its own"):
        load(root, "folder:valid=0.2")


def test_a_picture_filed_twice_is_kept_once_and_one_with_two_labels_never(make_folder):
    root = make_folder({"train/cat": 5, "train/dog": 5, "test/cat": 3, "test/dog": 3})
    for source, target in {
        "train/cat/1.png": "train/cat/again.png",
        "train/cat/2.png": "test/cat/leak.png",
        "train/cat/3.png": "test/dog/wrong.png",
    }.items():
        shutil.copy(root / source, root / target)
    dataset = load(root)
    same, other = "the same picture as", "of another class; none is used"
    assert dataset.files == (
        ("test/dog/wrong.png", "skipped", f"{same} train/cat/3.png, {other}"),
        ("train/cat/2.png", "skipped", f"{same} test/cat/leak.png, which is used"),
        ("train/cat/3.png", "skipped", f"{same} test/dog/wrong.png, {other}"),
        ("train/cat/again.png", "skipped", f"{same} train/cat/1.png, which is used"),
    )
    assert sizes(dataset) == [8, 0, 7]


def test_a_name_that_is_not_utf8(make_folder):
    root = make_folder({"cat": 5, "dog": 5})
    os.rename(root / "cat/0.png", os.fsdecode(os.fsencode(root / "cat") + b"/\xff\xfe.png"))
    first, second = load(root), load(root)
    assert os.fsdecode(b"cat/\xff\xfe.png") in names(first)
    assert second.train.ids == first.train.ids


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, r"has 0 classes \(none\); .* each is a folder, like cat/ and dog/"),
        ({"train/cat": 5, "train/dog": 5}, "has a folder 'train', but train and test go together"),
        ({"cat": 5, "dog": 2}, "class 'dog' has only 2 different readable pictures"),
        ({"train/cat": 5, "train/dog": 5, "test/cat": 5}, "no example of 'dog' in its test part"),
    ],
)
def test_what_cannot_be_divided_is_refused(make_folder, counts, message):
    with pytest.raises(InputError, match=message) as caught:
        load(make_folder(counts))
    assert "\n" not in str(caught.value)


def test_no_usable_picture_and_no_folder(make_folder):
    root = make_folder({"cat": 5, "dog": 5})
    for path in root.glob("dog/*"):
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match="class 'dog' has only 0 different readable pictures"):
        load(root)
    for path in root.glob("dog/*"):
        path.write_bytes(b"\0\0\0\x18ftypheic" + path.read_bytes())
    with pytest.raises(InputError, match=r"'dog' can be used \(5 files; the first: a HEIC"):
        load(root)
    for wrong in (root / "nowhere", root / "dog/0.png"):
        with pytest.raises(InputError, match="is no folder"):
            load(wrong)
    with pytest.raises(InputError, match="needs --data_dir=FOLDER"):
        load_dataset("folder")


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [
        ("training_set", "val", "test_set"),
        ("Train", "Validation", "Test"),
        ("train-images", "valid set", "testing"),
    ],
)
def test_train_and_test_folders_by_other_names(train, valid, test, make_folder):
    counts = {f"{part}/{name}": 4 for part in (train, valid, test) for name in ("cat", "dog")}
    assert sizes(load(make_folder(counts))) == [8, 8, 8]


def test_runs_and_what_systems_leave_are_no_pictures(make_folder):
    strange = ("@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "cat/__MACOSX", "runs/a/b/figures")
    root = make_folder({"cat": 9, "dog": 9, "cat/my run": 3, **dict.fromkeys(strange, 3)})
    for run in ("runs/a/b", "cat/my run"):
        manifest.write(root / run, {})
    (root / "dog/manifest.json").write_text('{"pictures": 9}')  # of whoever has collected them
    found = load(root)
    assert found.class_names == ("cat", "dog")
    assert sum(sizes(found)) == 18
    whys = {note.path: note.reason for note in found.files}
    assert whys == {
        "cat/__MACOSX": "hidden",
        "cat/my run": "a run folder",
        "dog/manifest.json": "text, not a picture",
        "runs": "not one of --classes",
        **dict.fromkeys(("@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN"), "hidden"),
    }


def test_a_film_is_not_read_whole(make_folder, monkeypatch):
    root = make_folder({"cat": 6, "dog": 6})
    with open(root / "cat/film.mov", "wb") as film:
        film.write(b"\0\0\0\x14ftypqt  ")
        film.truncate(2**40)  # it takes no room on the disk, and all there is in memory
    assert [note.reason.split(";")[0] for note in load(root).files] == ["a film"]
    with pytest.raises(ValueError, match="a film"):
        decode(root / "cat/film.mov", 8)
