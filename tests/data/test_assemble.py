"""Splits depend on content only, and the digest names the arrays."""

import hashlib

import numpy as np
import pytest

from catdog_jax.data.assemble import content_key, fingerprint, split_every_class, split_fractions
from catdog_jax.types import InputError, Split

KEYS = [content_key(str(i).encode()) for i in range(2000)]
LABELS = np.arange(2000, dtype=np.int32) % 2
SHARES = (0.8, 0.1, 0.1)
IMAGES = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)


def split_up(keys, labels, fractions=SHARES):
    return split_every_class(keys, labels, fractions, ("cat", "dog"))


def test_the_rule_itself_never_changes():
    # Golden: a person's test set must stay their test set through every release.
    found = split_up(KEYS[:48], LABELS[:48])
    assert "".join(map(str, found)) == "001000200000010000000000000001000200100012210000"


def test_shares_are_as_asked_and_an_examples_split_is_its_own():
    whole = split_up(KEYS, LABELS)
    # Binomial, five standard deviations.
    np.testing.assert_allclose(np.bincount(whole), [1600, 200, 200], atol=5 * 17.9)
    order = np.random.default_rng(0).permutation(len(KEYS))
    np.testing.assert_array_equal(split_up([KEYS[i] for i in order], LABELS[order]), whole[order])
    np.testing.assert_array_equal(split_up(KEYS[::7], LABELS[::7]), whole[::7])
    assert set(split_up(KEYS, LABELS, (1.0, 0.0, 0.0))) == {0}
    assert set(split_up(KEYS, LABELS, (0.9, 0.1, 0.0))) == {0, 1}


@pytest.mark.parametrize("count", [3, 4, 7])
@pytest.mark.parametrize("start", range(0, 400, 40))
def test_no_class_is_left_out_of_a_split(count, start):
    keys, labels = KEYS[start : start + 2 * count], LABELS[: 2 * count]
    found = split_up(keys, labels)
    for label in (0, 1):
        assert set(found[labels == label]) == {0, 1, 2}
    order = np.random.default_rng(start).permutation(len(keys))
    again = split_up([keys[i] for i in order], labels[order])
    np.testing.assert_array_equal(again, found[order])


def test_fractions():
    assert split_fractions(0.25, ("train", "test"), "it") == (0.75, 0.25, 0.0)
    assert split_fractions(0.0, [""], "it") == pytest.approx(SHARES)
    assert split_fractions(0.4, [""], "it") == pytest.approx((0.5, 0.4, 0.1))
    for valid in (-0.1, 0.51, float("nan")):
        with pytest.raises(InputError, match="fraction from 0 to 0.5"):
            split_fractions(valid, [""], "it")


def test_the_fingerprint_is_of_every_byte_in_order():
    def split(images, labels):
        return Split(images, np.array(labels, np.int32), tuple(map(str, labels)))

    expected = hashlib.sha256(b"(2, 2, 2, 3)|u1" + IMAGES.tobytes())
    expected.update(b"(2,)<i4" + np.array([0, 1], np.int32).tobytes())
    whole, none = split(IMAGES, [0, 1]), split(IMAGES[:0], [])
    assert fingerprint(whole) == expected.hexdigest()
    assert fingerprint(split(IMAGES[::-1], [0, 1])) != fingerprint(whole)
    assert fingerprint(whole, none) != fingerprint(none, whole)
