"""The optimum of logistic regression: scikit-learn's, and a slope of zero."""

import numpy as np
import pytest
import scipy.special
from sklearn.linear_model import LogisticRegression
from small_data import features, logits, pictures

from catdog_jax.estimators.logistic import logistic


@pytest.mark.parametrize("C", [0.01, 1.0])
@pytest.mark.parametrize(
    ("num_examples", "size", "classes"), [(300, 20, 2), (300, 20, 3), (50, 90, 2)]
)
def test_logits_are_scikit_learns(num_examples, size, classes, C):
    rows, labels = features(num_examples, size, classes)
    reference = LogisticRegression(C=C, tol=1e-12, max_iter=10_000, solver="newton-cg")
    reference.fit(rows.astype(np.float64), labels)
    expected = reference.decision_function(rows.astype(np.float64))
    found = logits(logistic(rows, labels, classes, C=C), rows)
    if classes == 2:
        found = found[:, 1] - found[:, 0]
    else:
        found = found - found.mean(axis=1, keepdims=True)
        expected = expected - expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_slope_is_zero_at_the_optimum(num_classes):
    images, labels = pictures(60, num_classes)
    classifier = logistic(images, labels, num_classes, C=0.1)
    rows = images.reshape(60, -1).astype(np.float64)
    weights, bias = (np.asarray(part, np.float64) for part in classifier.params)
    slope = scipy.special.softmax(rows @ weights + bias, axis=1) - np.eye(num_classes)[labels]
    # Two classes share one vector, the difference: half of it stands in each column.
    share = 2.0 if num_classes == 2 else 1.0
    gradient = 0.1 * rows.T @ slope + share * weights
    gradient -= gradient.mean(axis=1, keepdims=True)
    assert np.abs(gradient).max() < 2e-6
    assert np.abs(slope.sum(axis=0)).max() < 2e-5
    np.testing.assert_allclose(weights.sum(axis=1), 0, atol=1e-7)
