"""Bias and variance against numbers that are known in closed form."""

import itertools

import numpy as np
import pytest

from catdog_jax.analysis import bias_variance as bv


def test_learning_a_mean_has_its_textbook_variance():
    # A "network" that predicts the mean of n numbers of variance s², pulled to 0 by a factor c,
    # plus its start's noise t: bias² = (1-c)² m², variance = c² s²/n from sets, t² from pairs.
    rng = np.random.default_rng(1)
    n, s, c, t, m = 5, 2.0, 0.8, 0.3, 1.5
    num_examples = 40_000
    means = m + s * rng.normal(size=(4, n, num_examples)).mean(1)
    outputs = c * means[:, None] + t * rng.normal(size=(4, 6, num_examples))
    found = bv.squared_decomposition(outputs[..., None], np.full((num_examples, 1), m)).mean(1)
    _, bias, from_sets, from_starts, from_pairs = found
    assert bias == pytest.approx(((1 - c) * m) ** 2, abs=0.02)
    assert from_sets == pytest.approx(c**2 * s**2 / n, rel=0.02)
    assert from_starts + from_pairs == pytest.approx(t**2, rel=0.01)
    assert from_starts == pytest.approx(0.0, abs=1e-3)


def test_the_loss_is_the_sum_of_its_parts_for_every_example():
    rng = np.random.default_rng(2)
    outputs, targets = rng.normal(size=(3, 4, 10, 2)), rng.normal(size=(10, 2))
    found = bv.squared_decomposition(outputs, targets)
    np.testing.assert_allclose(found[0], ((outputs - targets) ** 2).sum(-1).mean((0, 1)))
    np.testing.assert_allclose(found[1:].sum(0), found[0])


def test_the_law_of_total_variance_over_a_whole_finite_world():
    # Two sets and three starts are the whole world; drawing from it with replacement and
    # averaging the estimates over all draws must give the world's own variances.
    world = np.array([[0.0, 1.0, 5.0], [2.0, -1.0, 4.0]])
    sums, count = np.zeros(4), 0
    for rows in itertools.product(range(2), repeat=2):
        for columns in itertools.product(range(3), repeat=3):
            drawn = world[np.ix_(rows, columns)][:, :, None, None]
            sums += bv.squared_decomposition(drawn, np.zeros((1, 1)))[1:, 0]
            count += 1
    mean = world.mean()
    of_sets, of_starts = world.mean(1).var(), world.mean(0).var()
    wanted = [mean**2, of_sets, of_starts, world.var() - of_sets - of_starts]
    np.testing.assert_allclose(sums / count, wanted, atol=1e-12)


def test_zero_one_is_the_error_rate_and_agrees_with_kohavi_and_wolpert():
    rng = np.random.default_rng(3)
    votes, labels = rng.integers(0, 3, (40, 50, 6)), np.array([0, 1, 2, 0, 1, 2])
    found = bv.decompose(np.eye(3)[votes], labels, 3, np.full((40, 50), -1))[0][1, :, 0]
    assert found[0] == pytest.approx((votes != labels).mean())
    assert found[1:].sum() == pytest.approx(found[0])
    shares = np.eye(3)[votes].mean((0, 1))
    bias = 0.5 * np.square(np.eye(3)[labels] - shares).sum(1)
    assert found[1] == pytest.approx(bias.mean(), abs=2e-3)
    assert found[2:].sum() == pytest.approx(0.5 * (1 - np.square(shares).sum(1)).mean(), abs=2e-3)


def test_main_prediction_by_hand():
    votes = np.array([[[0, 1], [0, 1]], [[1, 1], [0, 0]]])  # shares of class 1: 1/4, 3/4
    found = bv.main_prediction(votes, np.array([0, 0]), 2)
    np.testing.assert_allclose(found, [[0.25, 0.75], [0.0, 1.0], [0.25, 0.0], [0.0, 0.25]])
    rng = np.random.default_rng(4)
    votes, labels = rng.integers(0, 4, (3, 5, 50)), rng.integers(0, 4, 50)
    loss, bias, unbiased, helpful = bv.main_prediction(votes, labels, 4)
    np.testing.assert_allclose(bias + unbiased - helpful, loss)
    np.testing.assert_allclose(loss, (votes != labels).mean((0, 1)))


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(5).normal(size=(9, 2))
    found = bv.jackknife_error(lambda x: x.mean(0), values)
    np.testing.assert_allclose(found, values.std(0, ddof=1) / 3)
    assert np.isnan(bv.jackknife_error(lambda x: x.mean(0), values[:2])).all()


def test_a_start_that_diverged_is_left_out_everywhere():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 4, 20, 2)), rng.integers(0, 2, 20)
    diverged = np.full((3, 4), -1)
    diverged[1, 2] = 7
    spoiled = logits.copy()
    spoiled[1, 2] = np.nan
    found = bv.decompose(spoiled, labels, 2, diverged)
    kept = bv.decompose(logits[:, [0, 1, 3]], labels, 2, np.full((3, 3), -1))
    for one, other in zip(found, kept, strict=True):
        np.testing.assert_array_equal(one, other)
    diverged[0] = 5
    assert np.isnan(bv.decompose(logits, labels, 2, diverged)[0]).all()
