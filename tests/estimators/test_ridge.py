"""Ridge regression against scikit-learn, fold by fold."""

import numpy as np
import pytest
import sklearn.linear_model
from small_data import features, logits, pixels

from catdog_jax.estimators._rows import fold_indices, spectrum
from catdog_jax.estimators.ridge import PENALTIES, cross_validate, ridge


def _alpha(rows, penalty):
    return len(rows) * rows.astype(np.float64).var(axis=0).mean() * penalty


@pytest.mark.parametrize("penalty", [1e-3, 1.0])
@pytest.mark.parametrize(
    ("rows", "labels"), [features(60, 8, 3), features(40, 90, 3), pixels(40)], ids=len
)
def test_the_classifier_is_scikit_learns(rows, labels, penalty):
    double = rows.astype(np.float64)
    reference = sklearn.linear_model.RidgeClassifier(alpha=_alpha(rows, penalty))
    reference.fit(double, labels)
    found = logits(ridge(rows, labels, 3, penalty=penalty), rows)
    expected = reference.decision_function(double)
    np.testing.assert_allclose(2 * found - 1, expected, rtol=1e-3, atol=1e-4)


def test_every_example_is_held_out_once_and_folds_hold_every_class_alike():
    folds = fold_indices(23)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(23))
    assert np.any(np.diff(folds[0]) != 5)  # shuffled
    labels = np.repeat([0, 1, 2], [50, 25, 5])
    for fold in fold_indices(80, labels):
        np.testing.assert_array_equal(np.bincount(labels[fold]), [10, 5, 1])


@pytest.mark.parametrize(("num_examples", "size"), [(60, 8), (40, 90)])
def test_the_errors_are_those_of_fitting_every_fold_anew(num_examples, size):
    rows, labels = features(num_examples, size, 3)
    double, targets = rows.astype(np.float64), np.eye(3)[labels]
    targets -= targets.mean(axis=0)
    errors = cross_validate(spectrum(rows), targets)
    for penalty, error in zip(PENALTIES, errors, strict=True):
        squares = 0.0
        for held_out in fold_indices(num_examples):
            kept = np.delete(np.arange(num_examples), held_out)
            # The unit of the penalty is the variance of all the features, fold or not.
            alpha = _alpha(rows, penalty) * len(kept) / num_examples
            reference = sklearn.linear_model.Ridge(alpha=alpha).fit(double[kept], targets[kept])
            squares += np.sum((reference.predict(double[held_out]) - targets[held_out]) ** 2)
        np.testing.assert_allclose(error, squares / targets.size, rtol=1e-6)
    best = ridge(rows, labels, 3, penalty=PENALTIES[int(np.argmin(errors))]).params
    chosen = ridge(rows, labels, 3).params
    np.testing.assert_array_equal(chosen.weights, best.weights)
    # The unit of the features does not matter.
    scaled = ridge(rows * 1024, labels, 3).params
    np.testing.assert_allclose(scaled.weights * 1024, chosen.weights, rtol=1e-4, atol=1e-7)


def test_features_that_do_not_vary_predict_the_mean():
    params = ridge(np.ones((6, 4), np.float32), np.array([0, 0, 0, 0, 1, 1]), 2).params
    np.testing.assert_array_equal(params.weights, 0)
    np.testing.assert_allclose(params.bias, [2 / 3, 1 / 3], rtol=1e-6)
