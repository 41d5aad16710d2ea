"""Is recipe B better than recipe A? A difference of accuracies, and how far luck may move it.

Members of both recipes answer the same test examples. Luck is in the members, and in the examples.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float, Int

from catdog_jax.analysis.agreement import predictions
from catdog_jax.analysis.gate import judge
from catdog_jax.analysis.labelled import described

if TYPE_CHECKING:
    import xarray as xr

LEVEL = 0.95  # probability that an interval shall hold
POWER = 0.8  # probability that a difference that is there shall be shown
SCALARS = (
    *("difference", "low", "high", "p_welch", "p_permutation", "probability_of_improvement"),
    *("seeds_needed", "seed_correlation", "seed_correlation_low", "seed_correlation_high"),
)
RESAMPLES = 10_000
CHUNK = 250  # resamples at once


def right_answers(
    logits: Float[np.ndarray, "M N K"], labels: Int[np.ndarray, " N"], alive: Bool[np.ndarray, " M"]
) -> Int[np.ndarray, "M N"]:
    """Judge every member on every test example.

    Args:
      logits: read one member at a time.
      labels: in 0..K-1.
      alive: members that did not diverge.

    Returns:
      int8: 1 right, 0 wrong; -1 all along the row of a member that diverged, or has a logit that is
      not finite.
    """
    predicted = np.stack([predictions(np.asarray(one)) for one in logits])
    kept = alive & (predicted >= 0).all(axis=1)
    return np.where(kept[:, None], predicted == labels, -1).astype(np.int8)


def difference(
    a: Bool[np.ndarray, "A N"], b: Bool[np.ndarray, "B N"], *, paired: bool = False
) -> tuple[float, float, float, float]:
    """Estimate the difference of mean accuracies over other members and other test examples.

    V = s²_A / M_A + s²_B / M_B + s²_d / n - r_A / (M_A n) - r_B / (M_B n), where s² is the variance
    of members' accuracies, s²_d that over examples of the difference of mean accuracies, and r the
    residual mean square of members × examples, which each of the other terms holds once more than
    it should. Of pairs, the members' terms are those of one population of differences. The interval
    is Student's, with Satterthwaite's degrees of freedom.

    Args:
      a, b: whether each member is right about each example; at least 2 members and 2 examples.
      paired: member i of A and member i of B share their seeds; as many of both then.

    Returns:
      B - A, as a fraction; low and high of its interval, of probability LEVEL, one point where
      nothing has any spread; and V.

    Source:
      Searle, Casella, McCulloch 1992, "Variance components", ch. 4 (mean squares of two crossed
      random factors); Satterthwaite 1946, "An approximate distribution of estimates of variance
      components".
    """
    apart, num_examples = b.mean(axis=0) - a.mean(axis=0), a.shape[1]
    groups = [b.astype(np.float64) - a] if paired else [a.astype(np.float64), b.astype(np.float64)]
    members, residuals, freedom = 0.0, 0.0, 0.0
    for x in groups:
        count, own = len(x), x.mean(axis=1)
        residual = np.square(x - own[:, None] - x.mean(axis=0) + x.mean()).sum()
        of_members = own.var(ddof=1) / count
        of_residual = residual / ((count - 1) * (num_examples - 1)) / (count * num_examples)
        members, residuals = members + of_members, residuals + of_residual
        freedom += (of_members**2 + of_residual**2 / (num_examples - 1)) / (count - 1)
    examples = apart.var(ddof=1) / num_examples
    freedom += examples**2 / (num_examples - 1)
    variance, value = members + max(0.0, examples - residuals), float(apart.mean())
    if variance == 0.0:
        return value, value, value, 0.0
    half = float(scipy.stats.t.ppf((1 + LEVEL) / 2, variance**2 / freedom) * variance**0.5)
    return value, value - half, value + half, variance


def resampled_differences(
    a: Bool[np.ndarray, "A N"],
    b: Bool[np.ndarray, "B N"],
    *,
    variance: float,
    paired: bool = False,
    count: int = RESAMPLES,
) -> Float[np.ndarray, " {count}"]:
    """Draw members and test examples again with replacement, and rescale to the right variance.

    A plain crossed bootstrap holds the residual of members × examples three times, and is up to √3
    too wide: of it the shape is kept, about the difference that was found.

    Args:
      a, b, paired: see `difference`.
      variance: that the differences shall have.
      count: of differences.

    Returns:
      B - A; the same for the same arguments.

    Source:
      Owen 2007, "The pigeonhole bootstrap", sec. 3 (its bias).
    """
    generator, found = np.random.default_rng(0), np.empty(count)
    sides = [x.astype(np.float32) / np.float32(len(x)) for x in (a, b)]
    for start in range(0, count, CHUNK):
        rows = min(CHUNK, count - start)
        drawn = [_drawn(generator, rows, len(x)) for x in sides]
        means = [(drawn[0] if paired else n) @ x for n, x in zip(drawn, sides, strict=True)]
        examples = _drawn(generator, rows, a.shape[1])
        found[start : start + rows] = np.einsum("rn,rn->r", means[1] - means[0], examples)
    spread = found.std()
    scale = np.sqrt(variance) / spread if spread else 0.0
    return b.mean() - a.mean() + (found - found.mean()) * scale


def _drawn(generator: np.random.Generator, rows: int, size: int) -> Float[np.ndarray, "R S"]:
    """Draw `size` of `size` things with replacement, and count how often each was."""
    places = generator.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
    return np.bincount(places.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float32)


def welch(a: Int[np.ndarray, " A"], b: Int[np.ndarray, " B"]) -> float:
    """Test whether two recipes have equal means on this test set; two-sided.

    Args:
      a, b: right answers of each member, at least 2 of each.

    Returns:
      The probability of so large a difference where there is none; 1 for equal constants.

    Source:
      Welch 1947, "The generalization of 'Student's' problem".
    """
    numbers = [number for x in (a, b) for number in (x.mean(), x.std(ddof=1), len(x))]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = scipy.stats.ttest_ind_from_stats(*numbers, equal_var=False)
    return float(np.nan_to_num(found.pvalue, nan=1.0))


def permutation_test(a: Int[np.ndarray, " A"], b: Int[np.ndarray, " B"]) -> float:
    """Test whether the members could have been shuffled between the recipes; two-sided.

    Args:
      a, b: right answers of each member.

    Returns:
      Twice the smaller tail of the differences of means; of 9,999 shuffles, or of all where they
      are fewer.

    Source:
      Fisher 1935, "The design of experiments", sec. 21; Phipson, Smyth 2010.
    """

    sizes = len(a), len(b)

    def apart(a: Any, b: Any, axis: int) -> Any:  # in integers: equal ones are equal
        return sizes[0] * b.sum(axis=axis) - sizes[1] * a.sum(axis=axis)

    found = scipy.stats.permutation_test(
        (a, b), apart, vectorized=True, batch=500, rng=np.random.default_rng(0)
    )
    return float(found.pvalue)


def probability_of_improvement(a: Int[np.ndarray, " A"], b: Int[np.ndarray, " B"]) -> float:
    """Estimate how often a member of B is better than one of A; a tie counts half.

    Source:
      Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice",
      sec. 4.3; Mann, Whitney 1947.
    """
    return float(np.mean((b[:, None] > a) + 0.5 * (b[:, None] == a)))


def seeds_needed(sd_a: float, sd_b: float, delta: float) -> float:
    """Count the members of each recipe that Welch's two-sided test needs to show a difference.

    Args:
      sd_a, sd_b: standard deviation over members.
      delta: the true difference, in the same unit.

    Returns:
      The smallest number for a power of POWER at level 1 - LEVEL, at least 2; nan where `delta` is
      not positive or a deviation is not known.

    Source:
      Cohen 1988, "Statistical power analysis", ch. 2, by the noncentral t distribution.
    """
    spread = sd_a**2 + sd_b**2
    if not (delta > 0 and spread >= 0):
        return np.nan
    if spread == 0:
        return 2.0
    z = scipy.stats.norm.ppf([(1 + LEVEL) / 2, POWER]).sum()

    def power(count: int) -> float:
        freedom = (count - 1) * spread**2 / (sd_a**4 + sd_b**4)
        far, shift = scipy.stats.t.ppf((1 + LEVEL) / 2, freedom), delta / np.sqrt(spread / count)
        return float(scipy.stats.nct.sf(far, freedom, shift))

    first = max(2, int(np.ceil(z**2 * spread / delta**2)))  # of the normal distribution: a few less
    return float(next((n for n in range(first, first + 9) if power(n) >= POWER), first))


def seed_correlation(
    a: Int[np.ndarray, " M"], b: Int[np.ndarray, " M"]
) -> tuple[float, float, float]:
    """Correlate the accuracies of A and B at equal seeds.

    Returns:
      Pearson's r in -1..1, and its interval by Fisher's z; nan where a recipe has no spread, or
      fewer than 4 pairs.

    Source:
      Fisher 1921, "On the 'probable error' of a coefficient of correlation".
    """
    if len(a) < 4 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan, np.nan, np.nan
    found = scipy.stats.pearsonr(a, b)
    low, high = found.confidence_interval(LEVEL)
    return float(found.statistic), float(low), float(high)


def comparison_results(
    a: Int[np.ndarray, "A N"],
    b: Int[np.ndarray, "B N"],
    delta: float,
    *,
    paired: bool = False,
    looks: Sequence[int] = (),
) -> "xr.Dataset":
    """Compare the members of two recipes that did not diverge.

    Args:
      a, b: 1 where a member is right about a test example, 0 where it is wrong, -1 all along the
        row of one that diverged.
      delta: the difference that matters, as a fraction.
      paired: see `difference`.
      looks: of a gate, see `judge`; none: no gate.

    Variables:
      difference: mean test accuracy of B less that of A; nan where fewer than 2 are left
      low: lower end of its 95 % interval over members and test examples; of a gate, the one over
        members on this test set that holds at all times together
      high: upper end of that interval
      p_welch: of Welch's t-test over members, on this test set; nan for a gate
      p_permutation: of a permutation test over members, on this test set; nan for a gate
      probability_of_improvement: share of pairs of members in which that of B is better
      seeds_needed: members of each recipe that show a difference of delta, with a power of 80 %
      seed_correlation: of the accuracies of A and B at equal seeds; nan where they are not paired
      seed_correlation_low: lower end of its 95 % interval
      seed_correlation_high: upper end of its 95 % interval
      num_members: of each recipe, those that diverged included
      test_accuracy: accuracy on all test examples; nan: diverged, or no such member
      interquartile_mean: mean accuracy of the middle half of the members
      right: 1 where a member is right, 0 where it is wrong; -1: diverged, or no such member
      resampled: differences of resampled members and examples, rescaled to their variance
      pair: members of each recipe up to a pair
      path: mean difference of accuracy, B less A, up to that pair
      path_low: lower end of its 95 % interval, which holds at all times together
      path_high: upper end of that interval

    Source:
      Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice",
      sec. 4.3 (interquartile mean).
    """
    import xarray as xr  # takes most of a second to import

    most, examples = max(len(a), len(b)), a.shape[1]
    right = np.stack([np.pad(x, ((0, most - len(x)), (0, 0)), constant_values=-1) for x in (a, b)])
    alive = right[..., 0] >= 0
    if paired:
        alive[:] = alive.all(axis=0)
    kept = [x[own] == 1 for x, own in zip(right, alive, strict=True)]
    counts = [x.sum(axis=1) for x in kept]
    found, more, attrs = dict.fromkeys(SCALARS, np.nan), dict[str, Any](), dict[str, Any]()
    enough = min(map(len, counts)) > 1
    if enough:
        sd_a, sd_b = (float(x.std(ddof=1)) / examples for x in counts)
        found["probability_of_improvement"] = probability_of_improvement(*counts)
        found["seeds_needed"] = seeds_needed(sd_a, sd_b, delta)
    if enough and paired:
        found |= dict(zip(SCALARS[-3:], seed_correlation(*counts), strict=True))
    if looks:
        verdict, more = judge(a, b, delta, looks)
        found |= dict(zip(SCALARS, verdict[:3], strict=False))
        attrs |= dict(zip(("verdict", "wave", "members"), verdict[3:], strict=True), looks=looks)
    elif enough:
        *ends, variance = difference(*kept, paired=paired)
        found |= dict(zip(SCALARS, (*ends, welch(*counts)), strict=False))
        found["p_permutation"] = permutation_test(*counts)
        drawn = resampled_differences(*kept, variance=variance, paired=paired)
        more["resampled"] = "resample", drawn.astype(np.float32)
    middles = [scipy.stats.trim_mean(x, 0.25) / examples for x in counts]
    variables = {
        **found,
        "num_members": ("model", [len(a), len(b)]),
        "test_accuracy": (("model", "member"), np.where(alive, (right == 1).mean(axis=2), np.nan)),
        "interquartile_mean": ("model", middles),
        "right": (("model", "member", "example"), right),
        **more,
    }
    data = xr.Dataset(variables, {"model": np.array(["A", "B"], object)}, attrs | {"delta": delta})
    return described(data, comparison_results)
