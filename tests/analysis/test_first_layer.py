"""A pictured weight multiplies the pixel it is drawn on."""

import numpy as np

from catdog_jax.analysis.first_layer import first_layer

SHAPE = (4, 5, 3)


def test_a_dense_unit_is_the_inner_product_with_its_picture():
    rng = np.random.default_rng(0)
    kernel, image = rng.normal(size=(2, 60, 7)), rng.normal(size=SHAPE)
    pictures = first_layer({"bias": kernel[:, 0], "kernel": kernel}, SHAPE, 7)
    assert pictures.shape == (2, 7, *SHAPE)
    np.testing.assert_allclose(
        np.einsum("muhwc,hwc->mu", pictures, image), image.reshape(-1) @ kernel
    )


def test_a_filter_stands_upright():
    kernel = np.random.default_rng(0).normal(size=(2, 3, 3, 3, 8))
    np.testing.assert_array_equal(first_layer([kernel], SHAPE, 2)[1, 6], kernel[1, ..., 6])


def test_the_difference_decides_between_two_classes():
    rng = np.random.default_rng(0)
    kernel, image = rng.normal(size=(2, 60, 2)), rng.normal(size=SHAPE)
    logits = image.reshape(-1) @ kernel
    found = np.einsum("muhwc,hwc->mu", first_layer([kernel], SHAPE, 2), image)
    np.testing.assert_allclose(found[:, 0], logits[:, 1] - logits[:, 0])


def test_what_reads_no_picture_is_passed_over():
    assert first_layer([np.zeros((2, 61, 7)), np.zeros((2, 3, 3, 4, 8))], SHAPE, 7) is None
