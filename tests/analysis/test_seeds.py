"""Estimators of seed variance on simulated populations whose truth is known, and against others."""

import itertools

import numpy as np
import pytest
import scipy.stats
from sklearn.calibration import calibration_curve

from catdog_jax.analysis import agreement, seeds
from catdog_jax.analysis.ladder import members_interval

POPULATIONS = 2000
# How many populations: few each time, 2,000 when asked.
SOME = pytest.mark.parametrize("size", [200, pytest.param(POPULATIONS, marks=pytest.mark.slow)])


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Draw fewer resamples: 2,000 populations are asked."""
    monkeypatch.setattr(seeds, "RESAMPLES", 499)


def covered(intervals, truth):
    """Share of intervals (…, low, high) that hold the truth."""
    low, high = np.array(intervals)[:, -2:].T
    return float(np.mean((low <= truth) & (truth <= high)))


def drawn(rng, num_members, num_examples, spread=0.03):
    """Errors on examples of any difficulty by members that are spread in skill.

    On all examples there are the error of a member is 0.3 + its skill.
    """
    difficulty = rng.uniform(0.1, 0.5, num_examples)
    skill = spread * rng.uniform(-(3**0.5), 3**0.5, (num_members, 1))
    return rng.random((num_members, num_examples)) < difficulty + skill


@pytest.mark.parametrize(
    ("draw", "count", "least"),
    [("standard_normal", 3, 0.93), ("standard_normal", 40, 0.93), ("gamma", 32, 0.92)],
)
def test_the_interval_of_the_mean_covers(draw, count, least):
    rng = np.random.default_rng(1)
    shape, truth = ((2.0,), 2.0) if draw == "gamma" else ((), 0.0)
    samples = getattr(rng, draw)(*shape, size=(POPULATIONS, count))
    assert least <= covered([members_interval(x) for x in samples], truth) <= 0.97


@SOME
@pytest.mark.parametrize(("count", "least"), [(5, 0.92), (32, 0.88)])
def test_the_interval_of_the_standard_deviation_covers(count, least, size):
    samples = np.random.default_rng(2).normal(0.8, 0.5, (size, count))
    found = [seeds.deviation_interval(x) for x in samples]
    np.testing.assert_allclose([x[0] for x in found], samples.std(axis=1, ddof=1))
    assert least <= covered(found, 0.5) <= 0.98


def test_the_interval_of_the_standard_deviation_is_scipys(monkeypatch):
    monkeypatch.setattr(seeds, "RESAMPLES", 9999)
    values = np.random.default_rng(3).normal(size=60)
    expected = scipy.stats.bootstrap(
        (values,), lambda x, axis: x.std(axis=axis, ddof=1), n_resamples=9999, rng=1
    ).confidence_interval
    np.testing.assert_allclose(seeds.deviation_interval(values)[1:], expected, rtol=0.03)


@SOME
def test_the_true_variance_is_unbiased_and_its_intervals_cover(size):
    rng = np.random.default_rng(4)
    found, wide = [], []
    for number in range(size):
        wrong = drawn(rng, 40, 150)
        found.append(seeds.pair_interval(seeds.true_kernel(wrong)))
        if number % 20 == 0:
            wide.append(seeds.conservative_interval(wrong))
    values = np.array(found)[:, 0]
    assert values.min() < 0
    assert values.mean() == pytest.approx(0.03**2, abs=3 * values.std() / size**0.5)
    assert 0.91 <= covered(found, 0.03**2) <= 0.98
    assert covered(wide, 0.03**2) >= 0.95


def test_the_true_variance_is_the_published_formula_and_the_identity_is_exact():
    wrong = drawn(np.random.default_rng(5), 12, 70)
    n, mean, own = 70, wrong.mean(axis=1).var(ddof=1), wrong.var(axis=0, ddof=1)
    value = seeds.pair_interval(seeds.true_kernel(wrong))[0]
    assert value == pytest.approx(n / (n - 1) * (mean - own.sum() / n**2))
    logits = np.stack([wrong, ~wrong], axis=-1).astype(float)  # two classes, the second is right
    apart = agreement.pairwise_disagreement(logits)[np.triu_indices(12, 1)].mean()
    assert mean == pytest.approx(apart / (2 * n) + (n - 1) / n * value)


def test_examples_that_are_drawn_twice_count_as_no_covariance():
    wrong = drawn(np.random.default_rng(6), 100, 300, spread=0.0)
    low, high = seeds.conservative_interval(wrong)
    value, inner_low, inner_high = seeds.pair_interval(seeds.true_kernel(wrong))
    assert (low + high) / 2 == pytest.approx(value, abs=0.25 * (high - low))
    assert 1.5 < (high - low) / (inner_high - inner_low) < 4.0


def test_equal_members_leave_no_doubt_and_few_say_so():
    wrong = np.tile(np.arange(30) % 3 == 0, (9, 1))
    assert seeds.deviation_interval(1.0 - wrong.mean(axis=1)) == (0.0, 0.0, 0.0)
    assert np.isnan(seeds.split_halves(wrong)).all()
    assert np.isnan(seeds.pair_interval(np.ones((7, 7)))[1:]).all()
    assert seeds.pair_interval(np.ones((7, 7)))[0] == 1.0
    assert np.isnan(seeds.deviation_interval(np.ones(1))).all()


def test_the_interval_of_a_ratio_covers():
    rng, found = np.random.default_rng(7), []
    for _ in range(POPULATIONS):
        pair = (seeds.deviation_interval(rng.normal(0, s, 7)) for s in (2.0, 1.0))
        found.append(seeds.ratio_interval(*pair))
    assert 0.93 <= covered(found, 2.0) <= 0.97
    assert seeds.ratio_interval((0.0, 0.0, 0.0), (1.0, 0.5, 2.0))[0] == 0.0


def test_the_noise_floor_and_the_seeds_for_half_of_it():
    differences = np.diff(np.random.default_rng(8).normal(0, 0.3, (40_000, 2)))
    assert np.mean(np.abs(differences) > seeds.noise_floor(0.3)) == pytest.approx(0.05, abs=0.004)

    def power(count):
        freedom, half = 2 * count - 2, seeds.noise_floor(1.0) / 2
        critical = scipy.stats.t.ppf(0.975, freedom)
        return scipy.stats.nct.sf(critical, freedom, half * np.sqrt(count / 2))

    assert power(seeds.SEEDS_FOR_HALF - 1) < 0.8 <= power(seeds.SEEDS_FOR_HALF)


def test_the_best_of_k_is_the_mean_over_all_choices():
    values = np.random.default_rng(9).normal(size=7)
    expected = [np.mean([max(x) for x in itertools.combinations(values, k)]) for k in (1, 3, 7)]
    found = seeds.best_of(values, (1, 3, 7, 8))
    np.testing.assert_allclose(found[:3], expected)
    assert np.isnan(found[3])


def test_halves_of_the_test_set_agree_as_far_as_members_differ_truly():
    rng = np.random.default_rng(10)
    found = np.array([seeds.split_halves(drawn(rng, 400, 300)) for _ in range(20)])
    examples = drawn(rng, 4000, 4000)
    own = np.mean(examples.mean(axis=0) * (1 - examples.mean(axis=0)))
    expected = 0.03**2 / (0.03**2 + own / 150)
    assert found[:, 0].mean() == pytest.approx(expected, abs=0.03)
    # The best quarter of normal numbers is 1.27 deviations above their mean.
    gain = 1.27 * expected * np.sqrt(0.03**2 + own / 150)
    assert found[:, 1].mean() == pytest.approx(gain, rel=0.1)


def population(rng, bend):
    """Logits of 41 members on 6,000 examples of 3 classes, labels that follow votes^bend."""
    shares = rng.dirichlet(np.ones(3), 6000)
    right = shares**bend / (shares**bend).sum(axis=1, keepdims=True)

    def choose(table, size):
        return (rng.random((size, 6000, 1)) > table.cumsum(axis=1)[:, :2]).sum(axis=2)

    return np.eye(3)[choose(shares, 41)], choose(right, 1)[0]


def test_calibration_is_scikit_learns_class_by_class():
    logits, labels = population(np.random.default_rng(11), 2.0)
    votes = agreement.votes(logits)
    weights, said, right = seeds.calibration(votes, labels)
    for k in range(3):
        expected_right, expected_said = calibration_curve(labels == k, votes[:, k], n_bins=10)
        there = weights[k] > 0
        np.testing.assert_allclose(right[k][there], expected_right)
        np.testing.assert_allclose(said[k][there], expected_said)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)


def test_members_disagree_as_often_as_they_err_where_votes_are_calibrated():
    for bend, apart in ((1.0, False), (2.0, True)):
        logits, labels = population(np.random.default_rng(12), bend)
        votes, wrong = agreement.votes(logits), logits.argmax(axis=-1) != labels
        error = wrong.mean()
        disagreement = seeds.pair_interval(agreement.pairwise_disagreement(logits))[0]
        bound = seeds.calibration_error(seeds.calibration(votes, labels))
        assert (abs(disagreement - error) > 0.05) == apart
        assert abs(disagreement - error) < bound + 0.02
        assert seeds.calibrated_disagreement(votes, labels) == pytest.approx(error, abs=0.02)


def test_an_ensemble_is_the_mean_probability_of_its_own_members():
    logits = np.random.default_rng(13).normal(size=(7, 5, 2))
    expected = scipy.special.softmax(logits, axis=-1)
    found = seeds.ensembles(logits, 3)
    np.testing.assert_allclose(found, [expected[:3].mean(axis=0), expected[3:6].mean(axis=0)])


def test_components_of_a_grid_of_known_effects():
    first, second = np.array([1.0, 4.0, 6.0]), np.array([0.0, 2.0])
    found = seeds.variance_components(first[:, None] + second)
    np.testing.assert_allclose(found[:, 0], [first.var(ddof=1), second.var(ddof=1), 0], atol=1e-12)


@SOME
def test_components_are_unbiased_sum_to_the_total_and_their_intervals_cover(size):
    rng, found = np.random.default_rng(14), []
    truth = np.array([4.0, 1.0, 0.25, 0.0, 1.5])
    for _ in range(size):
        grid = sum(
            np.sqrt(of) * rng.normal(size=[4 if a == axis else 1 for a in range(4)])
            for axis, of in enumerate(truth[:4])
        )
        grid = grid + rng.normal(size=(4, 1, 1, 4)) + np.sqrt(0.5) * rng.normal(size=(4,) * 4)
        found.append(seeds.variance_components(grid))
    values = np.array(found)
    near = 3.5 * values[..., 0].std(axis=0) / size**0.5
    assert (np.abs(values[..., 0].mean(axis=0) - truth) < near).all()
    total = values[..., 0].sum(axis=1)
    assert total.mean() == pytest.approx(truth.sum(), abs=3.5 * total.std() / size**0.5)
    for source in range(5):
        assert covered(values[:, source], truth[source]) >= 0.9
