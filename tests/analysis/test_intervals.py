"""Intervals against scipy's and against their meaning."""

import numpy as np
import pytest
import scipy.stats

from catdog_jax.analysis import ladder
from catdog_jax.analysis.ladder import bootstrap_interval, members_interval


@pytest.fixture(autouse=True)
def many(monkeypatch):
    """Draw so often that the ends are known to a few digits."""
    monkeypatch.setattr(ladder, "RESAMPLES", 50_000)


def test_the_bootstrap_of_one_classifier_is_a_binomial_distribution():
    correct = np.random.default_rng(0).random((1, 2000)) < 0.7
    exact = scipy.stats.binom.ppf([0.025, 0.975], 2000, correct.mean()) / 2000
    np.testing.assert_allclose(bootstrap_interval(correct), exact, rtol=0, atol=0.001)


def test_the_bootstrap_of_members_draws_the_same_examples_for_all():
    # The members agree about what is hard, so more of them do not make the interval narrower.
    hard = np.random.default_rng(3).random(400)
    correct = np.random.default_rng(0).random((7, 400)) < hard
    expected = scipy.stats.bootstrap(
        (correct.mean(axis=0),), np.mean, method="percentile", n_resamples=20_000, rng=1
    ).confidence_interval
    np.testing.assert_allclose(bootstrap_interval(correct), expected, rtol=0, atol=0.0015)
    assert bootstrap_interval(np.repeat(correct[:1], 7, axis=0)) == pytest.approx(
        bootstrap_interval(correct[:1]), abs=0.003
    )
    assert bootstrap_interval(correct) == bootstrap_interval(correct)


def test_a_classifier_that_is_always_right_leaves_no_doubt():
    assert bootstrap_interval(np.ones((1, 30), bool)) == (1.0, 1.0)
    assert bootstrap_interval(np.zeros((3, 30), bool)) == (0.0, 0.0)


@pytest.mark.parametrize("num_members", [2, 30])
def test_the_interval_over_members_is_students(num_members):
    accuracies = np.random.default_rng(2).normal(0.62, 0.01, num_members)
    expected = scipy.stats.t.interval(
        0.95, num_members - 1, loc=accuracies.mean(), scale=scipy.stats.sem(accuracies)
    )
    np.testing.assert_allclose(members_interval(accuracies), expected, rtol=1e-12)


def test_one_member_says_nothing_and_equal_members_leave_no_doubt():
    assert np.isnan(members_interval(np.array([0.6]))).all()
    np.testing.assert_allclose(members_interval(np.full(4, 0.5)), (0.5, 0.5), atol=1e-15)
