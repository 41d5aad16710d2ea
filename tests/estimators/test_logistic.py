"""The optimum of logistic regression: scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from small_data import features, logits

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
    ours = logistic(rows, labels, classes, C=C)
    np.testing.assert_allclose(ours.params.weights.sum(axis=1), 0, atol=1e-6)
    found = logits(ours, rows)
    if classes == 2:
        found = found[:, 1] - found[:, 0]
    else:
        found = found - found.mean(axis=1, keepdims=True)
        expected = expected - expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
