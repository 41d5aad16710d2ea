"""A gate: is B better than A by more than δ? A rule that may look as often as it likes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

LEVEL = 0.95  # probability that an interval shall hold, at all times together
PRIOR = 0.5  # g below, in pairs


class Verdict(NamedTuple):
    """What a gate says.

    Attributes:
      difference, low, high: mean difference of accuracy, B less A, and its interval, as fractions;
        0, -1 and 1 where no pair is left.
      text: 'better', 'not_better' or 'undecided'.
      look: the last one that was needed, from 1.
      members: of each recipe at that look.
    """

    difference: float
    low: float
    high: float
    text: str
    look: int
    members: int


def anytime_interval(
    differences: Int[np.ndarray, "*B n"],
) -> tuple[Float[np.ndarray, "*B n"], Float[np.ndarray, "*B n"]]:
    """Bound the mean of differences after every pair, so that one may stop at any time.

    The values δ whose Bayes factor against any other mean is below 1 / (1 - LEVEL), in the t-test
    with a right-Haar prior on the scale: with t and v = n - 1 of (dᵢ - δ),

        BF = (1 + n g)^(-1/2) [(1 + t² / v) / (1 + t² / (v (1 + n g)))]^((v + 1) / 2),

    solved for δ. Whatever the scale of normal differences, the true mean is outside at any time
    with a probability of at most 1 - LEVEL. Where all differences are equal, the interval is that
    one point from the pair on whose limit of BF, (1 + n g)^((n - 1) / 2), says so.

    Args:
      differences: of independent pairs, in whole right answers: rounding would make a spread.

    Returns:
      Low and high after each pair; infinite after the first ones.

    Source:
      Wang, Ramdas 2024, "Anytime-valid t-tests and confidence sequences for Gaussian means with
      unknown variance", sec. 4 (arXiv 2310.03722).
    """
    count = np.arange(1, differences.shape[-1] + 1)
    total, squares = (np.cumsum(x.astype(np.int64), -1) for x in (differences, differences**2))
    spread = count * squares - total**2  # t² / v is (total - n δ)² / spread
    scale = 1 + PRIOR * count
    bound = (scale / (1 - LEVEL) ** 2) ** (1 / count)
    known = bound < scale
    room = np.where(known, bound - 1, 0) / np.where(known, 1 - bound / scale, 1)
    half = np.where(known, np.sqrt(room * spread), np.inf)
    return (total - half) / count, (total + half) / count


def judge(
    a: Int[np.ndarray, "M N"], b: Int[np.ndarray, "M N"], delta: float, looks: Sequence[int]
) -> tuple[Verdict, dict[str, Any]]:
    """Look at pairs of members, more and more of them, until the interval is beside a difference.

    Args:
      a, b: 1 where a member is right about a test example, 0 where it is wrong, -1 all along the
        row of one that diverged, whose pair is left out.
      delta: the difference of accuracies, as a fraction.
      looks: pairs at each look, increasing.

    Returns:
      The verdict, which is about these test examples, and variables along `pair`, as fractions.

    Variables:
      pair: members of each recipe up to a pair
      path: mean difference of accuracy, B less A, up to that pair
      path_low: lower end of its 95 % interval, which holds at all times together
      path_high: upper end of that interval
    """
    pair, examples = np.flatnonzero((a[:, 0] >= 0) & (b[:, 0] >= 0)) + 1, a.shape[1]
    differences = (b.astype(np.int64) - a)[pair - 1].sum(axis=1)
    low, high = anytime_interval(differences)
    null = round(delta * examples, 9)  # 0.29 of 100 is not 28.999999999999996
    mean = np.cumsum(differences) / np.arange(1, len(pair) + 1)
    edges = ((0.0, mean), (-np.inf, low), (np.inf, high))  # before the first pair, and after each
    mean, low, high = (np.concatenate([[first], x]) for first, x in edges)
    seen = np.searchsorted(pair, looks, side="right")
    sides = (low[seen] > null).astype(int) - (high[seen] < null)
    look = int(np.argmax(sides != 0)) if sides.any() else len(looks) - 1
    text = {1: "better", -1: "not_better", 0: "undecided"}[int(sides[look])]
    path = np.clip(np.stack([mean, low, high]) / examples, -1, 1)
    names, (value, below, above) = ("path", "path_low", "path_high"), path[:, seen[look]].tolist()
    variables = {name: ("pair", x) for name, x in zip(names, path[:, 1:], strict=True)}
    verdict = Verdict(value, below, above, text, look + 1, looks[look])
    return verdict, {"pair": pair, **variables}
