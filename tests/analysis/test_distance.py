"""Distances against SciPy and against closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance as scipy_distance

from catdog_jax.analysis import distance


def _exact(weights):
    return scipy_distance.squareform(scipy_distance.pdist(weights.astype(np.float64)))


@pytest.mark.parametrize("num_members", [1, 2, 9])
def test_distance_equals_scipy(num_members):
    weights = np.random.default_rng(0).normal(size=(num_members, 501)).astype(np.float32)
    found = distance.pairwise_weight_distance(weights)
    np.testing.assert_allclose(found, _exact(weights), rtol=1e-12)
    np.testing.assert_array_equal(found, found.T)


def test_chunks_do_not_change_the_answer(monkeypatch):
    weights = np.random.default_rng(0).normal(size=(4, 1003))
    whole = distance.pairwise_weight_distance(weights)
    monkeypatch.setattr(distance, "CHUNK", 40)
    np.testing.assert_allclose(distance.pairwise_weight_distance(weights), whole, rtol=1e-12)
    relative = distance.weight_distances(weights)[1]
    norms = np.linalg.norm(weights, axis=1)
    np.testing.assert_allclose(relative, 2 * whole / (norms[:, None] + norms), rtol=1e-12)


@pytest.mark.parametrize("apart", [1e-3, 1e-6, 1e-9])
def test_nearly_equal_members_keep_their_digits(apart):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=2000) + apart * rng.normal(size=(6, 2000))
    found = distance.pairwise_weight_distance(weights)
    np.testing.assert_allclose(found, _exact(weights), rtol=1e-9)


def test_two_tight_clusters_keep_their_digits():
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=(2, 2000)), 3, axis=0)
    weights = centres + 1e-7 * rng.normal(size=(6, 2000))
    np.testing.assert_allclose(
        distance.pairwise_weight_distance(weights), _exact(weights), rtol=1e-9
    )


def test_equal_members_are_at_zero():
    weights = np.tile(np.random.default_rng(0).normal(size=300).astype(np.float32), (3, 1))
    np.testing.assert_array_equal(distance.pairwise_weight_distance(weights), np.zeros((3, 3)))


def test_a_lost_member_does_not_touch_the_others():
    weights = np.random.default_rng(0).normal(size=(4, 50))
    weights[1, 3] = np.nan
    weights[3, 0] = np.inf
    found = distance.pairwise_weight_distance(weights)
    assert np.isnan(found[[1, 3]]).all()
    assert np.isnan(found[:, [1, 3]]).all()
    np.testing.assert_allclose(found[0, 2], np.linalg.norm(weights[0] - weights[2]))
    weights[:] = np.nan
    assert np.isnan(distance.pairwise_weight_distance(weights)).all()


def test_relative_distance_has_its_three_landmarks():
    weights = np.array([[3.0, 0.0], [0.0, 3.0], [-3.0, 0.0], [0.0, 0.0]])
    _, relative = distance.weight_distances(weights)
    np.testing.assert_allclose(relative[0], [0.0, np.sqrt(2.0), 2.0, 2.0])
    assert relative[3, 3] == 0.0


def test_members_lie_in_rows():
    params = {"a": jnp.arange(12.0).reshape(2, 3, 2), "b": [jnp.array([7.0, 8.0])]}
    expected = [[0, 1, 2, 3, 4, 5, 7], [6, 7, 8, 9, 10, 11, 8]]
    np.testing.assert_array_equal(distance.flatten_members(params), expected)
