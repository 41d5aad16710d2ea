"""Ridge regression against scikit-learn, fold by fold."""

import numpy as np
import pytest
import sklearn.linear_model
from small_data import features, logits, pictures

from catdog_jax.estimators._spectrum import fold_indices
from catdog_jax.estimators.ridge import PENALTIES, ridge, ridge_regression


def _problem(num_examples, size):
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(num_examples, size)) * np.geomspace(0.1, 3, size) + 2
    targets = rows @ generator.normal(size=(size, 3)) + generator.normal(size=(num_examples, 3))
    return rows.astype(np.float32), targets.astype(np.float32)


def _alpha(rows, penalty):
    return len(rows) * rows.astype(np.float64).var(axis=0).mean() * penalty


@pytest.mark.parametrize(("num_examples", "size"), [(60, 8), (40, 90)])
def test_the_fit_is_scikit_learns(num_examples, size):
    rows, targets = _problem(num_examples, size)
    for penalty in (1e-3, 1.0):
        fit = ridge_regression(rows, targets, penalties=[penalty])
        reference = sklearn.linear_model.Ridge(alpha=_alpha(rows, penalty))
        reference.fit(rows.astype(np.float64), targets)
        np.testing.assert_allclose(fit.weights, reference.coef_.T, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(fit.intercept, reference.intercept_, rtol=1e-4, atol=1e-5)
        assert fit.penalty == penalty
        assert np.isnan(fit.errors).all()
        assert fit.weights.dtype == fit.intercept.dtype == np.float32


def test_every_example_is_held_out_once_and_folds_hold_every_class_alike():
    folds = fold_indices(23, 5)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(23))
    assert np.any(np.diff(folds[0]) != 5)  # shuffled
    labels = np.repeat([0, 1, 2], [50, 25, 5])
    for fold in fold_indices(80, 5, labels):
        np.testing.assert_array_equal(np.bincount(labels[fold]), [10, 5, 1])


@pytest.mark.parametrize(("num_examples", "size"), [(60, 8), (40, 90)])
def test_the_errors_are_those_of_fitting_every_fold_anew(num_examples, size):
    rows, targets = _problem(num_examples, size)
    fit = ridge_regression(rows, targets, folds=4)
    double = rows.astype(np.float64)
    for penalty, error in zip(PENALTIES, fit.errors, strict=True):
        squares = 0.0
        for held_out in fold_indices(num_examples, 4):
            kept = np.delete(np.arange(num_examples), held_out)
            # The unit of the penalty is the variance of all the features, fold or not.
            alpha = _alpha(rows, penalty) * len(kept) / num_examples
            reference = sklearn.linear_model.Ridge(alpha=alpha).fit(double[kept], targets[kept])
            squares += np.sum((reference.predict(double[held_out]) - targets[held_out]) ** 2)
        np.testing.assert_allclose(error, squares / targets.size, rtol=1e-6)
    assert fit.penalty == PENALTIES[int(np.argmin(fit.errors))]


def test_the_unit_of_the_features_does_not_matter():
    rows, targets = _problem(50, 7)
    fit = ridge_regression(rows, targets)
    scaled = ridge_regression(rows * 1024, targets)
    assert scaled.penalty == fit.penalty
    np.testing.assert_allclose(scaled.weights * 1024, fit.weights, rtol=1e-5)


def test_features_that_do_not_vary_predict_the_mean():
    fit = ridge_regression(np.ones((6, 4), np.float32), np.arange(6.0)[:, None])
    np.testing.assert_array_equal(fit.weights, 0)
    np.testing.assert_allclose(fit.intercept, 2.5)


def test_the_classifier_decides_like_scikit_learns():
    for rows, labels, num_classes in ((*features(num_classes=3), 3), (*pictures(40), 3)):
        flat = rows.reshape(len(rows), -1).astype(np.float64)
        reference = sklearn.linear_model.RidgeClassifier(alpha=_alpha(flat, 0.1)).fit(flat, labels)
        found = logits(ridge(rows, labels, num_classes, penalty=0.1), rows)
        np.testing.assert_array_equal(found.argmax(axis=1), reference.predict(flat))
        np.testing.assert_allclose(
            2 * found - 1, reference.decision_function(flat), rtol=1e-3, atol=1e-4
        )
