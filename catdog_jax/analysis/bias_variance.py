"""Bias and variance: how much of an error every training shares, and what differs between them.

Members are trained from M random starts on each of R training sets, the same starts on every set. A
prediction is then mean + part of its set + part of its start + part of the pair, and the mean
squares of the two-way analysis of variance give the variance of each part without bias.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num


class Decomposition(NamedTuple):
    """The expected loss of each test example and its parts; all [N] float64.

    loss = bias + from_sets + from_starts + from_pairs, exactly. The parts are unbiased, so that one
    may come out slightly below 0.

    Attributes:
      loss: mean over all members.
      bias: of the mean prediction over all starts and sets, squared; what noise there is in the
        labels is part of it.
      from_sets: variance over training sets of the mean over starts.
      from_starts: variance over starts of the mean over training sets.
      from_pairs: variance that is neither: what a start does on one set and not on another.
    """

    loss: Float[np.ndarray, "*N"]
    bias: Float[np.ndarray, "*N"]
    from_sets: Float[np.ndarray, "*N"]
    from_starts: Float[np.ndarray, "*N"]
    from_pairs: Float[np.ndarray, "*N"]

    @property
    def within_sets(self) -> Float[np.ndarray, "*N"] | np.float64:
        """Mean over sets of the variance over starts: the law of total variance's other part."""
        return self.from_starts + self.from_pairs

    @property
    def variance(self) -> Float[np.ndarray, "*N"] | np.float64:
        """Variance over starts and sets together."""
        return self.from_sets + self.within_sets

    def mean(self) -> "Decomposition":
        """Average every part over the examples."""
        return Decomposition(*(np.asarray(part.mean()) for part in self))


def squared_decomposition(
    outputs: Num[np.ndarray, "R M N K"], targets: Num[np.ndarray, "N K"]
) -> Decomposition:
    """Decompose the squared error |output - target|², summed over the K outputs.

    With class probabilities and one-hot targets this is the Brier score.

    Args:
      outputs: [R, M, N, K], of R ≥ 2 training sets and M ≥ 2 starts.
      targets: [N, K].

    Returns:
      Parts per example, in the unit of the targets squared.

    Raises:
      ValueError: fewer than two sets or starts.

    Source:
      Geman, Bienenstock, Doursat 1992, "Neural networks and the bias/variance dilemma", eq. 2.4;
      Neal et al. 2018, "A modern take on the bias-variance tradeoff in neural networks", sec. 4
      (the law of total variance over sets and starts); Yang et al. 2020, "Rethinking bias-variance
      trade-off", sec. 2 (unbiased estimators); Searle, Casella, McCulloch 1992, "Variance
      components", ch. 4 (the two-way mean squares).
    """
    num_sets, num_starts = outputs.shape[:2]
    if min(num_sets, num_starts) < 2:
        raise ValueError(f"{num_sets} training sets and {num_starts} starts: give at least 2 each")
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
    loss = np.square(values - targets).sum(-1).mean((0, 1))
    return Decomposition(loss, bias, from_sets, from_starts, from_pairs)


def zero_one_decomposition(
    votes: Int[np.ndarray, "R M N"], labels: Int[np.ndarray, " N"], num_classes: int
) -> Decomposition:
    """Decompose the share of wrong answers: half the squared error of one-hot votes.

    Args:
      votes: [R, M, N] class indices, of R ≥ 2 training sets and M ≥ 2 starts.
      labels: [N].
      num_classes: K.

    Returns:
      Parts per example; the loss is the error rate, 0..1.

    Raises:
      ValueError: fewer than two sets or starts.

    Source:
      Kohavi, Wolpert 1996, "Bias plus variance decomposition for zero-one loss functions", eq. 3.
    """
    one_hot = np.eye(num_classes)
    whole = squared_decomposition(one_hot[votes], one_hot[labels])
    return Decomposition(*(part / 2 for part in whole))


class MainPrediction(NamedTuple):
    """The error rate of each test example around the most frequent vote; all [N] float64.

    loss = bias + unbiased_variance - helpful_variance.

    Attributes:
      loss: share of wrong votes.
      bias: 1 where the most frequent vote is wrong, 0 elsewhere.
      unbiased_variance: share of votes that leave a right main vote: they err.
      helpful_variance: share of votes that leave a wrong main vote for the right class.
    """

    loss: Float[np.ndarray, " N"]
    bias: Float[np.ndarray, " N"]
    unbiased_variance: Float[np.ndarray, " N"]
    helpful_variance: Float[np.ndarray, " N"]


def main_prediction(
    votes: Int[np.ndarray, "R M N"], labels: Int[np.ndarray, " N"], num_classes: int
) -> MainPrediction:
    """Decompose the share of wrong answers around the main prediction.

    Args:
      votes: [R, M, N] class indices; among equally frequent ones the first class is the main one.
      labels: [N].
      num_classes: K.

    Source:
      Domingos 2000, "A unified bias-variance decomposition", theorems 2 and 4.
    """
    shares = np.eye(num_classes)[votes].mean((0, 1))
    main = shares.argmax(-1)
    right = np.take_along_axis(shares, labels[:, None].astype(np.int64), 1)[:, 0]
    biased = main != labels
    return MainPrediction(
        loss=1.0 - right,
        bias=biased.astype(np.float64),
        unbiased_variance=np.where(biased, 0.0, 1.0 - right),
        helpful_variance=np.where(biased, right, 0.0),
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


PARTS = ("error", "bias", "from_sets", "from_starts", "from_pairs")
SHOWN_PARTS = ("error", "bias", "from_sets", "from_starts_on_a_set")


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

    A start that diverged on any set is left out on all.

    Args:
      logits: [R, M, N, K].
      labels: [N].
      num_classes: K.
      diverged: [R, M], -1 = never.

    Returns:
      [loss, part, 2], the parts with jackknife standard errors over sets, and [4], those of
      `MainPrediction`; nan where fewer than two starts are left.
    """
    kept = logits[:, (diverged < 0).all(axis=0)].astype(np.float64)
    if kept.shape[1] < 2:
        return np.full((2, len(PARTS), 2), np.nan), np.full(4, np.nan)
    powers = np.exp(kept - kept.max(-1, keepdims=True))
    probabilities, votes = powers / powers.sum(-1, keepdims=True), kept.argmax(-1)
    targets = np.eye(num_classes)[labels]

    def squared(x: np.ndarray) -> np.ndarray:
        return np.array(squared_decomposition(x, targets).mean())

    def zero_one(x: np.ndarray) -> np.ndarray:
        return np.array(zero_one_decomposition(x, labels, num_classes).mean())

    parts = [
        np.stack([statistic(x), jackknife_error(statistic, x)], axis=-1)
        for statistic, x in ((squared, probabilities), (zero_one, votes))
    ]
    main = main_prediction(votes, labels, num_classes)
    return np.stack(parts), np.mean(main, axis=1)
