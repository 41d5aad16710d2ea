"""Intervals against scipy's and against their meaning: how often they hold the truth."""

import math

import numpy as np
import pytest
import scipy.stats

from catdog_jax.analysis.intervals import bootstrap_interval, members_interval


def _correct(num_examples=500, accuracy=0.7, num_members=None, seed=0):
    shape = (num_examples,) if num_members is None else (num_members, num_examples)
    return np.random.default_rng(seed).random(shape) < accuracy


def test_the_bootstrap_of_one_classifier_is_a_binomial_distribution():
    correct = _correct(num_examples=2000)
    exact = scipy.stats.binom.ppf([0.05, 0.95], 2000, correct.mean()) / 2000
    found = bootstrap_interval(correct, level=0.9, resamples=100_000)
    np.testing.assert_allclose(found, exact, rtol=0, atol=0.001)


def test_the_bootstrap_of_members_draws_the_same_examples_for_all():
    # The members agree about what is hard, so more of them do not make the interval narrower.
    hard = np.random.default_rng(3).random(400)
    correct = np.random.default_rng(0).random((7, 400)) < hard
    expected = scipy.stats.bootstrap(
        (correct.mean(axis=0),), np.mean, method="percentile", n_resamples=20_000, rng=1
    ).confidence_interval
    found = bootstrap_interval(correct, resamples=20_000)
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.0015)
    assert bootstrap_interval(np.repeat(correct[:1], 7, axis=0)) == pytest.approx(
        bootstrap_interval(correct[0]), abs=0.003
    )


def test_a_wider_level_is_a_wider_interval_and_the_seed_decides():
    correct = _correct()
    narrow, wide = bootstrap_interval(correct, level=0.5), bootstrap_interval(correct, level=0.99)
    assert wide[0] < narrow[0] < correct.mean() < narrow[1] < wide[1]
    assert bootstrap_interval(correct) == bootstrap_interval(correct)
    few = [bootstrap_interval(correct, resamples=50, seed=seed) for seed in (0, 1)]
    assert few[0] != few[1]


def test_a_classifier_that_is_always_right_leaves_no_doubt():
    assert bootstrap_interval(np.ones(30, bool)) == (1.0, 1.0)
    assert bootstrap_interval(np.zeros((3, 30), bool)) == (0.0, 0.0)


@pytest.mark.parametrize("num_members", [2, 3, 30])
def test_the_interval_over_members_is_students(num_members):
    accuracies = np.random.default_rng(2).normal(0.62, 0.01, num_members)
    expected = scipy.stats.t.interval(
        0.95, num_members - 1, loc=accuracies.mean(), scale=scipy.stats.sem(accuracies)
    )
    np.testing.assert_allclose(members_interval(accuracies), expected, rtol=1e-12)
    single = members_interval(accuracies.astype(np.float32), 0.95)
    np.testing.assert_allclose(single, expected, rtol=1e-5)


def test_one_member_says_nothing_and_equal_members_leave_no_doubt():
    assert all(math.isnan(end) for end in members_interval(np.array([0.6])))
    np.testing.assert_allclose(members_interval(np.full(4, 0.5)), (0.5, 0.5), atol=1e-15)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, math.nan])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(ValueError, match="level="):
        bootstrap_interval(np.ones(3, bool), level)
    with pytest.raises(ValueError, match="level="):
        members_interval(np.ones(3), level)


def test_nothing_to_judge_is_refused():
    with pytest.raises(ValueError, match="at least"):
        bootstrap_interval(np.ones(0, bool))
    with pytest.raises(ValueError, match="at least"):
        bootstrap_interval(np.ones(3, bool), resamples=0)
    with pytest.raises(ValueError, match="at least"):
        members_interval(np.ones(0))
