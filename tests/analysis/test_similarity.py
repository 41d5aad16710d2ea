"""Debiased linear CKA: invariances, chance, and the definition of HSIC₁."""

import numpy as np
import pytest

from catdog_jax.analysis.similarity import centred_gram, gram_cka


def _normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def _cka(*layers):
    return gram_cka(np.stack([centred_gram(layer).ravel() for layer in layers]))


def _song(x, y):
    """HSIC₁ as it is written in Song et al. 2012, eq. 4."""
    k, el = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0.0)
    np.fill_diagonal(el, 0.0)
    n, one = len(x), np.ones(len(x))
    inner = np.trace(k @ el) + (one @ k @ one) * (one @ el @ one) / ((n - 1) * (n - 2))
    return (inner - 2 * (one @ k @ el @ one) / (n - 2)) / (n * (n - 3))


def test_turning_scaling_and_shifting_change_nothing():
    x, y = _normal(40, 7), _normal(40, 5, seed=1)
    turn = np.linalg.qr(_normal(7, 7, seed=2))[0]
    moved = -3.0 * x @ turn + _normal(7, seed=3)
    stretched = x * np.array([10.0, 1, 1, 1, 1, 1, 1])  # no turn: another layer
    found = _cka(x, moved, y, stretched)
    assert found[0, 1] == pytest.approx(1.0)
    assert found[0, 2] == pytest.approx(found[1, 2])
    assert found[0, 3] < 0.9
    np.testing.assert_allclose(found, found.T)


@pytest.mark.parametrize("size", [6, 5000])  # the second in two blocks of columns
def test_it_is_the_ratio_of_hsic_1(size):
    x, y = _normal(25, size) + 3.0, _normal(25, 9, seed=1)
    y[:, 0] += 2 * x[:, 0]
    wanted = _song(x, y) / np.sqrt(_song(x, x) * _song(y, y))
    assert _cka(x, y)[0, 1] == pytest.approx(wanted, rel=1e-7)
    gram_x, gram_y = centred_gram(x), centred_gram(y)
    assert np.vdot(gram_x, gram_y) / (25 * 22) == pytest.approx(_song(x, y), rel=1e-7)
    np.testing.assert_allclose(gram_x.sum(axis=0), 0.0, atol=1e-8)


def test_what_has_nothing_in_common_scores_nothing():
    # The plain ratio of norms would be 0.45 on average here.
    found = np.array(
        [_cka(_normal(40, 60, seed=s), _normal(40, 20, seed=99 + s)) for s in range(60)]
    )
    assert abs(found[:, 0, 1].mean()) < 4 * found[:, 0, 1].std() / np.sqrt(60)
    assert found[:, 0, 1].std() < 0.05


def test_a_dead_layer_is_like_nothing_itself_included():
    matrix = _cka(_normal(20, 3), np.ones((20, 4)), _normal(20, 30, seed=1))
    assert np.isnan(matrix[1]).all()
    assert np.isnan(matrix[:, 1]).all()
    np.testing.assert_allclose(np.diag(matrix)[[0, 2]], 1.0)
