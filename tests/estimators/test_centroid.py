"""The rule by distances is the linear rule, on every kind of picture."""

import numpy as np
import pytest
import sklearn.neighbors
from small_data import features, logits, pictures

from catdog_jax.estimators.centroid import (
    centroid,
    centroid_distances,
    class_means,
    diagonal_centroid,
)


@pytest.mark.parametrize("source", ["drawn", "photos", "cifar"])
def test_distances_and_the_linear_classifier_decide_alike_on_every_test_picture(source, request):
    (images, labels), (test_images, _) = request.getfixturevalue(source)
    images, test_images = (x / np.float32(255) for x in (images, test_images))
    means = class_means(images, labels, 2)
    found = logits(centroid(images, labels, 2), test_images).argmax(axis=1)
    by_distance = np.asarray(centroid_distances(means.astype(np.float32), test_images))
    np.testing.assert_array_equal(found, by_distance.argmin(axis=1))
    cat, dog = means.reshape(2, -1)
    weights, bias = dog - cat, -(dog @ dog - cat @ cat) / 2
    rows = test_images.reshape(len(test_images), -1).astype(np.float64)
    np.testing.assert_array_equal(found, (rows @ weights + bias > 0).astype(int))
    assert 0 < found.mean() < 1


def test_the_weights_are_the_difference_of_the_average_dog_and_the_average_cat():
    images, labels = pictures(num_classes=2)
    means = class_means(images, labels, 2)
    assert means.shape == (2, 6, 5, 3)
    cat, dog = (np.mean(images[labels == k].astype(np.float64), axis=0).ravel() for k in (0, 1))
    np.testing.assert_allclose(means.reshape(2, -1), [cat, dog], rtol=1e-12)
    params = centroid(images, labels, 2).params
    np.testing.assert_allclose(params.weights[:, 1] - params.weights[:, 0], dog - cat, atol=1e-7)
    bias = params.bias[1] - params.bias[0]
    np.testing.assert_allclose(bias, -(dog @ dog - cat @ cat) / 2, rtol=1e-5)


def test_the_nearest_centroid_is_scikit_learns():
    rows, labels = features(num_classes=4, size=30)
    reference = sklearn.neighbors.NearestCentroid().fit(rows.astype(np.float64), labels)
    found = logits(centroid(rows, labels, 4), rows).argmax(axis=1)
    np.testing.assert_array_equal(found, reference.predict(rows.astype(np.float64)))


def test_diagonal_scaling_is_the_nearest_centroid_of_scaled_features():
    rows, labels = features(num_classes=3, size=20)
    rows = rows * np.geomspace(0.1, 10, 20, dtype=np.float32)
    means = class_means(rows, labels, 3)
    scaled = rows / np.sqrt(np.mean((rows - means[labels]) ** 2, axis=0))
    reference = sklearn.neighbors.NearestCentroid().fit(scaled, labels)
    found = logits(diagonal_centroid(rows, labels, 3), rows).argmax(axis=1)
    np.testing.assert_array_equal(found, reference.predict(scaled))
    assert np.any(found != logits(centroid(rows, labels, 3), rows).argmax(axis=1))


def test_a_pixel_that_never_changes_is_harmless():
    images, labels = pictures(num_classes=2)
    expected = logits(diagonal_centroid(images, labels, 2), images)
    images[:, 0, 0, 0] = 0.5
    flat = logits(diagonal_centroid(images, labels, 2), images)
    assert np.isfinite(flat).all()
    assert np.mean(flat.argmax(axis=1) == expected.argmax(axis=1)) > 0.95
    same = logits(diagonal_centroid(np.ones_like(images), labels, 2), images)
    np.testing.assert_array_equal(same, 0.0)
