"""Losses against scipy and closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from catdog_jax import losses


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_is_the_one_of_scipy(smoothing):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(7, 3)).astype(np.float32), rng.integers(0, 3, 7)
    target = np.eye(3)[labels] * (1 - smoothing) + smoothing / 3
    expected = -(target * log_softmax(logits, axis=1)).sum(1)
    got = losses.cross_entropy(jnp.asarray(logits), jnp.asarray(labels, jnp.int32), smoothing)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_may_be_probabilities(smoothing):
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(7, 3)), jnp.float32)
    hard = jnp.asarray(rng.integers(0, 3, 7), jnp.int32)
    certain = jnp.eye(3)[hard]
    a, b = (losses.cross_entropy(logits, x, smoothing) for x in (certain, hard))
    np.testing.assert_allclose(a, b, rtol=1e-6)
    np.testing.assert_array_equal(losses.correct(logits, certain), losses.correct(logits, hard))
    soft = rng.dirichlet(np.ones(3), 7).astype(np.float32)
    got = losses.cross_entropy(logits, jnp.asarray(soft))
    np.testing.assert_allclose(got, -(soft * log_softmax(logits, axis=1)).sum(1), rtol=1e-5)


def test_large_logits_stay_finite():
    logits = jnp.array([[1e4, -1e4]])
    assert float(losses.cross_entropy(logits, jnp.array([1], jnp.int32))[0]) == pytest.approx(2e4)


def test_correct_takes_the_first_of_equals():
    logits = jnp.array([[1.0, 1.0], [0.0, 1.0]])
    assert losses.correct(logits, jnp.array([0, 0], jnp.int32)).tolist() == [True, False]


def test_squared_error_and_sign_by_hand():
    outputs, targets = jnp.array([[1.5], [-2.0], [0.5]]), jnp.array([1.0, 1.0, -0.5])
    np.testing.assert_allclose(losses.squared_error(outputs, targets), [0.25, 9.0, 1.0])
    assert losses.same_sign(outputs, targets).tolist() == [True, False, False]
