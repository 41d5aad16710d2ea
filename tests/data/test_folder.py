"""Folders of one's own: what is used, what is refused, and that order never matters."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from catdog_jax.data import load_dataset
from catdog_jax.types import Dataset, InputError

PARTS = ("train", "valid", "test")
MakeFolder = Callable[..., Path]


def load(root: Path, entry: str = "folder", **flags: object) -> Dataset:
    return load_dataset(entry, data_dir=str(root), **{"image_size": 8, **flags})


def sizes(dataset: Dataset) -> list[int]:
    return [len(getattr(dataset, part).labels) for part in PARTS]


def test_pixels_labels_and_names_belong_together(make_folder: MakeFolder):
    root = make_folder("photos", {"cat": 30, "dog": 30})
    from catdog_jax.data import decode

    dataset = load(root)
    assert sum(sizes(dataset)) == 60
    for part in PARTS:
        split = getattr(dataset, part)
        for pixels, label, name in zip(split.inputs, split.labels, split.ids, strict=True):
            np.testing.assert_array_equal(pixels, decode(root / name, 8)[0])
            assert name.startswith(("cat/", "dog/")[label])


def test_the_order_and_names_of_files_do_not_matter(make_folder: MakeFolder, tmp_path: Path):
    first = load(make_folder("photos", {"cat": 30, "dog": 30}))
    other = make_folder("elsewhere", {"cat": 30, "dog": 30}, reverse=True)
    second = load(other)
    assert second.provenance["fingerprint"] == first.provenance["fingerprint"]
    assert second.train.ids == first.train.ids
    for i, path in enumerate(sorted(other.glob("*/*.png"))):
        path.rename(path.with_name(f"{(7 * i) % 61:03d}.png"))
    renamed = load(other)
    assert renamed.provenance["fingerprint"] == first.provenance["fingerprint"]
    assert renamed.train.ids != first.train.ids


def test_the_classes_are_mixed(make_folder: MakeFolder):
    labels = load(make_folder("photos", {"cat": 40, "dog": 40})).train.labels
    assert np.count_nonzero(np.diff(labels)) > len(labels) / 4


def test_a_new_picture_moves_no_other(make_folder: MakeFolder):
    root = make_folder("photos", {"cat": 40, "dog": 40})
    before = load(root)
    (root / "cat/new.png").write_bytes(
        (make_folder("more", {"x": 1}, first=500) / "x/500.png").read_bytes()
    )
    after = load(root)
    for part in PARTS:
        old, new = getattr(before, part).ids, getattr(after, part).ids
        assert [i for i in new if i != "cat/new.png"] == list(old)
    assert sum(sizes(after)) == 81


def test_nested_folders_are_read(make_folder: MakeFolder):
    root = make_folder("photos", {"cat/2019/summer": 5, "cat/.trash": 5, "dog": 5})
    dataset = load(root)
    assert dataset.provenance["counts"]["train"].keys() == {"cat", "dog"}
    names = [i for part in PARTS for i in getattr(dataset, part).ids]
    assert sum(name.startswith("cat/2019/summer/") for name in names) == 5
    assert ("cat/.trash", "skipped", "a hidden folder") in dataset.files


def test_classes_are_chosen_and_ordered(make_folder: MakeFolder):
    root = make_folder("photos", {"cat": 5, "dog": 6, "emu": 7})
    assert load(root).class_names == ("cat", "dog", "emu")
    chosen = load(root, classes=("emu", "cat"))
    assert chosen.class_names == ("emu", "cat")
    assert sum(chosen.provenance["counts"][p]["emu"] for p in PARTS) == 7
    assert chosen.files == (("dog", "skipped", "not one of --classes"),)
    with pytest.raises(InputError, match=r"'dgo'; known: cat, dog, emu \(did you mean 'dog'\?\)"):
        load(root, classes=("cat", "dgo"))
    with pytest.raises(InputError, match="'cat' is given twice"):
        load(root, classes=("cat", "cat"))


def test_unbalanced_classes_are_fine(make_folder: MakeFolder):
    counts = load(make_folder("photos", {"cat": 60, "dog": 3})).provenance["counts"]
    assert [counts[part]["dog"] for part in PARTS] == [1, 1, 1]
    assert sum(counts[part]["cat"] for part in PARTS) == 60


def test_train_and_test_folders_are_used_as_given(make_folder: MakeFolder):
    root = make_folder("photos", {"train/cat": 20, "train/dog": 20, "test/cat": 3, "test/dog": 4})
    dataset = load(root)
    assert sizes(dataset) == [40, 0, 7]
    assert all(name.startswith("test/") for name in dataset.test.ids)
    part = load(root, "folder:valid=0.25")
    assert sizes(part)[2] == 7
    assert sizes(part)[0] + sizes(part)[1] == 40
    assert 2 <= sizes(part)[1] <= 20
    assert set(part.train.ids) | set(part.valid.ids) == set(dataset.train.ids)
    assert not set(part.train.ids) & set(part.valid.ids)


@pytest.mark.parametrize("name", ["valid", "val", "Validation"])
def test_a_valid_folder_is_used(make_folder: MakeFolder, name: str):
    counts = {f"{p}/{c}": 4 for p in ("train", name, "test") for c in ("cat", "dog")}
    root = make_folder("photos", counts)
    assert sizes(load(root)) == [8, 8, 8]
    with pytest.raises(InputError, match="has a valid folder of its own"):
        load(root, "folder:valid=0.2")


def test_a_picture_filed_twice_is_kept_once(make_folder: MakeFolder):
    root = make_folder("photos", {"cat": 5, "dog": 5})
    shutil.copy(root / "cat/2.png", root / "cat/again.png")
    dataset = load(root)
    assert dataset.files == (
        ("cat/again.png", "skipped", "the same picture as cat/2.png; one is kept"),
    )
    assert sum(sizes(dataset)) == 10


def test_a_picture_with_two_labels_is_not_used(make_folder: MakeFolder):
    root = make_folder("photos", {"cat": 5, "dog": 5})
    shutil.copy(root / "cat/2.png", root / "dog/also.png")
    dataset = load(root)
    assert [(n.path, n.action) for n in dataset.files] == [
        ("cat/2.png", "skipped"),
        ("dog/also.png", "skipped"),
    ]
    assert "labelled both cat and dog" in dataset.files[0].reason
    assert sum(sizes(dataset)) == 9


def test_a_picture_in_train_and_test_leaves_train(make_folder: MakeFolder):
    root = make_folder("photos", {"train/cat": 5, "train/dog": 5, "test/cat": 3, "test/dog": 3})
    shutil.copy(root / "train/cat/2.png", root / "test/cat/leak.png")
    dataset = load(root)
    reason = "the same picture as test/cat/leak.png; kept in test, left out of train"
    assert dataset.files == (("train/cat/2.png", "skipped", reason),)
    assert sizes(dataset) == [9, 0, 7]
    shutil.copy(root / "train/cat/3.png", root / "test/dog/wrong.png")
    assert sizes(load(root)) == [8, 0, 7]


def test_wrong_and_missing_extensions_are_told(make_folder: MakeFolder):
    root = make_folder("photos", {"cat": 5, "dog": 5})
    (root / "cat/0.png").rename(root / "cat/0.jpg")
    (root / "cat/1.png").rename(root / "cat/1")
    assert load(root).files == (
        ("cat/0.jpg", "reported", "a PNG named .jpg; read as PNG"),
        ("cat/1", "reported", "a PNG named without an extension; read as PNG"),
    )


def test_links_and_pipes_do_not_hang_or_loop(make_folder: MakeFolder):
    root = make_folder("photos", {"cat": 5, "dog": 5})
    (root / "cat/loop").symlink_to(root / "cat", target_is_directory=True)
    (root / "cat/broken.png").symlink_to(root / "nowhere.png")
    os.mkfifo(root / "cat/pipe.png")
    dataset = load(root)
    assert dataset.files == (
        ("cat/broken.png", "skipped", "cannot be read: No such file or directory"),
        ("cat/loop", "skipped", "a link to a folder; links are not followed"),
        ("cat/pipe.png", "skipped", "not a regular file"),
    )
    assert sum(sizes(dataset)) == 10


def test_a_name_that_is_not_utf8(make_folder: MakeFolder):
    root = make_folder("photos", {"cat": 5, "dog": 5})
    strange = os.fsdecode(os.fsencode(root / "cat") + b"/\xff\xfe.png")
    os.rename(root / "cat/0.png", strange)
    first, second = load(root), load(root)
    names = [i for part in PARTS for i in getattr(first, part).ids]
    assert os.fsdecode(b"cat/\xff\xfe.png") in names
    assert second.train.ids == first.train.ids


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "holds 0 class folders"),
        ({"cat": 5}, r"holds 1 class folders \(cat\); put the pictures into at least two"),
        ({"train/cat": 5, "train/dog": 5}, "has a 'train' folder but no 'test' folder"),
        ({"cat": 5, "dog": 2}, "class 'dog' has only 2 different readable pictures"),
        ({"train/cat": 5, "train/dog": 5, "test/cat": 5}, "no picture of 'test/dog' can be used"),
    ],
)
def test_what_cannot_be_divided_is_refused(make_folder: MakeFolder, tmp_path, counts, message):
    (tmp_path / "photos").mkdir()
    root = make_folder("photos", counts)
    with pytest.raises(InputError, match=message) as caught:
        load(root)
    assert "\n" not in str(caught.value)


def test_a_class_of_broken_files_is_refused(make_folder: MakeFolder):
    root = make_folder("photos", {"cat": 5, "dog": 4})
    for path in root.glob("dog/*.png"):
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match="no picture of 'dog' can be used"):
        load(root)


def test_no_folder_a_file_and_none_given(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not a folder"):
        load(tmp_path / "file")
    with pytest.raises(InputError, match="needs --data_dir=FOLDER"):
        load_dataset("folder")


def test_progress_reaches_the_end_of_reading_and_of_decoding(make_folder: MakeFolder):
    calls: list[tuple[int, int]] = []
    root = make_folder("photos", {"cat": 40, "dog": 40})
    load_dataset("folder", data_dir=str(root), progress=lambda *at: calls.append(at))
    assert calls.count((80, 80)) == 2
