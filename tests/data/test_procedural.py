"""The drawn cats and dogs: functions of their keys, hard enough, and not decided by one factor."""

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from catdog_jax.data import load_dataset, procedural, threefry
from catdog_jax.data.assemble import fingerprint
from catdog_jax.data.drawing import NUM_FREE, draw
from catdog_jax.data.drawing_factors import (
    DEFAULT_DIFFICULTY,
    NUM_UNIFORM,
    PATTERNS,
    sample_factors,
)
from catdog_jax.data.procedural import generate, load
from catdog_jax.types import InputError


@pytest.fixture(scope="module")
def drawn():
    """The default data set, its test part larger for steadier estimates."""
    return load(num_test=2000)


def pixel_accuracy(train, test, alpha=3000.0):
    model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=alpha))
    model.fit(train.inputs.reshape(len(train.labels), -1) / 255.0, train.labels)
    return model.score(test.inputs.reshape(len(test.labels), -1) / 255.0, test.labels)


def best_threshold_accuracy(values, labels):
    """Reach of a single factor: the best cut, either side being cats."""
    order = np.argsort(values, kind="stable")
    cats_minus_dogs = np.cumsum(np.where(labels[order] == 0, 1, -1))
    last_of_its_value = np.append(np.diff(values[order]) > 0, True)
    return 0.5 + np.abs(cats_minus_dogs[last_of_its_value]).max() / len(labels)


def test_factors_move_the_picture():
    rng = np.random.default_rng(2)
    uniform = rng.random((NUM_UNIFORM, 1, 1, 1), np.float32)
    factors = sample_factors(uniform, np.zeros((1, 1, 1), np.int32), 0.0)
    free = rng.random((NUM_FREE, 1, 1, 1), np.float32)
    bits = rng.integers(0, 2**32, (3, 1, 32, 32), np.uint32)
    base = draw(factors, free, bits)
    assert base.dtype == np.float32  # a plane of float64 would take twice the time
    light, pattern = factors["light_angle"] + np.pi, (factors["pattern"] + 1.0) % len(PATTERNS)
    changes = {"ear_hang": 1.0, "muzzle_length": 1.0, "whisker_length": 0.0, "head_x": 0.3,
               "scale": 0.7, "tilt": 0.5, "light_angle": light, "pattern": pattern,
               "occlusion": 0.6, "clutter": 1.0, "noise": 0.2}  # fmt: skip
    for name, value in changes.items():
        changed = np.broadcast_to(np.float32(value), (1, 1, 1))
        moved = draw({**factors, name: changed}, free, bits)
        assert np.abs(moved - base).max() > 0.03, name


def test_random_numbers_are_those_of_jax():
    numbers = np.array([0, 1, 7, 2**31, 2**32 - 1], np.uint32)
    keys = threefry.fold_in(2**32 - 3, numbers)
    first, second = threefry.split(keys)
    for column, number in enumerate(numbers):
        key = jax.random.fold_in(jax.random.key(np.uint32(2**32 - 3)), number)
        for mine, theirs in zip((first, second), jax.random.split(key), strict=True):
            np.testing.assert_array_equal(mine[:, column], jax.random.key_data(theirs))
        words, shares = threefry.bits(keys, 9)[:, column], threefry.uniform(keys, 9)[:, column]
        np.testing.assert_array_equal(words, jax.random.bits(key, (9,)))
        np.testing.assert_array_equal(shares, jax.random.uniform(key, (9,)))


def test_picture_does_not_depend_on_its_neighbours():
    images, labels, factors = generate(600, seed=4, size=8, difficulty=0.5)
    again, again_labels, again_factors = generate(45, seed=4, size=8, difficulty=0.5, first=241)
    np.testing.assert_array_equal(again, images[241:286])
    np.testing.assert_array_equal(again_labels, labels[241:286])
    for name, values in factors.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(again_factors[name], values[241:286])
    other, _, _ = generate(45, seed=5, size=8, difficulty=0.5, first=241)
    assert (other != again).mean() > 0.9
    assert len(np.unique(images.reshape(600, -1), axis=0)) == 600


