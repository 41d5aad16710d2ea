"""Data sets by name: registered ones, TFDS builders, loaders of one's own, and none of them."""

import dataclasses
import sys
import types

import numpy as np
import pytest

from catdog_jax.data import dataset_spec, fingerprint, load_dataset
from catdog_jax.types import Dataset, DatasetSpec, InputError, Split

SENTENCES = np.ones((4, 5), np.int32)


def dataset(train: np.ndarray, test: np.ndarray, label: int = 1, **provenance: object) -> Dataset:
    splits = []
    for inputs in (train, train[:0], test):
        labels = (np.arange(len(inputs)) % 2 * label).astype(np.int32)
        splits.append(Split(inputs, labels, tuple(map(str, range(len(inputs))))))
    return Dataset("mine", *splits, ("a", "b"), provenance)


def own(*, data_dir: str | None, shade: int = 3, flip: bool = False, **_: object) -> Dataset:
    """Load nothing much."""
    return dataset(np.zeros((4, 8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.uint8),
                   data_dir=data_dir, shade=shade, flip=flip)  # fmt: skip


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Make a module of a person's own, importable by name."""
    made = types.ModuleType("my_loaders")
    made.own, made.spec, made.number = own, DatasetSpec(own), 3
    made.narrow = lambda image_size: dataset(SENTENCES, SENTENCES, size=image_size)
    made.wrong = lambda **_: "no data set"
    made.raising = lambda **_: {}["x"]
    made.numbered = lambda **_: dataclasses.replace(
        dataset(SENTENCES, SENTENCES), test=Split(SENTENCES, np.zeros(4, np.int32), (0, 1, 2, 3))
    )
    made.unwritten = lambda **_: dataset(SENTENCES, SENTENCES, when=np.datetime64("2026-01-01"))
    made.infinite = lambda **_: dataset(*2 * [np.full((4, 2), np.inf, np.float32)])
    made.outside = lambda **_: dataset(SENTENCES, SENTENCES, label=2)
    monkeypatch.setitem(sys.modules, "my_loaders", made)
    return made


def test_a_loader_of_ones_own_gets_flags_and_typed_settings():
    found = load_dataset("my_loaders.own:shade=7:flip=true", data_dir="here")
    digest = fingerprint(found.train, found.valid, found.test)
    typed = {"data_dir": "here", "shade": 7, "flip": True}
    assert found.provenance == typed | {"fingerprint": digest}
    assert load_dataset("my_loaders.spec").provenance["shade"] == 3
    assert load_dataset("my_loaders.narrow", image_size=9).provenance["size"] == 9
    for name in ("cifar10", "oxford_iiit_pet", "folder", "procedural", "mnist", "my_loaders.own"):
        assert dataset_spec(name).models


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("my_loaders.number", "is a int; give a function"),
        ("my_loaders.wrong", r"returns no catdog_jax\.types\.Dataset"),
        ("my_loaders.outside", "an integer label with a class name"),
        ("my_loaders.raising", r"fails \(KeyError: 'x'\); mend its loader"),
        ("my_loaders.numbered", r"for each input an id \(text\)|typechecking parameter 'ids'"),
        ("my_loaders.unwritten", "its provenance cannot be written as JSON"),
        ("my_loaders.infinite", r"finite vectors"),
        ("os.system", "is Python's own; give package.module.name of yours"),
        ("my_loaders.own:shade=dark", "shade=dark is not allowed; give a whole number"),
        ("my_loaders.own:shad=1", "'shad'; known: flip, shade .*did you mean 'shade'"),
        ("foldr", r"unknown data set 'foldr'; known: cats_vs_dogs, .*did you mean 'folder'\?"),
        ("a/b/c", "unknown data set 'a/b/c'; .*or the name of a TFDS image set"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(entry, message, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(entry, data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)
    for size in (-1, 7, 1025):
        with pytest.raises(InputError, match=f"--image_size={size} is out of range; give 8 to"):
            load_dataset(entry, image_size=size)


def test_examples_may_be_sentences_or_vectors_but_alike_in_all_splits(module):
    vectors = np.ones((4, 5), np.float32)
    for inputs, kind in ((SENTENCES, "tokens"), (vectors, "vectors")):
        module.mine = lambda inputs=inputs: dataset(inputs, inputs)
        assert load_dataset("my_loaders.mine").kind == kind
    for wrong in (SENTENCES[:, :3], vectors, np.ones((4, 5), np.int64)):
        module.mine = lambda wrong=wrong: dataset(SENTENCES, wrong)
        with pytest.raises(InputError, match="alike in all parts"):
            load_dataset("my_loaders.mine")
    module.mine = lambda: dataset(SENTENCES, SENTENCES[:0])
    with pytest.raises(InputError, match=r"its test part has inputs int32 \(0, 5\).* N > 0"):
        load_dataset("my_loaders.mine")


@pytest.mark.parametrize("flag", [{"data_dir": "here"}, {"classes": ("a", "b")}, {"image_size": 9}])
def test_a_flag_that_a_data_set_does_not_take_is_refused(flag, module):
    module.plain = lambda: dataset(SENTENCES, SENTENCES)
    (name,) = flag
    with pytest.raises(InputError, match=f"--{name}=.*: the data set my_loaders.plain does not"):
        load_dataset("my_loaders.plain", **flag)
    if name == "data_dir":
        with pytest.raises(InputError, match="procedural does not take it; leave it out"):
            load_dataset("procedural", **flag)
