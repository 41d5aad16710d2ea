"""Entries: registered names, TFDS builders, loaders of one's own, and what is none of them."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from catdog_jax.data import dataset_spec, fingerprint, load_dataset
from catdog_jax.types import Dataset, DatasetSpec, InputError, Split


def part(count: int, dtype: type = np.uint8, label: int = 1) -> Split:
    images = np.zeros((count, 8, 8, 3), dtype)
    labels = (np.arange(count) % 2 * label).astype(np.int32)
    return Split(images, labels, tuple(map(str, range(count))))


def own(*, data_dir: str | None, shade: int = 3, flip: bool = False, **_: object) -> Dataset:
    """Load nothing much."""
    given = {"data_dir": data_dir, "shade": shade, "flip": flip}
    return Dataset("own", part(4), part(0), part(2), ("a", "b"), given)


def narrow(image_size: int) -> Dataset:
    return Dataset("own", part(4), part(0), part(2), ("a", "b"), {"size": image_size})


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Make a module of a person's own, importable by name."""
    made = types.ModuleType("my_loaders")
    made.own, made.narrow, made.spec, made.number = own, narrow, DatasetSpec(own, "mine"), 3
    made.wrong = lambda **_: "no data set"
    made.outside = lambda **_: Dataset(
        "own", part(4, label=2), part(0), part(2), ("a", "b"), {"fingerprint": ""}
    )
    monkeypatch.setitem(sys.modules, "my_loaders", made)
    return made


def test_a_loader_of_ones_own_gets_flags_and_typed_settings():
    dataset = load_dataset("my_loaders.own:shade=7:flip=true", data_dir="here")
    assert {k: dataset.provenance[k] for k in ("data_dir", "shade", "flip")} == {
        "data_dir": "here",
        "shade": 7,
        "flip": True,
    }
    expected = fingerprint(dataset.train, dataset.valid, dataset.test)
    assert dataset.provenance["fingerprint"] == expected
    assert load_dataset("my_loaders.spec").provenance["shade"] == 3
    assert load_dataset("my_loaders.narrow", image_size=9).provenance["size"] == 9
    assert dataset_spec("my_loaders.spec:shade=1").summary == "mine"
    assert dataset_spec("my_loaders.own").models == DatasetSpec(own, "").models


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("my_loaders.nothing", "has no 'nothing'"),
        ("my_loader.own", "cannot import 'my_loader'"),
        ("my_loaders.number", "is a int, not a loader"),
        ("my_loaders.wrong", r"returns no catdog_jax\.types\.Dataset"),
        ("my_loaders.outside", "labels without a class name"),
        ("my_loaders.own:shade=dark", "shade=dark is not a whole number"),
        ("my_loaders.own:shad=1", "'shad'; known: flip, shade .*did you mean 'shade'"),
        ("my_loaders.own:data_dir=x", "data_dir is a flag of its own; write --data_dir="),
        ("my_loaders.own:shade", "is not setting=value"),
        ("", "the name is empty"),
        ("foldr", r"unknown data set 'foldr'; known: cats_vs_dogs, .*did you mean 'folder'\?"),
        ("../etc", "unknown data set|cannot import"),
        ("a/b/c", "unknown data set 'a/b/c'"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(entry: str, message: str, tmp_path: Path):
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(entry, data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [-1, 1, 7, 1025])
def test_image_size_has_a_range(size: int):
    with pytest.raises(InputError, match=f"--image_size={size} is out of range; give 8 to 1024"):
        load_dataset("my_loaders.own", image_size=size)


def test_registered_names_and_tfds_builders_have_specs():
    for name in ("cifar10", "cats_vs_dogs", "oxford_iiit_pet", "folder", "procedural", "mnist"):
        assert dataset_spec(name).models
    with pytest.raises(InputError, match="or the name of a TFDS image set"):
        dataset_spec("no_such_set")


def test_examples_may_be_sentences_or_vectors_but_alike_in_all_parts(module):
    def split(inputs):
        count = len(inputs)
        return Split(inputs, np.arange(count, dtype=np.int32) % 2, tuple(map(str, range(count))))

    def loader(first, second):
        parts = {"train": split(first), "valid": split(first[:0]), "test": split(second)}
        return lambda: Dataset("mine", class_names=("a", "b"), provenance={}, **parts)

    sentences = np.ones((4, 5), np.int32)
    vectors = np.ones((4, 5), np.float32)
    for inputs, kind in ((sentences, "tokens"), (vectors, "vectors")):
        module.mine = loader(inputs, inputs)
        assert load_dataset("my_loaders.mine").kind == kind
    for wrong in (sentences[:, :3], vectors, np.ones((4, 5), np.int64)):
        module.mine = loader(sentences, wrong)
        with pytest.raises(InputError, match="alike in all parts"):
            load_dataset("my_loaders.mine")
