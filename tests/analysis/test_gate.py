"""The gate: its interval against the Bayes factor, and how often it is wrong."""

import numpy as np
import pytest

from catdog_jax.analysis.gate import anytime_interval, judge

EXAMPLES, PAIRS, LOOK = 1000, 400, 8
SIGMA, DELTA = 6.0, 2.0  # of a run, and what matters, in pictures of 1,000


def bayes_factor(values, g=0.5):
    """Of a mean other than 0, as Wang and Ramdas 2024 write it."""
    n = len(values)
    squared, v = n * values.mean() ** 2 / values.var(ddof=1), n - 1
    ratio = (1 + squared / v) / (1 + squared / (v * (1 + n * g)))
    return ratio ** ((v + 1) / 2) / np.sqrt(1 + n * g)


def test_the_interval_ends_where_the_bayes_factor_is_twenty():
    differences = np.random.default_rng(0).integers(-20, 30, (3, 40))
    low, high = anytime_interval(differences)
    assert np.isinf(low[:, :4]).all()
    for row, n in ((0, 8), (1, 20), (2, 40)):
        first = differences[row, :n]
        for end in (low[row, n - 1], high[row, n - 1]):
            assert bayes_factor(first - end) == pytest.approx(20)
        assert low[row, n - 1] < first.mean() < high[row, n - 1]


def test_equal_differences_are_sure_only_when_the_limit_of_the_bayes_factor_is():
    low, high = anytime_interval(np.full(7, 3))
    surely = (1 + 0.5 * np.arange(1, 8)) ** (np.arange(7) / 2) >= 20
    assert surely.tolist() == 5 * [False] + 2 * [True]
    np.testing.assert_array_equal(low, np.where(surely, 3, -np.inf))
    np.testing.assert_array_equal(high, np.where(surely, 3, np.inf))
    # 0.29 of 100 is 28.999999999999996: no difference beyond delta, however many pairs.
    a, b = (np.tile(np.arange(100) < right, (9, 1)).astype(np.int8) for right in (0, 29))
    assert judge(a, b, 0.29, [9])[0].text == "undecided"
    assert judge(a, b, 0.28, [9])[0].text == "better"
    assert judge(a, b, 0.30, [9])[0].text == "not_better"


def normal(rng, shape):
    return SIGMA * rng.normal(size=shape)


def gamma(rng, shape):
    return SIGMA * (rng.gamma(2.0, size=shape) - 2) / 2**0.5


def few_values(rng, shape):
    return 0.3 * rng.normal(size=shape)


def decided(draw, true):
    """What the gate says of 2,000 pairs of recipes at a true difference, and after how many."""
    rng = np.random.default_rng(1)
    a, b = (np.rint(EXAMPLES * 0.8 + draw(rng, (2000, PAIRS)) + x) for x in (0, true))
    low, high = anytime_interval((b - a).astype(np.int64))
    says = ((low > DELTA).astype(int) - (high < DELTA))[:, LOOK - 1 :: LOOK]
    first = np.where((says != 0).any(axis=1), (says != 0).argmax(axis=1), -1)
    return says[np.arange(2000), first], np.where(first < 0, PAIRS, first + 1) * LOOK


@pytest.mark.parametrize("draw", [normal, gamma, few_values])
def test_the_gate_is_seldom_wrong_and_soon_right(draw):
    for true in (0.0, DELTA):  # a recipe against itself, and just not better
        says, _ = decided(draw, true)
        assert np.mean(says == 1) <= 0.05
    says, pairs = decided(draw, 8.0)
    assert np.mean(says == 1) > 0.99
    assert np.median(pairs) <= 40


def test_a_gate_looks_at_the_pairs_that_are_left():
    rng = np.random.default_rng(2)
    a = (rng.random((24, 500)) < 0.70).astype(np.int8)
    b = (rng.random((24, 500)) < 0.74).astype(np.int8)
    a[3], b[5], b[16] = -1, -1, -1
    verdict, path = judge(a, b, 0.0, [8, 16, 24])
    left = np.delete(np.arange(24), [3, 5, 16])
    assert path["pair"].tolist() == (left + 1).tolist()
    differences = (b[left].astype(int) - a[left]).sum(axis=1)
    low, high = anytime_interval(differences)
    look, at = next((k, at) for k, at in enumerate((5, 13, 20), 1) if low[at] > 0)
    assert verdict[3:] == ("better", look, 8 * look)
    wanted = np.array([differences[: at + 1].mean(), low[at], high[at]]) / 500
    np.testing.assert_allclose(verdict[:3], wanted)
    np.testing.assert_allclose([path[name][1][at] for name in list(path)[1:]], wanted)
    assert judge(a[:4], b[:4], 0.0, [2, 4])[0][1:] == (-1.0, 1.0, "undecided", 2, 4)
    assert judge(a[3:4], b[3:4], 0.0, [2, 4])[0] == (0.0, -1.0, 1.0, "undecided", 2, 4)
