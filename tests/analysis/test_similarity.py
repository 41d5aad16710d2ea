"""Linear CKA: values by hand, invariances, both forms, chance, and the definition of HSIC₁."""

import numpy as np
import pytest

from catdog_jax.analysis.similarity import centred_gram, cka_matrix, gram_cka, linear_cka

BOTH = pytest.mark.parametrize("debiased", [False, True])
FORMS = pytest.mark.parametrize("form", ["gram", "features", "auto"])


def _normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def _song(x, y):
    """HSIC₁ as it is written in Song et al. 2012, eq. 4."""
    k, el = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0.0)
    np.fill_diagonal(el, 0.0)
    n, one = len(x), np.ones(len(x))
    inner = np.trace(k @ el) + (one @ k @ one) * (one @ el @ one) / ((n - 1) * (n - 2))
    return (inner - 2 * (one @ k @ el @ one) / (n - 2)) / (n * (n - 3))


@FORMS
def test_a_value_by_hand(form):
    # Centred: x = (-1, 0, 1), y = (1, -2, 1) and z = (-1, 1, 0): x·y = 0, x·z = 1, |x|² = |z|² = 2.
    x, y, z = np.array([[0.0], [1.0], [2.0]]), np.array([[4.0], [1.0], [4.0]]), np.eye(3)[:, [1]]
    z = z - np.eye(3)[:, [0]]
    assert linear_cka(x, y, form=form) == pytest.approx(0.0, abs=1e-15)
    assert linear_cka(x, z, form=form) == pytest.approx(1 / 4)
    # XᵀX = diag(2, 6); [x y]ᵀ z = (1, -3): (1 + 9) / (√(4 + 36) · 2).
    assert linear_cka(np.hstack([x, y]), z, form=form) == pytest.approx(10 / (2 * np.sqrt(40)))


@BOTH
@FORMS
def test_turning_scaling_and_shifting_change_nothing(debiased, form):
    x, y = _normal(40, 7), _normal(40, 5, seed=1)
    turn = np.linalg.qr(_normal(7, 7, seed=2))[0]
    moved = -3.0 * x @ turn + _normal(7, seed=3)
    options = {"debiased": debiased, "form": form}
    assert linear_cka(x, moved, **options) == pytest.approx(1.0)
    assert linear_cka(moved, y, **options) == pytest.approx(linear_cka(x, y, **options))
    assert linear_cka(y, x, **options) == pytest.approx(linear_cka(x, y, **options))
    stretched = x * np.array([10.0, 1, 1, 1, 1, 1, 1])  # no turn: another layer
    assert linear_cka(x, stretched, **options) < 0.9


def test_the_debiased_one_is_the_ratio_of_hsic_1():
    x, y = _normal(25, 6), _normal(25, 9, seed=1)
    y[:, 0] += 2 * x[:, 0]
    wanted = _song(x, y) / np.sqrt(_song(x, x) * _song(y, y))
    for form in ("gram", "features"):
        assert linear_cka(x, y, debiased=True, form=form) == pytest.approx(wanted, rel=1e-9)
    gram_x, gram_y = centred_gram(x, debiased=True), centred_gram(y, debiased=True)
    assert np.vdot(gram_x, gram_y) / (25 * 22) == pytest.approx(_song(x, y), rel=1e-9)
    np.testing.assert_allclose(gram_x.sum(axis=0), 0.0, atol=1e-9)


def test_what_has_nothing_in_common_scores_what_theory_says():
    # Independent Gaussians, n = N - 1: E‖YᵀX‖² = nPQ; E‖XᵀX‖² = nP(n + P + 1) (Wishart).
    num, p, q = 40, 60, 20
    pairs = [(_normal(num, p, seed=s), _normal(num, q, seed=1000 + s)) for s in range(60)]
    n = num - 1
    wanted = np.sqrt(p * q / ((n + p + 1) * (n + q + 1)))
    assert wanted > 0.4  # far from zero, and meaning nothing
    biased = [linear_cka(x, y) for x, y in pairs]
    assert np.mean(biased) == pytest.approx(wanted, rel=0.02)
    debiased = np.array([linear_cka(x, y, debiased=True) for x, y in pairs])
    assert abs(debiased.mean()) < 4 * debiased.std() / np.sqrt(60)
    assert debiased.std() < 0.05


@BOTH
def test_the_matrix_holds_every_pair(debiased):
    layers = [_normal(20, 3), _normal(20, 30, seed=1), np.ones((20, 4)), _normal(20, 5, seed=2)]
    matrix = cka_matrix(layers, debiased=debiased)
    for i, x in enumerate(layers):
        for j, y in enumerate(layers):
            pair = linear_cka(x, y, debiased=debiased)
            np.testing.assert_allclose(matrix[i, j], pair, rtol=1e-9)
    assert np.isnan(matrix[2]).all()  # a dead layer is like nothing, itself included
    np.testing.assert_allclose(np.diag(matrix)[[0, 1, 3]], 1.0)
    grams = np.stack([centred_gram(x, debiased=debiased).ravel() for x in layers])
    np.testing.assert_array_equal(gram_cka(grams), matrix)


def test_what_cannot_be_compared_is_refused():
    x = _normal(5, 2)
    with pytest.raises((ValueError, TypeError), match="5 and 4 examples|N=5"):  # or the types do
        linear_cka(x, x[:4])
    with pytest.raises(ValueError, match="3 examples are too few; give 4"):
        linear_cka(x[:3], x[:3], debiased=True)
    with pytest.raises(ValueError, match="1 examples are too few"):
        cka_matrix([x[:1]])
    with pytest.raises(ValueError, match="form 'fast'"):
        linear_cka(x, x, form="fast")
