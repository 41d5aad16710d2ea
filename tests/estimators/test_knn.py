"""k nearest neighbours: whole-number distances, votes, ties, and scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from small_data import features, logits, pixels

from catdog_jax.estimators import knn as module
from catdog_jax.estimators.knn import knn, nearest


def _by_distance(train, test):
    """Places in the training set, nearest first, of equals the earliest: counted in int64."""
    levels = [np.rint(part * 255).astype(np.int64) for part in (train, test)]
    distances = ((levels[1][:, None] - levels[0][None]) ** 2).sum(axis=2)
    return np.argsort(distances, axis=1, kind="stable")


@pytest.mark.parametrize("k", [1, 2, 15])
def test_votes_are_counted_among_the_nearest_in_whole_numbers(k):
    images, labels = pixels(120, 3)
    tests, _ = pixels(40, 3, seed=1)
    order = _by_distance(images, tests)
    classifier = knn(images, labels, 3, k=k)
    assert classifier.params.points.dtype == jnp.uint8
    np.testing.assert_array_equal(nearest(classifier.params, tests, k), order[:, :k])
    votes = [np.bincount(row, minlength=3) for row in labels[order[:, :k]]]
    np.testing.assert_array_equal(logits(classifier, tests), votes)


@pytest.mark.parametrize("size", [7, 3072, module.LARGEST_EXACT])
def test_distances_are_exact_for_every_size_of_picture(size):
    generator = np.random.default_rng(size)
    levels = generator.integers(0, 256, size=(9, size))
    levels[0], levels[1] = 0, 255  # the largest distance that there is
    levels[2:4] = levels[4]
    levels[2, 0] = (levels[4, 0] + 1) % 256  # differs from its neighbour in one pixel
    images = (levels / 255).astype(np.float32)
    params = knn(images, np.arange(9, dtype=np.int32) % 2, 2, k=1).params
    assert params.points.dtype == jnp.uint8
    order = _by_distance(images, images)
    np.testing.assert_array_equal(nearest(params, images, 9), order)


def test_pictures_too_large_to_be_exact_are_compared_as_floats():
    size = module.LARGEST_EXACT + 1
    images = np.random.default_rng(0).integers(0, 256, size=(6, size)).astype(np.float32) / 255
    classifier = knn(images, np.arange(6, dtype=np.int32) % 2, 2, k=1)
    assert classifier.params.points.dtype == jnp.float32
    np.testing.assert_array_equal(nearest(classifier.params, images, 1)[:, 0], np.arange(6))


def test_of_equally_near_examples_the_earliest_votes_and_of_equal_votes_the_lowest_class_wins():
    images = np.array([[0], [10], [10], [20], [200]], np.float32) / 255
    labels = np.array([1, 2, 0, 0, 2], np.int32)
    query = np.array([[10]], np.float32) / 255
    np.testing.assert_array_equal(
        nearest(knn(images, labels, 3, k=4).params, query, 4), [[1, 2, 0, 3]]
    )
    np.testing.assert_array_equal(logits(knn(images, labels, 3, k=1), query), [[0, 0, 1]])
    tied = logits(knn(images, labels, 3, k=2), query)
    np.testing.assert_array_equal(tied, [[1, 0, 1]])
    reference = KNeighborsClassifier(2, algorithm="brute").fit(images, labels)
    assert tied.argmax() == reference.predict(query)[0] == 0


def test_queries_that_are_no_pictures_are_rounded():
    images = np.array([[0], [100]], np.float32) / 255
    classifier = knn(images, np.array([0, 1], np.int32), 2, k=1)
    queries = np.array([[49.4], [50.6], [-80.0], [300.0]], np.float32) / 255
    found = logits(classifier, queries).argmax(axis=1)
    np.testing.assert_array_equal(found, [0, 1, 0, 1])


def test_features_are_compared_as_floats():
    rows, labels = features(300, 20, 3)
    tests, _ = features(100, 20, 3, seed=1)
    reference = KNeighborsClassifier(7, algorithm="brute").fit(rows.astype(np.float64), labels)
    classifier = knn(rows, labels, 3, k=7)
    assert classifier.params.points.dtype == jnp.float32
    np.testing.assert_array_equal(
        logits(classifier, tests) / 7, reference.predict_proba(tests.astype(np.float64))
    )


def test_many_queries_are_answered_block_by_block(monkeypatch):
    images, labels = pixels(50, 2)
    tests, _ = pixels(23, 2, seed=1)
    whole = logits(knn(images, labels, 2, k=5), tests)
    monkeypatch.setattr(module, "QUERIES", 10)
    np.testing.assert_array_equal(logits(knn(images, labels, 2, k=5), tests), whole)
