"""How much of a result is the seed: spread over members, where it comes from, what it means.

`errors` [M, N] is 1 where a member is wrong about a test example. What is a mean over pairs of
members (a variance, a disagreement) is given by its kernel [M, M], one number a pair.
"""

import itertools
import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats
from scipy.special import comb, softmax

LEVEL = 0.95  # probability that an interval shall hold
RESAMPLES = 9_999
FEWEST = 8  # members from which on an interval is a bootstrap's
HALVES = 200  # ways to split the test set
SEEDS_FOR_HALF = 10  # of each recipe: see `noise_floor`
Interval = tuple[float, float, float]  # value, low, high


def pair_interval(kernel: Float[np.ndarray, "M M"]) -> Interval:
    """Average over pairs of different members, and bound what all members there could be have.

    Args:
      kernel: symmetric; the diagonal is not read.

    Returns:
      The mean; a 95 % interval over members: BCa bootstrap, in which a member drawn twice makes no
      pair with itself; nan below 8 members, or where all resamples are alike. Of true variances it
      held in 90, 93, 93 % of simulated populations of 16, 32, 100 on 150 examples.

    Source:
      Efron 1987, "Better bootstrap confidence intervals"; for a mean over pairs: Arvesen 1969,
      "Jackknifing U-statistics".
    """
    count, apart = len(kernel), kernel * (1.0 - np.eye(len(kernel)))
    value = float(apart.sum() / max(count * (count - 1), 1)) if count > 1 else np.nan
    if count < FEWEST:
        return value, np.nan, np.nan
    if np.ptp(apart.sum(axis=0)) <= 1e-12 * np.abs(apart).max():  # no member is unlike another
        return value, value, value

    def mean(rows: np.ndarray, axis: int) -> np.ndarray:
        size = rows.shape[axis]
        flat = rows.reshape(-1, size) + count * np.arange(rows.size // size)[:, None]
        drawn = np.bincount(flat.ravel(), minlength=count * len(flat)).reshape(-1, count) * 1.0
        pairs = np.maximum(size**2 - np.square(drawn).sum(axis=1), 1.0)
        return (((drawn @ apart) * drawn).sum(axis=1) / pairs).reshape(rows.shape[:-1])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # then the ends are nan
        found = stats.bootstrap(
            (np.arange(count),), mean, vectorized=True, n_resamples=RESAMPLES, rng=0, batch=1000
        )
    return value, float(found.confidence_interval.low), float(found.confidence_interval.high)


def spread_kernel(values: Float[np.ndarray, " M"]) -> Float[np.ndarray, "M M"]:
    """Give half the squared difference of every two members: its mean over pairs is s²."""
    return np.square(values[:, None] - values[None]) / 2.0


def true_kernel(errors: Bool[np.ndarray, "M N"]) -> Float[np.ndarray, "M M"]:
    """Give of every two members what estimates the variance of the error on all examples there are.

    n/(n−1) · ½ [(ē_r − ē_s)² − D_rs/n], D_rs the share of examples that one of them alone has
    right. Its mean over pairs is n/(n−1) · (s²(mean error) − n⁻² Σᵢ s²(errᵢ)), which is unbiased,
    and so may be negative.

    Source:
      Jordan 2024, "On the variance of neural network training with respect to test sets and
      distributions", eq. 3.
    """
    wrong, n = errors.astype(np.float64), errors.shape[1]
    mean = wrong.mean(axis=1)
    differ = mean[:, None] + mean[None] - 2.0 * (wrong @ wrong.T) / n
    return n / (n - 1) * (spread_kernel(mean) - differ / (2 * n))


def deviation_interval(values: Float[np.ndarray, " M"]) -> Interval:
    """Estimate the standard deviation over members (ddof = 1), with a 95 % interval.

    BCa of `pair_interval`, which held in 84, 89, 93, 92 % of 2,000 populations of 8, 16, 32, 64
    normal values and in 72, 79, 85, 88 % of gamma(2); below 8 members by normal theory, with χ².
    """
    if len(values) < 2:
        return np.nan, np.nan, np.nan
    if len(values) >= FEWEST:
        variance, low, high = np.sqrt(np.maximum(pair_interval(spread_kernel(values)), 0.0))
        return float(variance), float(low), float(high)
    freedom, deviation = len(values) - 1, float(values.std(ddof=1))
    ends = stats.chi2.ppf([(1 + LEVEL) / 2, (1 - LEVEL) / 2], freedom)
    low, high = deviation * np.sqrt(freedom / ends)
    return deviation, float(low), float(high)


def conservative_interval(errors: Bool[np.ndarray, "M N"]) -> tuple[float, float]:
    """Bound the variance of `true_kernel` over members and test examples, both drawn again.

    With counts w of the examples, Σw = n: n²/(n²−Σw²) · (s²(Σ wᵢ errᵢ/n) − n⁻² Σ wᵢ² s²(errᵢ)).
    Without the weights, an example drawn twice would count as covariance. The percentiles of 2,000
    draws are twice as far apart as need be: they held in 100 % of simulated populations.

    Returns:
      Low and high; nan below 8 members.
    """
    wrong = errors.astype(np.float64)
    count, n = wrong.shape
    if count < FEWEST:
        return np.nan, np.nan
    rng, draws = np.random.default_rng(0), 2000
    members = rng.multinomial(count, np.full(count, 1 / count), draws)
    examples = rng.multinomial(n, np.full(n, 1 / n), draws)
    weights = np.square(examples)
    # A member drawn twice makes no pair with itself: s² are means over the other pairs.
    pairs = count - np.square(members).sum(axis=1) / count
    shares = members @ wrong / count
    means = examples @ wrong.T / n
    means -= (members * means).sum(axis=1, keepdims=True) / count
    of_means = (members * np.square(means)).sum(axis=1) / pairs
    own = count * (weights * shares * (1.0 - shares)).sum(axis=1) / (pairs * n**2)
    found = (of_means - own) * n**2 / (n**2 - weights.sum(axis=1))
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def ratio_interval(one: Interval, other: Interval) -> Interval:
    """Divide two positive estimates of different members, and bound the ratio.

    Source:
      Zou, Donner 2008, "Construction of confidence limits about effect measures" (MOVER), on
      logarithms.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        (value, low, high), (base, base_low, base_high) = np.log(np.maximum([one, other], 0.0))
        down = np.exp(value - base - np.hypot(value - low, base_high - base))
        up = np.exp(value - base + np.hypot(high - value, base - base_low))
        return float(np.exp(value - base)), float(down), float(up)


def noise_floor(deviation: float) -> float:
    """Give the smallest difference that two single runs can show: 1.96 √2 standard deviations.

    Two runs of one recipe differ by more in 5 % of all pairs. Half of it is shown by a two-sided
    t-test at 5 % with a power of 80 % by `SEEDS_FOR_HALF` runs of each recipe, whatever the
    deviation.
    """
    return float(stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(2.0) * deviation)


def best_of(values: Float[np.ndarray, " M"], counts: Sequence[int]) -> Float[np.ndarray, " J"]:
    """Give the expected largest of k members drawn without replacement; nan where k > M.

    Source:
      Tang et al. 2020, "Showing your work doesn't always work" (the unbiased estimator).
    """
    ordered, places = np.sort(values), np.arange(len(values))
    whole = comb(len(values), np.array(counts))
    found = np.array([(comb(places, k - 1) * ordered).sum() for k in counts])
    return np.divide(found, whole, out=np.full(len(counts), np.nan), where=whole > 0)


def split_halves(errors: Bool[np.ndarray, "M N"]) -> tuple[float, float]:
    """Ask whether members that are good on one half of the test set are good on the other.

    Returns:
      Pearson's correlation over members of the error on two random halves; how much less than all
      members the best quarter on one half errs on the other. Means over 200 splits; nan where no
      member differs from another.
    """
    count, n = errors.shape
    first = np.random.default_rng(0).permuted(np.tile(np.arange(n) < n // 2, (HALVES, 1)), axis=1)
    # Whole numbers, so that members that are equally good differ by nothing: M · (sum − mean sum).
    sums = (errors.astype(np.float64) @ part.T for part in (first, ~first))
    one, other = (count * x - x.sum(axis=0) for x in sums)
    lengths = np.sqrt(np.square(one).sum(axis=0) * np.square(other).sum(axis=0))
    alike = (one * other).sum(axis=0)[lengths > 0] / lengths[lengths > 0]
    best = np.argsort(one, axis=0, kind="stable")[: max(1, count // 4)]
    gain = -float(np.take_along_axis(other, best, axis=0).mean()) / (count * (n - n // 2))
    return (float(alike.mean()), gain) if alike.size else (np.nan, np.nan)


def calibration(
    votes: Float[np.ndarray, "N K"], labels: Int[np.ndarray, " N"], num_bins: int = 10
) -> Float[np.ndarray, "3 K J"]:
    """Compare the share of members that vote for a class with how often that class is right.

    Args:
      votes: see `agreement.votes`.
      labels: of the test examples.
      num_bins: J, of equal width, each with its upper end.

    Returns:
      Of every class and bin: the share of all examples that are in it, the mean share of votes, and
      how often the class is right; the last two nan where the bin is empty.

    Source:
      Jiang et al. 2021, "Assessing generalization of SGD via disagreement", def. of class-wise
      calibration: where the two are equal, disagreement is error.
    """
    truth = np.eye(votes.shape[1])[labels]
    found = np.full((3, votes.shape[1], num_bins), np.nan)
    for k, places in enumerate(_bins(votes, num_bins).T):
        counts, said, right = (
            np.bincount(places, weights, num_bins) for weights in (None, votes[:, k], truth[:, k])
        )
        found[0, k] = counts / len(votes)
        np.divide(said, counts, out=found[1, k], where=counts > 0)
        np.divide(right, counts, out=found[2, k], where=counts > 0)
    return found


def calibration_error(table: Float[np.ndarray, "3 K J"]) -> float:
    """Sum what `calibration` finds apart over classes and bins, weighted by their examples.

    No difference between disagreement and error is larger, but for what lies within a bin.
    """
    share, said, right = table
    return float(np.nansum(share * np.abs(right - said)))


def calibrated_disagreement(
    votes: Float[np.ndarray, "N K"], labels: Int[np.ndarray, " N"], num_bins: int = 10
) -> float:
    """Predict the error from votes that are calibrated on other test examples.

    Of two random halves of the test set one gives how often a class is right where it has some
    share of the votes; on the other half that stands in the place of a second member's votes in the
    disagreement of two members. Mean over both ways.
    """
    order = np.random.default_rng(0).permutation(len(votes))
    halves, found = (order[::2], order[1::2]), []
    for fit, held in (halves, halves[::-1]):
        right = calibration(votes[fit], labels[fit], num_bins)[2]
        shown = right[np.arange(votes.shape[1]), _bins(votes[held], num_bins)]
        shown = np.where(np.isnan(shown), votes[held], shown)
        found.append(1.0 - (votes[held] * shown).sum(axis=1).mean())
    return float(np.mean(found))


def _bins(votes: np.ndarray, num_bins: int) -> np.ndarray:
    return np.searchsorted(np.linspace(0.0, 1.0, num_bins + 1)[1:-1], votes)


def ensembles(logits: Float[np.ndarray, "M N K"], size: int) -> Float[np.ndarray, "E N K"]:
    """Give the mean probabilities of ensembles of so many members, none of them in two."""
    whole = logits[: len(logits) // size * size].astype(np.float64)
    return softmax(whole, axis=-1).reshape(-1, size, *logits.shape[1:]).mean(axis=1)


def variance_components(values: Float[np.ndarray, "*S"]) -> Float[np.ndarray, "J 3"]:
    """Divide the variance of a fully crossed grid among what differs along its axes.

    Each value is a mean, plus a part of its level on each axis, plus a part of each combination of
    levels on two axes and more, all random (one value a cell, so what is left over is of the
    highest). With the mean squares MS of such parts, the variance of those of the axes A is
    Σ (−1)^(|B|−|A|) MS_B over all sets of axes B ⊇ A, divided by the number of cells a level has.

    Args:
      values: two levels or more on each of the axes.

    Returns:
      Value, low, high of each axis, then of all combinations together. The values are unbiased, and
      may be negative; they sum to the variance of one value of which every level is new. 95 %
      generalised confidence intervals: of 9,999 draws of each mean square over χ²/degrees of
      freedom.

    Source:
      Searle, Casella, McCulloch 1992, "Variance components", ch. 4; Weerahandi 1993, "Generalized
      confidence intervals".
    """
    axes, rng = range(values.ndim), np.random.default_rng(0)
    sets = [s for k in axes for s in itertools.combinations(axes, k + 1)]
    cells = np.array([values.size / np.prod([values.shape[a] for a in one]) for one in sets])
    freedom = np.array([np.prod([values.shape[a] - 1 for a in one]) for one in sets])
    squares = np.zeros(len(sets))
    for number, one in enumerate(sets):
        part = values
        for a in axes:
            mean = part.mean(axis=a, keepdims=True)
            part = part - mean if a in one else mean
        squares[number] = cells[number] * np.square(part).sum() / freedom[number]
    signs = [[(-1.0) ** (len(b) - len(a)) * (set(a) <= set(b)) for b in sets] for a in sets]
    table = np.array(signs) / cells[:, None]
    rows = np.vstack([table[: values.ndim], table[values.ndim :].sum(axis=0)])
    drawn = freedom * squares / rng.chisquare(freedom, (RESAMPLES, len(sets)))
    ends = np.quantile(drawn @ rows.T, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return np.stack([rows @ squares, *ends], axis=1)
