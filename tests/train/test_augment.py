"""Augmentations: exact where they are, rates where they are random, and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.augment import AUGMENTATIONS, augmenter, cutout, flip, parse_augment, shift
from catdog_jax.types import InputError


def pictures(num=200, size=16):
    return jax.random.uniform(jax.random.key(0), (num, size, size, 3)) + 0.5


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_shape_dtype_determinism_and_key(name):
    images, change = pictures(), AUGMENTATIONS[name]
    one, again = (jax.jit(change)(jax.random.key(1), images) for _ in range(2))
    other = change(jax.random.key(2), images)
    assert one.shape == images.shape
    assert one.dtype == images.dtype
    np.testing.assert_array_equal(one, again)
    assert np.any(one != other)


def test_flip_mirrors_about_half_and_nothing_else():
    images = pictures()
    out = np.asarray(flip(jax.random.key(1), images))
    same = (out == np.asarray(images)).all((1, 2, 3))
    mirrored = (out == np.asarray(images)[:, :, ::-1]).all((1, 2, 3))
    assert np.all(same ^ mirrored)
    assert 70 < mirrored.sum() < 130


def test_shift_is_a_crop_of_the_mirrored_picture():
    images = pictures(40)
    out = np.asarray(shift(jax.random.key(1), images))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    places = set()
    for i in range(40):
        found = [
            (r, c)
            for r in range(5)
            for c in range(5)
            if (padded[i, r : r + 16, c : c + 16] == out[i]).all()
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 10


def test_cutout_fills_one_square_with_the_rounded_mean():
    out = np.asarray(cutout(jax.random.key(1), pictures(100), (0.2, 300.4, 99.6)))
    blank = (out == [0, 300, 100]).all(3)
    assert blank.sum((1, 2)).min() >= 4
    assert blank.sum((1, 2)).max() == 9
    np.testing.assert_array_equal(out[~blank], np.asarray(pictures(100))[~blank])


def test_members_with_one_key_each_differ():
    change = augmenter(("flip", "shift", "cutout"))
    images = pictures(8)
    keys = jax.random.split(jax.random.key(0), 3)
    out = jax.vmap(lambda k: change(k, images))(keys)
    assert np.any(out[0] != out[1])
    np.testing.assert_array_equal(out[2], change(keys[2], images))


def test_parse():
    assert parse_augment("none") == ()
    assert parse_augment("flip, shift") == ("flip", "shift")
    assert augmenter(()) is None
    with pytest.raises(InputError, match="unknown entry of --augment: 'flp'.*did you mean 'flip'"):
        parse_augment("flp")
    with pytest.raises(InputError, match="given twice"):
        parse_augment("flip,flip")


def test_pictures_of_whole_numbers_change_as_floats_do():
    images = jax.random.randint(jax.random.key(3), (4, 8, 8, 3), 0, 256).astype(jnp.uint8)
    change = augmenter(("flip", "shift", "cutout"), mean=(0.5, 0.4, 0.3))
    found = change(jax.random.key(0), images)
    assert found.dtype == jnp.uint8
    floats = change(jax.random.key(0), images.astype(jnp.float32))
    np.testing.assert_array_equal(found, floats)
    assert (np.asarray(found) == [128, 102, 76]).all(3).sum() == 4  # of 8 pixels an eighth: one