def test_load_is_balanced_and_disjoint(drawn):
    assert drawn.class_names == ("cat", "dog")
    splits = (drawn.train, drawn.valid, drawn.test)
    assert [len(split.labels) for split in splits] == [4000, 500, 2000]
    for split in splits:
        assert split.inputs.shape == (len(split.labels), 32, 32, 3)
        assert split.inputs.dtype == np.uint8
        assert split.labels.mean() == 0.5
        assert all(values.shape == split.labels.shape for values in split.factors.values())
    assert drawn.test.ids[12] == "test/0000012"
    assert len({image.tobytes() for split in splits for image in split.inputs}) == 6500
    assert drawn.provenance["fingerprint"] == fingerprint(*splits)
    assert drawn.provenance["difficulty"] == DEFAULT_DIFFICULTY


def test_drawn_pictures_are_kept_with_all_known_of_them(monkeypatch, own_cache, assert_equal):
    settings = {"num_train": 40, "num_valid": 4, "num_test": 8, "image_size": 8}
    drawn = load(**settings)
    assert not own_cache.exists()  # so few are drawn faster than looked up
    monkeypatch.setattr(procedural, "KEPT", (0, 2**20))
    load(**settings)
    with monkeypatch.context() as patch:
        patch.setattr(procedural, "generate", None)  # nothing is drawn any more
        kept = load(**settings)
    assert_equal(drawn, kept)
    digest = drawn.provenance["fingerprint"]
    for other in ({"seed": 1}, {"difficulty": 0.25}, {"num_test": 9}):
        assert load(**{**settings, **other}).provenance["fingerprint"] != digest
    monkeypatch.setattr(procedural, "processor_digest", lambda: "another")  # other bits, perhaps
    load(**settings)
    assert len(list(own_cache.iterdir())) == 5


def test_no_factor_decides_and_all_together_do(drawn):
    train, test = drawn.train, drawn.test
    table = {}
    for name, values in train.factors.items():
        auc = roc_auc_score(train.labels, values)
        table[name] = (best_threshold_accuracy(values, train.labels), max(auc, 1.0 - auc))
    assert max(accuracy for accuracy, _ in table.values()) < 0.81
    assert max(auc for _, auc in table.values()) < 0.81
    assert sum(accuracy > 0.70 for accuracy, _ in table.values()) >= 10
    for name in ("head_x", "scale", "tilt", "light_angle", "noise", "background_hue"):
        assert table[name][0] < 0.54, name

    names = sorted(train.factors)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    model.fit(np.stack([train.factors[name] for name in names], 1), train.labels)
    assert model.score(np.stack([test.factors[name] for name in names], 1), test.labels) > 0.97


def test_pixels_decide_a_part_and_difficulty_makes_it_less(drawn):
    assert 0.62 < pixel_accuracy(drawn.train, drawn.test) < 0.75
    counts = {"num_train": 800, "num_valid": 1, "num_test": 500}
    easy, hard = (load(difficulty=d, **counts) for d in (0.0, 1.0))
    assert pixel_accuracy(easy.train, easy.test) > 0.95
    assert pixel_accuracy(hard.train, hard.test) < pixel_accuracy(drawn.train, drawn.test)


def test_what_a_person_mistypes_is_one_plain_line():
    for settings, flags, words in (
        ("difficulty=nan", {}, "difficulty=nan"),
        ("num_train=0", {}, "num_train=0 is not allowed"),
        ("num_train=1000000000", {"image_size": 1024}, "GiB"),
        ("seed=4294967296", {}, "seed=4294967296 .*≤ 4294967295"),
        ("seed=0", {"classes": ("dog", "cat")}, "dog,cat"),
    ):
        with pytest.raises(InputError, match=words) as error:
            load_dataset(f"procedural:{settings}", **flags)
        assert "\n" not in str(error.value)
        assert "give" in str(error.value)
