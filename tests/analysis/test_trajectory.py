"""Principal components against scikit-learn."""

import numpy as np
import pytest
import sklearn.decomposition

from catdog_jax.analysis.trajectory import principal_plane


@pytest.mark.parametrize("shape", [(6, 4, 10), (3, 5, 64), (1, 3, 2), (2, 1, 5)])
def test_the_plane_equals_scikit_learn(shape):
    sketches = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    points = sketches.reshape(-1, shape[-1]).astype(np.float64)
    pca = sklearn.decomposition.PCA(2, svd_solver="full").fit(points)
    expected = pca.transform(points)
    coordinates, explained = principal_plane(sketches)
    coordinates = coordinates.reshape(-1, 2)
    for axis in range(2):
        if pca.explained_variance_ratio_[axis] < 1e-12:  # two points have one direction only
            np.testing.assert_allclose(coordinates[:, axis], 0, atol=1e-6)
            continue
        sign = np.sign(coordinates[:, axis] @ expected[:, axis])
        np.testing.assert_allclose(coordinates[:, axis], sign * expected[:, axis], atol=1e-9)
    np.testing.assert_allclose(explained, pca.explained_variance_ratio_, atol=1e-12)


def test_the_signs_do_not_depend_on_the_order_of_the_members():
    sketches = np.random.default_rng(0).normal(size=(8, 3, 12))
    order = np.random.default_rng(1).permutation(8)
    np.testing.assert_allclose(
        principal_plane(sketches[order])[0], principal_plane(sketches)[0][order], atol=1e-9
    )


def test_one_snapshot_does_not_move():
    coordinates, explained = principal_plane(np.ones((1, 1, 1024), np.float32))
    np.testing.assert_array_equal(coordinates, np.zeros((1, 1, 2)))
    np.testing.assert_array_equal(explained, [0.0, 0.0])


def test_a_lost_member_leaves_the_plane_alone():
    sketches = np.random.default_rng(0).normal(size=(4, 5, 20))
    clean = principal_plane(sketches[:3])
    sketches[3] = np.nan
    coordinates, explained = principal_plane(sketches)
    np.testing.assert_allclose(coordinates[:3], clean[0])
    np.testing.assert_allclose(explained, clean[1])
    assert np.isnan(coordinates[3]).all()
    sketches[:] = np.nan
    assert np.isnan(principal_plane(sketches)[0]).all()
