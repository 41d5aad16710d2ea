"""Bias and variance: how much of an error every training shares, and what differs between them.

Members are trained from M random starts on each of R training sets, the same starts on every set. A
prediction is then mean + part of its set + part of its start + part of the pair, and the mean
squares of the two-way analysis of variance give the variance of each part without bias.
"""

from collections.abc import Callable

import numpy as np
import scipy.special
from jaxtyping import Float, Int, Num

PARTS = ("error", "bias", "from_sets", "from_starts", "from_pairs")
SHOWN_PARTS = ("error", "bias", "from_sets", "from_starts_on_a_set")
MAIN_PARTS = ("loss", "bias", "unbiased_variance", "helpful_variance")


def squared_decomposition(
    outputs: Num[np.ndarray, "R M N K"], targets: Num[np.ndarray, "N K"]
) -> Float[np.ndarray, "5 N"]:
    """Decompose the squared error |output - target|², summed over the K outputs.

    With class probabilities and one-hot targets this is the Brier score.

    Args:
      outputs: [R, M, N, K], of R ≥ 2 training sets and M ≥ 2 starts.
      targets: [N, K].

    Returns:
      Per example, in the unit of the targets squared and in the order of PARTS: the mean error over
      all members; the bias, of the mean prediction over all starts and sets, squared, what noise
      there is in the labels included; the variance over sets of the mean over starts; the variance
      over starts of the mean over sets; and the variance that is neither, what a start does on one
      set and not on another. The error is the sum of the others, exactly. They are unbiased, so
      that one may come out slightly below 0.

    Source:
      Geman, Bienenstock, Doursat 1992, "Neural networks and the bias/variance dilemma", eq. 2.4;
      Neal et al. 2018, "A modern take on the bias-variance tradeoff in neural networks", sec. 4
      (the law of total variance over sets and starts); Yang et al. 2020, "Rethinking bias-variance
      trade-off", sec. 2 (unbiased estimators); Searle, Casella, McCulloch 1992, "Variance
      components", ch. 4 (the two-way mean squares).
    """
    num_sets, num_starts = outputs.shape[:2]
    values = outputs.astype(np.float64)
    mean = values.mean((0, 1))
    set_parts = values.mean(1) - mean
    start_parts = values.mean(0) - mean
    pair_parts = values - mean - set_parts[:, None] - start_parts[None]

    def mean_square(parts: np.ndarray, freedom: int) -> np.ndarray:
        # Summed over the outputs, and over sets or starts or both.
        return np.square(parts).sum(-1).reshape(-1, parts.shape[-2]).sum(0) / freedom

    from_pairs = mean_square(pair_parts, (num_sets - 1) * (num_starts - 1))
    from_sets = mean_square(set_parts, num_sets - 1) - from_pairs / num_starts
    from_starts = mean_square(start_parts, num_starts - 1) - from_pairs / num_sets
    # The mean of few members strays from the true mean, which looks like bias: taken off.
    strays = from_sets / num_sets + from_starts / num_starts + from_pairs / (num_sets * num_starts)
    bias = np.square(mean - targets).sum(-1) - strays
    error = np.square(values - targets).sum(-1).mean((0, 1))
    return np.stack([error, bias, from_sets, from_starts, from_pairs])


def main_prediction(
    votes: Int[np.ndarray, "R M N"], labels: Int[np.ndarray, " N"], num_classes: int
) -> Float[np.ndarray, "4 N"]:
    """Decompose the share of wrong answers around the main prediction, the most frequent vote.

    Args:
      votes: [R, M, N] class indices; among equally frequent ones the first class is the main one.
      labels: [N].
      num_classes: K.

    Returns:
      Per example, in the order of MAIN_PARTS: the share of wrong votes; 1 where the main vote is
      wrong, 0 elsewhere; the share of votes that leave a right main vote: they err; and the share
      of votes that leave a wrong main vote for the right class. The first is the second and third
      less the fourth.

    Source:
      Domingos 2000, "A unified bias-variance decomposition", theorems 2 and 4.
    """
    shares = np.eye(num_classes)[votes].mean((0, 1))
    right = shares[np.arange(len(labels)), labels]
    biased = shares.argmax(-1) != labels
    return np.stack(
        [1.0 - right, biased, np.where(biased, 0.0, 1.0 - right), np.where(biased, right, 0.0)]
    )


def jackknife_error(
    statistic: Callable[[Num[np.ndarray, "..."]], Float[np.ndarray, "..."]],
    members: Num[np.ndarray, "R ..."],
) -> Float[np.ndarray, "..."]:
    """Estimate the standard error of a statistic over training sets, leaving out one at a time.

    Args:
      statistic: (members with fewer sets) -> number or array.
      members: [R, ...], R ≥ 3.

    Returns:
      In the unit of the statistic; nan where there are fewer than three sets.

    Source:
      Efron, Stein 1981, "The jackknife estimate of variance", eq. 1.1.
    """
    num_sets = len(members)
    if num_sets < 3:
        return np.full_like(statistic(members), np.nan)
    left = np.stack([statistic(np.delete(members, r, axis=0)) for r in range(num_sets)])
    return np.sqrt((num_sets - 1) * np.mean(np.square(left - left.mean(0)), axis=0))


def shown_parts(decomposition: np.ndarray) -> np.ndarray:
    """Put the variance of starts and of pairs together, what a start changes on a given set.

    Of their sum the standard error is taken as if they were independent.

    Args:
      decomposition: [..., 5, 2], in the order of PARTS: value, standard error.

    Returns:
      [..., 4, 2], in the order of SHOWN_PARTS.
    """
    value, error = np.moveaxis(decomposition[..., 3:, :], -1, 0)
    starts = np.stack([value.sum(axis=-1), np.hypot(error[..., 0], error[..., 1])], axis=-1)
    return np.concatenate([decomposition[..., :3, :], starts[..., None, :]], axis=-2)


def decompose(
    logits: np.ndarray, labels: np.ndarray, num_classes: int, diverged: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Decompose one network's squared (Brier) and zero-one error, averaged over test examples.

    The zero-one error, the share of wrong answers, is half the squared error of one-hot votes. A
    start that diverged on any set is left out on all.

    Args:
      logits: [R, M, N, K].
      labels: [N].
      num_classes: K.
      diverged: [R, M], -1 = never.

    Returns:
      [loss, part, 2], the parts with jackknife standard errors over sets, and [4], those of
      `main_prediction`; nan where fewer than two starts are left.

    Source:
      Kohavi, Wolpert 1996, "Bias plus variance decomposition for zero-one loss functions", eq. 3.
    """
    kept = logits[:, (diverged < 0).all(axis=0)].astype(np.float64)
    if kept.shape[1] < 2:
        return np.full((2, len(PARTS), 2), np.nan), np.full(len(MAIN_PARTS), np.nan)
    one_hot, votes = np.eye(num_classes), kept.argmax(-1)

    def statistic(outputs: np.ndarray) -> np.ndarray:
        return squared_decomposition(outputs, one_hot[labels]).mean(axis=1)

    brier, zero_one = (
        np.stack([statistic(x), jackknife_error(statistic, x)], axis=-1)
        for x in (scipy.special.softmax(kept, axis=-1), one_hot[votes])
    )
    main = main_prediction(votes, labels, num_classes).mean(axis=1)
    return np.stack([brier, zero_one / 2]), main
