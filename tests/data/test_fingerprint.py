"""The digest of arrays."""

import hashlib

import numpy as np

from catdog_jax.data import fingerprint
from catdog_jax.types import Split


def split(images: np.ndarray, labels: list[int]) -> Split:
    return Split(images, np.array(labels, np.int32), tuple(map(str, labels)))


IMAGES = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)


def test_it_is_what_it_says():
    expected = hashlib.sha256(b"(2, 2, 2, 3)|u1" + IMAGES.tobytes())
    expected.update(b"(2,)<i4" + np.array([0, 1], np.int32).tobytes())
    assert fingerprint(split(IMAGES, [0, 1])) == expected.hexdigest()


def test_every_byte_and_the_order_count():
    base = fingerprint(split(IMAGES, [0, 1]))
    changed = IMAGES.copy()
    changed[1, 1, 1, 2] += 1
    assert fingerprint(split(changed, [0, 1])) != base
    assert fingerprint(split(IMAGES, [1, 0])) != base
    assert fingerprint(split(IMAGES[::-1], [0, 1])) != base
    assert fingerprint(split(IMAGES.reshape(2, 1, 4, 3), [0, 1])) != base
    assert fingerprint(split(IMAGES.copy(), [0, 1])) == base


def test_moving_an_example_between_parts_counts():
    whole, none = split(IMAGES, [0, 1]), split(IMAGES[:0], [])
    assert fingerprint(whole, none) != fingerprint(none, whole)
