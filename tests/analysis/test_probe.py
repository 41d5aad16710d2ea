"""Probes: what is there is found, what is not is not, and scikit-learn finds the same."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from catdog_jax.analysis.probe import PENALTIES, fit_probe, r_squared, reduced
from catdog_jax.analysis.sketch import sketch

EACH, ONE = np.arange(3), np.zeros(1, int)


def _examples(num=300, size=20, seed=0):
    """Correlated features far from zero, of different spread."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(size, size)) * np.geomspace(5, 0.05, size)
    return rng.normal(size=(num, size)) @ mix + 3.0


def _alpha(features, penalty):
    return features.var(axis=0).mean() * len(features) * penalty


def test_a_factor_that_is_there_is_found_and_one_that_is_not_is_not():
    train, test = _examples(), _examples(seed=1)
    weights = np.random.default_rng(5).normal(size=20)
    rng = np.random.default_rng(6)
    targets = [
        np.stack([x @ weights, rng.normal(size=len(x)), x @ weights + 8 * rng.normal(size=len(x))])
        for x in (train, test)
    ]
    probe = fit_probe(train, targets[0].T, EACH)
    scores = r_squared(probe.predict(test), targets[1].T)
    assert scores[0] > 0.999
    assert abs(scores[1]) < 0.05
    signal = np.var(test @ weights) / (np.var(test @ weights) + 64)
    assert scores[2] == pytest.approx(signal, abs=0.08)
    # A clean line costs nothing, noise is held down.
    assert probe.penalty[0] == PENALTIES[0]
    assert probe.penalty[1] > 100 * PENALTIES[0]


@pytest.mark.parametrize("num", [300, 15])  # also fewer examples than features
def test_leaving_one_out_chooses_as_scikit_learn_does(num):
    train = _examples(num)
    rng = np.random.default_rng(7)
    lines = train @ rng.normal(size=(20, 6))
    targets = lines + rng.normal(size=(num, 6)) * np.array([0, 1, 10, 100, 1000, 1e6])
    probe = fit_probe(train, targets, np.arange(6))
    # RidgeCV takes the leverage of the intercept in the same way; it needs to fit in float64.
    alphas = [_alpha(train, p) for p in PENALTIES]
    wanted = RidgeCV(alphas, alpha_per_target=True).fit(train, targets)
    np.testing.assert_allclose(_alpha(train, probe.penalty), wanted.alpha_, rtol=1e-9)
    assert len(set(probe.penalty)) > 2
    np.testing.assert_allclose(probe.weights, wanted.coef_.T, rtol=1e-5, atol=1e-7)


def test_the_left_out_error_is_that_of_refitting():
    train = _examples(12, 4)
    targets = train @ np.ones((4, 1)) + np.random.default_rng(0).normal(size=(12, 1))
    absolute = np.array(PENALTIES) * train.var(axis=0).mean() * 12
    errors = []
    for alpha in absolute:
        missed = [
            Ridge(alpha=alpha)
            .fit(np.delete(train, n, 0), np.delete(targets, n, 0))
            .predict(train[[n]])
            - targets[n]
            for n in range(12)
        ]
        errors.append(np.sum(np.square(missed)))
    assert fit_probe(train, targets, ONE).penalty[0] == PENALTIES[int(np.argmin(errors))]


def test_a_group_shares_its_penalty():
    train = _examples()
    noise = np.random.default_rng(0).normal(size=(300, 1))
    targets = np.hstack([train @ np.ones((20, 1)), 0.01 * noise, noise])
    alone, shared = (fit_probe(train, targets, x) for x in (EACH, np.array([0, 0, 7])))
    assert shared.penalty[0] == shared.penalty[1] == alone.penalty[0] < alone.penalty[1]
    np.testing.assert_allclose(shared.weights[:, [0, 2]], alone.weights[:, [0, 2]])


def test_dead_features_get_no_weight():
    train, targets = _examples(50, 4), np.arange(50.0)[:, None]
    beside = fit_probe(np.hstack([train, np.full((50, 3), 2.0)]), targets, ONE)
    np.testing.assert_allclose(beside.weights[4:], 0.0, atol=1e-12)
    dead = fit_probe(np.zeros((50, 3)), targets, ONE)
    np.testing.assert_allclose(dead.predict(np.zeros((2, 3))), 24.5)


def test_r_squared_by_hand():
    targets = np.array([[0.0, 1.0, 5.0], [2.0, 3.0, 5.0], [4.0, 2.0, 5.0]])
    predictions = np.array([[0.0, 2.0, 5.0], [2.0, 2.0, 5.0], [2.0, 2.0, 5.0]])
    np.testing.assert_allclose(r_squared(predictions, targets), [0.5, 0.0, np.nan])
    np.testing.assert_allclose(r_squared(targets[::-1], targets)[:2], [-3.0, 0.0])


def test_layers_are_flattened_or_mixed_by_one_sketch():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 6, 2)), jnp.float32)
    np.testing.assert_array_equal(reduced(x, 48), x.reshape(5, 48))
    mixed = reduced(x, 16)
    assert mixed.shape == (5, 16)
    np.testing.assert_allclose(mixed[3], sketch(x[3].ravel(), size=16), rtol=1e-6)
