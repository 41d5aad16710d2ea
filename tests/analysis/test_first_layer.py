"""A pictured weight multiplies the pixel it is drawn on."""

import numpy as np
import pytest

from catdog_jax.analysis.first_layer import class_difference, weight_pictures

SHAPE = (4, 5, 3)


def test_a_dense_unit_is_the_inner_product_with_its_picture():
    rng = np.random.default_rng(0)
    kernel, image = rng.normal(size=(2, 60, 7)), rng.normal(size=SHAPE)
    pictures = weight_pictures(kernel, SHAPE)
    assert pictures.shape == (2, 7, *SHAPE)
    np.testing.assert_allclose(
        np.einsum("muhwc,hwc->mu", pictures, image), image.reshape(-1) @ kernel
    )


def test_a_filter_stands_upright():
    kernel = np.random.default_rng(0).normal(size=(2, 3, 3, 3, 8))
    np.testing.assert_array_equal(weight_pictures(kernel, SHAPE)[1, 6], kernel[1, ..., 6])


def test_the_difference_decides_between_two_classes():
    rng = np.random.default_rng(0)
    kernel, image = rng.normal(size=(2, 60, 2)), rng.normal(size=SHAPE)
    logits = image.reshape(-1) @ kernel
    found = np.einsum("muhwc,hwc->mu", class_difference(kernel, SHAPE), image)
    np.testing.assert_allclose(found[:, 0], logits[:, 1] - logits[:, 0])


def test_a_kernel_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="does not read images"):
        weight_pictures(np.zeros((2, 61, 7)), SHAPE)
