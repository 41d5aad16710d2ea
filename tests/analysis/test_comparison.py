"""Comparisons of two recipes, on simulated members whose true difference is known."""

import itertools

import numpy as np
import pytest
import scipy.stats

from catdog_jax.analysis import comparison
from catdog_jax.analysis.comparison import SCALARS, comparison_results, difference

CUTS, HARD = (-0.5, -0.6), 1.5  # how sure A and B must be; the spread of examples


def simulated(rng, sizes, num_examples, of_member, of_recipe, paired=False):
    """Members of A and B, right where example + recipe's view of it + member + noise is enough."""
    shared, found = rng.normal(size=num_examples) * HARD, []
    members = [rng.normal(size=(count, 1)) * of_member for count in sizes]
    for cut, own in zip(CUTS, (members[0], members[0 if paired else 1]), strict=True):
        view = shared + of_recipe * rng.normal(size=num_examples)
        found.append(view + own + rng.normal(size=(len(own), num_examples)) > cut)
    return found


def truth(of_member, of_recipe):
    spread = np.sqrt(HARD**2 + of_member**2 + of_recipe**2 + 1)
    return np.diff(scipy.stats.norm.sf(np.array(CUTS) / spread)).item()


@pytest.mark.parametrize(
    ("sizes", "num_examples", "of_member", "of_recipe", "paired"),
    [
        ((3, 3), 200, 0.3, 0.3, False),
        ((8, 5), 100, 0.1, 0.5, False),
        ((8, 8), 100, 0.1, 0.0, False),
        ((6, 6), 100, 0.5, 0.2, True),
    ],
)
def test_the_interval_covers_the_true_difference(sizes, num_examples, of_member, of_recipe, paired):
    rng, wanted = np.random.default_rng(0), truth(of_member, of_recipe)
    found = []
    for _ in range(2000):
        a, b = simulated(rng, sizes, num_examples, of_member, of_recipe, paired)
        found.append(difference(a, b, paired=paired))
    value, low, high, variance = np.array(found).T
    assert 0.93 <= np.mean((low <= wanted) & (wanted <= high)) <= 0.97
    assert value.mean() == pytest.approx(wanted, abs=4 * value.std() / 2000**0.5)
    assert variance.mean() == pytest.approx(value.var(), rel=0.12)


def test_recipes_without_any_spread_differ_by_one_number():
    a, b = np.zeros((3, 10), bool), np.ones((2, 10), bool)
    assert difference(a, b) == (1.0, 1.0, 1.0, 0.0)
    assert difference(a, a[:2]) == (0.0, 0.0, 0.0, 0.0)
    assert (comparison.resampled_differences(a, b, variance=0.0, count=9) == 1.0).all()
    counts = np.array([4, 4, 4])
    assert comparison.welch(counts, counts) == 1.0
    assert comparison.welch(counts, counts + 1) == 0.0


@pytest.mark.parametrize("paired", [False, True])
def test_resamples_have_the_variance_and_the_shape_of_a_crossed_bootstrap(paired):
    a, b = simulated(np.random.default_rng(1), (5, 5), 60, 0.3, 0.3)
    found = difference(a, b, paired=paired)
    drawn = comparison.resampled_differences(a, b, variance=found[3], paired=paired, count=4000)
    assert drawn.var() == pytest.approx(found[3])
    assert drawn.mean() == pytest.approx(found[0])
    rng, plain = np.random.default_rng(2), []
    for _ in range(4000):  # the same, drawn the long way
        rows = [rng.integers(5, size=5) for _ in range(2)]
        rows[1] = rows[0] if paired else rows[1]
        columns = rng.integers(60, size=60)
        means = [x[np.ix_(r, columns)].mean() for x, r in zip((a, b), rows, strict=True)]
        plain.append(means[1] - means[0])
    plain = np.array(plain)
    assert plain.std() / drawn.std() > 1.2  # it counts the residual three times
    standard = [(x - x.mean()) / x.std() for x in (plain, drawn)]
    assert scipy.stats.ks_2samp(*standard).statistic < 0.05


def test_the_tests_are_those_of_scipy_and_of_counting():
    rng = np.random.default_rng(3)
    a, b = rng.integers(780, 820, 7), rng.integers(805, 840, 5)
    wanted = scipy.stats.ttest_ind(a, b, equal_var=False).pvalue
    assert comparison.welch(a, b) == pytest.approx(wanted, rel=1e-10)
    both, seen = np.concatenate([a, b]), b.mean() - a.mean()
    splits = [np.isin(range(12), rows) for rows in itertools.combinations(range(12), 7)]
    apart = np.array([both[~rows].mean() - both[rows].mean() for rows in splits])
    tails = [np.mean(sign * apart >= sign * seen - 1e-9) for sign in (-1, 1)]
    assert min(tails) < 0.1
    assert comparison.permutation_test(a, b) == pytest.approx(2 * min(tails))
    wanted = scipy.stats.mannwhitneyu(b, a).statistic / 35
    assert comparison.probability_of_improvement(a, b) == pytest.approx(wanted)
    c = rng.integers(780, 820, 7)
    r, z = np.corrcoef(a, c)[0, 1], 1.959964 / 2.0
    ends = np.tanh([np.arctanh(r) - z, np.arctanh(r) + z])
    np.testing.assert_allclose(comparison.seed_correlation(a, c), [r, *ends], rtol=1e-6)
    assert np.isnan(comparison.seed_correlation(a, np.full(7, 3))).all()


def test_the_seeds_needed_are_cohens_and_have_the_power_they_are_said_to():
    # Cohen 1988, table 2.4.1: two-sided, level 0.05, power 0.8.
    for effect, wanted in ((0.5, 64), (0.8, 26), (1.0, 17)):
        assert comparison.seeds_needed(1.0, 1.0, effect) == wanted
    rng = np.random.default_rng(4)
    for sds, delta in (((0.006, 0.006), 0.005), ((0.004, 0.012), 0.006)):
        count = int(comparison.seeds_needed(*sds, delta))
        a, b = (sd * rng.normal(size=(20_000, count)) for sd in sds)
        p = scipy.stats.ttest_ind(a, b + delta, axis=1, equal_var=False).pvalue
        assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.03)
    assert comparison.seeds_needed(0.0, 0.0, 0.1) == 2
    assert np.isnan(comparison.seeds_needed(1.0, 1.0, 0.0))


@pytest.mark.parametrize("paired", [False, True])
def test_members_that_diverged_are_left_out(paired):
    a, b = (x.astype(np.int8) for x in simulated(np.random.default_rng(5), (6, 6), 50, 0.3, 0.3))
    a[1], b[4] = -1, -1
    data = comparison_results(a, b, 0.01, paired=paired)
    rows = [[0, 2, 3, 5]] * 2 if paired else [[0, 2, 3, 4, 5], [0, 1, 2, 3, 5]]
    kept = [x[own] == 1 for x, own in zip((a, b), rows, strict=True)]
    wanted = difference(*kept, paired=paired)
    np.testing.assert_allclose([data[name] for name in SCALARS[:3]], wanted[:3])
    assert data["num_members"].values.tolist() == [6, 6]
    accuracy = data["test_accuracy"].values
    assert np.isfinite(accuracy).sum(axis=1).tolist() == [len(own) for own in rows]
    np.testing.assert_allclose(accuracy[1, rows[1]], kept[1].mean(axis=1))
    assert np.isfinite(data["seed_correlation"]) == paired
    b[1:] = -1
    assert np.isnan(comparison_results(a, b, 0.01)["difference"])
