"""One decomposition instead of many: against plain linear algebra."""

import numpy as np
import pytest

from catdog_jax.estimators import _spectrum
from catdog_jax.estimators._spectrum import fold_indices, solve_without, spectrum


def _rows(num_examples, size):
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(num_examples, size)) * np.geomspace(0.01, 10, size) + 5
    return rows.astype(np.float32)


@pytest.mark.parametrize(("num_examples", "size"), [(40, 11), (11, 40), (20, 20)])
def test_the_spectrum_is_that_of_the_centred_data(num_examples, size, monkeypatch):
    monkeypatch.setattr(_spectrum, "BLOCK", 7)
    rows = _rows(num_examples, size)
    data = spectrum(rows)
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    rank = min(num_examples - 1, size)
    singular = np.linalg.svd(centred, compute_uv=False)[:rank]
    np.testing.assert_allclose(data.values, singular**2, rtol=1e-6)
    np.testing.assert_allclose(data.mean_variance, centred.var(axis=0).mean(), rtol=1e-10)
    axes = data.lift(np.eye(rank))
    np.testing.assert_allclose(axes.T @ axes, np.eye(rank), atol=1e-6)
    np.testing.assert_allclose(centred @ axes, data.scores, atol=1e-6)
    np.testing.assert_allclose(data.scores @ axes.T, centred, atol=1e-6)


def test_data_that_do_not_vary_have_no_axis():
    data = spectrum(np.ones((5, 3), np.float32))
    assert data.values.shape == (0,)
    assert data.lift(np.zeros((0, 2))).shape == (3, 2)


@pytest.mark.parametrize("iterations", [60, 2])
def test_solving_without_a_fold_is_solving_anew(iterations, monkeypatch):
    monkeypatch.setattr(_spectrum, "ITERATIONS", iterations)  # 2: solved directly
    data = spectrum(_rows(50, 9))
    held_out, kept = data.scores[::5], np.delete(data.scores, np.s_[::5], axis=0)
    targets = np.random.default_rng(1).normal(size=(9, 2))
    penalties = np.array([1e-3, 1.0, 50.0])
    found = solve_without(data.values, held_out, penalties, targets)
    for solution, penalty in zip(found, penalties, strict=True):
        expected = np.linalg.solve(kept.T @ kept + penalty * np.eye(9), targets)
        np.testing.assert_allclose(solution, expected, rtol=1e-7)


def test_every_example_is_held_out_once():
    folds = fold_indices(23, 5)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(23))
    assert {len(fold) for fold in folds} == {4, 5}
    assert np.any(np.diff(folds[0]) != 5)  # shuffled
    assert len(fold_indices(3, 5)) == 3


def test_folds_hold_every_class_alike():
    labels = np.repeat([0, 1, 2], [50, 25, 5])
    for fold in fold_indices(80, 5, labels):
        np.testing.assert_array_equal(np.bincount(labels[fold]), [10, 5, 1])
