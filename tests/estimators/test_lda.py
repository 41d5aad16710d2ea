"""LDA against scikit-learn, fold by fold, and against the nearest centroid."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from small_data import features, logits, pixels

from catdog_jax.estimators._rows import fold_indices
from catdog_jax.estimators.centroid import centroid
from catdog_jax.estimators.lda import SHRINKAGES, lda
from catdog_jax.types import InputError


def _reference(rows, labels, shrinkage):
    discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    return discriminant.fit(rows.astype(np.float64), labels)


@pytest.mark.parametrize("shrinkage", [0.01, 0.3, 1.0])
@pytest.mark.parametrize(("num_examples", "size"), [(300, 20), (60, 90)])
def test_logits_are_scikit_learns(num_examples, size, shrinkage):
    rows, labels = features(num_examples, size, num_classes=3)
    found = logits(lda(rows, labels, 3, shrinkage=shrinkage), rows)
    expected = _reference(rows, labels, shrinkage).decision_function(rows)
    np.testing.assert_allclose(
        found - found.mean(axis=1, keepdims=True),
        expected - expected.mean(axis=1, keepdims=True),
        rtol=1e-4,
        atol=1e-4 * np.abs(expected).max(),
    )


def test_two_classes_of_unequal_size_are_scikit_learns():
    rows, labels = features(200, 10)
    few = np.flatnonzero((labels == 0) | (np.arange(200) < 60))
    found = logits(lda(rows[few], labels[few], 2, shrinkage=0.2), rows)
    expected = _reference(rows[few], labels[few], 0.2).decision_function(rows)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("num_examples", "size"), [(150, 12), (60, 90)])
def test_the_best_of_fitting_every_fold_anew_is_chosen_of_equals_the_largest(num_examples, size):
    rows, labels = features(num_examples, size, num_classes=3)
    labels[::3] = labels[::-3]  # not to be known
    right = np.zeros(len(SHRINKAGES))
    for held_out in fold_indices(num_examples, labels):
        kept = np.delete(np.arange(num_examples), held_out)
        for s, shrinkage in enumerate(SHRINKAGES):
            reference = _reference(rows[kept], labels[kept], shrinkage)
            right[s] += np.sum(reference.predict(rows[held_out]) == labels[held_out])
    assert len(set(right)) > 1
    best = SHRINKAGES[np.flatnonzero(right == right.max())[-1]]
    np.testing.assert_array_equal(
        lda(rows, labels, 3).params.weights, lda(rows, labels, 3, shrinkage=best).params.weights
    )


@pytest.mark.parametrize("shape", [(6, 5, 3), (3, 2, 3)])  # more pixels than pictures, and fewer
def test_with_the_identity_as_covariance_it_is_the_nearest_centroid(shape):
    rows, labels = pixels(num_classes=3, shape=shape, signal=10.0)
    flat = lda(rows, labels, 3, shrinkage=1.0)  # the covariance is a multiple of the identity
    nearest = centroid(rows, labels, 3)
    same = logits(flat, rows).argmax(axis=1) == logits(nearest, rows).argmax(axis=1)
    assert same.all()
    weights, direction = (np.asarray(found.params.weights) for found in (flat, nearest))
    np.testing.assert_allclose(weights / weights[0, 0], direction / direction[0, 0], rtol=1e-3)


def test_examples_without_any_spread_are_told_apart():
    rows = np.repeat(np.eye(2, dtype=np.float32), 4, axis=0)
    labels = np.repeat(np.arange(2, dtype=np.int32), 4)
    for shrinkage in (None, 0.3, 1.0):
        found = logits(lda(rows, labels, 2, shrinkage=shrinkage), rows)
        np.testing.assert_array_equal(found.argmax(axis=1), labels)


def test_cross_validation_needs_two_examples_of_every_class():
    rows, _ = features(9)
    with pytest.raises(InputError, match="class 0 has 1 training examples; give at least 2"):
        lda(rows, np.arange(9).clip(0, 1), 2)
