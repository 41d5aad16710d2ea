"""The rule by distances is the linear rule, on every kind of picture."""

import numpy as np
import pytest
import sklearn.neighbors
from small_data import features, logits, pixels

from catdog_jax.estimators.centroid import (
    centroid,
    centroid_distances,
    class_means,
    diagonal_centroid,
)


@pytest.mark.parametrize(
    "source", ["drawn", "photos", pytest.param("cifar", marks=pytest.mark.slow)]
)
def test_distances_and_the_linear_classifier_decide_alike_on_every_test_picture(source, request):
    (images, labels), (test_images, _) = request.getfixturevalue(source)
    rows, tests = (x.reshape(len(x), -1) / np.float32(255) for x in (images, test_images))
    cat, dog = means = class_means(rows, labels, 2)
    found = logits(centroid(rows, labels, 2), tests).argmax(axis=1)
    by_distance = np.asarray(centroid_distances(means.astype(np.float32), tests))
    np.testing.assert_array_equal(found, by_distance.argmin(axis=1))
    weights, bias = dog - cat, -(dog @ dog - cat @ cat) / 2
    np.testing.assert_array_equal(found, (tests.astype(np.float64) @ weights + bias > 0))
    assert 0 < found.mean() < 1


def test_the_weights_are_the_difference_of_the_average_dog_and_the_average_cat():
    rows, labels = pixels(num_classes=2)
    cat, dog = (np.mean(rows[labels == k].astype(np.float64), axis=0) for k in (0, 1))
    params = centroid(rows, labels, 2).params
    np.testing.assert_allclose(params.weights[:, 1] - params.weights[:, 0], dog - cat, atol=1e-7)
    bias = params.bias[1] - params.bias[0]
    np.testing.assert_allclose(bias, -(dog @ dog - cat @ cat) / 2, rtol=1e-5)


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
    rows, labels = pixels(num_classes=2)
    expected = logits(diagonal_centroid(rows, labels, 2), rows)
    rows[:, 0] = 0.5
    flat = logits(diagonal_centroid(rows, labels, 2), rows)
    assert np.isfinite(flat).all()
    assert np.mean(flat.argmax(axis=1) == expected.argmax(axis=1)) > 0.95
    same = logits(diagonal_centroid(np.ones_like(rows), labels, 2), rows)
    np.testing.assert_array_equal(same, 0.0)
