"""Parts depend on content only."""

import numpy as np
import pytest

from catdog_jax.data.splitting import (
    content_key,
    content_order,
    split_every_class,
    split_fractions,
    stable_split,
)
from catdog_jax.types import InputError

GOLDEN = "000010001102002000001000"
KEYS = [content_key(str(i).encode()) for i in range(2000)]


def test_the_rule_itself_never_changes():
    # Golden: a person's test set must stay their test set through every release.
    found = stable_split([f"picture {i}" for i in range(24)])
    assert "".join(map(str, found)) == GOLDEN


def test_shares_are_as_asked():
    counts = np.bincount(stable_split(KEYS), minlength=3)
    # Binomial, five standard deviations.
    assert abs(counts[0] - 1600) < 5 * 17.9
    assert abs(counts[1] - 200) < 5 * 13.4
    assert abs(counts[2] - 200) < 5 * 13.4


def test_an_examples_part_is_its_own():
    whole = stable_split(KEYS)
    order = np.random.default_rng(0).permutation(len(KEYS))
    np.testing.assert_array_equal(stable_split([KEYS[i] for i in order]), whole[order])
    np.testing.assert_array_equal(stable_split(KEYS[::7]), whole[::7])
    assert stable_split([KEYS[3]] * 4).tolist() == [whole[3]] * 4


def test_text_and_bytes_are_the_same_key():
    np.testing.assert_array_equal(stable_split(["a", "ü"]), stable_split([b"a", "ü".encode()]))


def test_a_part_with_no_share_is_empty():
    assert set(stable_split(KEYS, (1.0, 0.0, 0.0))) == {0}
    assert set(stable_split(KEYS, (0.9, 0.1, 0.0))) == {0, 1}


def test_large_classes_are_split_by_the_plain_rule():
    labels = np.arange(len(KEYS)) % 2
    found = split_every_class(KEYS, labels, (0.8, 0.1, 0.1), ("cat", "dog"))
    np.testing.assert_array_equal(found, stable_split(KEYS))


@pytest.mark.parametrize("count", [3, 4, 7])
@pytest.mark.parametrize("start", range(0, 400, 40))
def test_no_class_is_left_out_of_a_part(count, start):
    keys, labels = KEYS[start : start + 2 * count], np.arange(2 * count) % 2
    found = split_every_class(keys, labels, (0.8, 0.1, 0.1), ("cat", "dog"))
    for label in (0, 1):
        assert set(found[labels == label]) == {0, 1, 2}
    order = np.random.default_rng(start).permutation(len(keys))
    again = split_every_class(
        [keys[i] for i in order], labels[order], (0.8, 0.1, 0.1), ("cat", "dog")
    )
    np.testing.assert_array_equal(again, found[order])


def test_identical_pictures_stay_together_in_small_classes_too():
    keys = [KEYS[0]] * 5 + KEYS[1:3] + KEYS[10:13]
    labels = np.array([0] * 7 + [1] * 3)
    found = split_every_class(keys, labels, (0.8, 0.1, 0.1), ("cat", "dog"))
    assert len(set(found[:5])) == 1
    assert set(found[:7]) == {0, 1, 2}


def test_too_few_pictures_is_said():
    with pytest.raises(InputError, match="class 'dog' has only 2 different readable pictures"):
        split_every_class(
            KEYS[:7], np.array([0, 0, 0, 0, 0, 1, 1]), (0.8, 0.1, 0.1), ("cat", "dog")
        )


def test_order_is_that_of_content():
    labels = np.zeros(50, dtype=np.int32)
    ids = [str(i) for i in range(50)]
    order = content_order(KEYS[:50], labels, ids)
    assert [KEYS[i] for i in order] == sorted(KEYS[:50])


@pytest.mark.parametrize(
    ("valid", "divided", "expected"),
    [
        (0.0, True, (1.0, 0.0, 0.0)),
        (0.25, True, (0.75, 0.25, 0.0)),
        (0.0, False, (0.8, 0.1, 0.1)),
        (0.4, False, (0.5, 0.4, 0.1)),
    ],
)
def test_fractions(valid, divided, expected):
    assert split_fractions(valid, divided) == pytest.approx(expected)


@pytest.mark.parametrize("valid", [-0.1, 0.51, float("nan")])
def test_bad_fractions_are_refused(valid):
    with pytest.raises(InputError, match="fraction from 0 to 0.5"):
        split_fractions(valid, True)
