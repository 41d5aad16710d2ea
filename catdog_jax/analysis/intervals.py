"""How sure an accuracy is: over the test examples, and over the members of a population."""

import math

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float


def bootstrap_interval(
    correct: Bool[np.ndarray, " N"] | Bool[np.ndarray, "M N"],
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Bound the accuracy that other test examples of the same kind would have given.

    Test examples are drawn again with replacement, the same ones for all members, and the mean
    accuracy of the members is taken each time. Examples on which equally many members are right
    are alike, so it is enough to draw how many of each kind: one classifier draws binomial numbers.

    Args:
      correct: [N] or [M, N], whether a prediction is right; N ≥ 1, M ≥ 1.
      level: probability in 0..1 that the interval shall hold.
      resamples: number of draws ≥ 1.
      seed: of the draws.

    Returns:
      Low and high, fractions in 0..1: percentiles of the resampled mean accuracy.

    Raises:
      ValueError: no example, or a level or number of resamples out of range.

    Source:
      Efron 1979, "Bootstrap methods: another look at the jackknife"; Efron, Tibshirani 1993,
      sec. 13.3 (percentile interval).
    """
    _check_level(level)
    if not correct.size or resamples < 1:
        raise ValueError(f"correct {correct.shape}, resamples={resamples}: give at least 1 of each")
    table = np.atleast_2d(correct)
    num_members, num_examples = table.shape
    kinds = np.bincount(table.sum(axis=0), minlength=num_members + 1)  # by members that are right
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(num_examples, kinds / num_examples, size=resamples)
    accuracies = drawn @ np.arange(num_members + 1) / (num_members * num_examples)
    low, high = np.quantile(accuracies, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def members_interval(
    accuracies: Float[np.ndarray, " M"], level: float = 0.95
) -> tuple[float, float]:
    """Bound the mean accuracy of all members that could have been started.

    Args:
      accuracies: [M], one per member; M ≥ 1.
      level: probability in 0..1 that the interval shall hold.

    Returns:
      Low and high in units of `accuracies`, symmetric about their mean; nan where M = 1, for one
      member says nothing about the others.

    Raises:
      ValueError: no member, or a level out of range.

    Source:
      Student 1908, "The probable error of a mean".
    """
    _check_level(level)
    num_members = len(accuracies)
    if num_members < 1:
        raise ValueError("no accuracies: give at least one")
    if num_members == 1:
        return math.nan, math.nan
    values = accuracies.astype(np.float64)
    error = values.std(ddof=1) / math.sqrt(num_members)
    half = float(scipy.stats.t.ppf((1 + level) / 2, num_members - 1) * error)
    mean = float(values.mean())
    return mean - half, mean + half


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level={level} is not allowed; give a probability between 0 and 1")
