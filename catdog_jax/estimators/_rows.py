"""What estimators share: their examples as rows, the rows' principal axes, and cross-validation.

One eigendecomposition of the data serves every penalty and every fold. The features are rotated
into their principal axes, where their scatter is diagonal. There a penalised inverse costs nothing,
and the inverse without a fold is a small correction of it: so cross-validation needs no second
decomposition, and yet equals refitting.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int, Num

from catdog_jax.types import InputError

Rows = Num[np.ndarray, "N D"]
Labels = Int[np.ndarray, " N"]
FOLDS = 5


def check_counts(name: str, labels: Labels, num_classes: int, fewest: int) -> None:
    """Check that every class has examples enough.

    Args:
      name: of what needs them, for messages.
      labels: [N] in 0..K-1.
      num_classes: K.
      fewest: examples needed of every class.

    Raises:
      InputError: a class with too few.
    """
    counts = np.bincount(labels, minlength=num_classes)
    if counts.min() < fewest:
        raise InputError(
            f"{name}: class {int(counts.argmin())} has {counts.min()} training examples; "
            f"give at least {fewest} of every class"
        )


class Spectrum(NamedTuple):
    """Centred features in their principal axes.

    Attributes:
      mean: [D] float64, mean of the features.
      centred: [N, D] float64, the features less their mean.
      scores: [N, R] float64, the centred features along the axes, R ≤ min(N, D).
      values: [R] float64 > 0, descending; the scatter `scores.T @ scores` is their diagonal.
    """

    mean: Float[np.ndarray, " D"]
    centred: Float[np.ndarray, "N D"]
    scores: Float[np.ndarray, "N R"]
    values: Float[np.ndarray, " R"]

    def lift(self, weights: Float[np.ndarray, "R T"]) -> Float[np.ndarray, "D T"]:
        """Turn weights of the scores into weights of the features."""
        return self.centred.T @ (self.scores @ (weights / self.values[:, None]))


def spectrum(features: Rows) -> Spectrum:
    """Rotate features into their principal axes.

    The smaller one of the D×D and the N×N form is decomposed.

    Args:
      features: [N, D].

    Returns:
      The spectrum; axes along which the data do not vary are left out.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    centred = features - mean
    tall = centred.shape[0] >= centred.shape[1]
    values, vectors = np.linalg.eigh(centred.T @ centred if tall else centred @ centred.T)
    floor = values[-1] * max(centred.shape) * np.finfo(np.float64).eps
    kept = np.flatnonzero(values > max(floor, 0.0))[::-1]
    values, vectors = values[kept], vectors[:, kept]
    return Spectrum(mean, centred, centred @ vectors if tall else vectors * np.sqrt(values), values)


def solve_without(
    values: Float[np.ndarray, " R"],
    removed: Float[np.ndarray, "U R"],
    penalty: float,
    targets: Float[np.ndarray, "R T"],
) -> Float[np.ndarray, "R T"]:
    """Solve (diag(values) − removedᵀ removed + penalty · 1) x = targets.

    Args:
      values: scatter of all the data, along its axes.
      removed: rows whose outer products leave the scatter.
      penalty: > 0.
      targets: right-hand sides.

    Returns:
      The solutions.

    Source:
      Woodbury 1950, "Inverting modified matrices".
    """
    inverse = 1.0 / (values + penalty)
    scaled = removed * np.sqrt(inverse)
    plain = inverse[:, None] * targets
    small = np.eye(len(removed)) - scaled @ scaled.T
    correction = scipy.linalg.solve(small, removed @ plain, assume_a="pos")
    return plain + inverse[:, None] * (removed.T @ correction)


def fold_indices(
    num_examples: int, labels: Int[np.ndarray, " N"] | None = None
) -> list[Int[np.ndarray, " n"]]:
    """Deal the examples to `FOLDS` folds, shuffled by a fixed seed.

    Args:
      num_examples: N ≥ 2; of fewer than `FOLDS` examples each is a fold.
      labels: where given, every class is spread evenly over the folds.

    Returns:
      The held-out examples of each fold, ascending; the sizes differ by at most one.
    """
    order = np.random.default_rng(0).permutation(num_examples)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    folds = min(FOLDS, num_examples)
    return [np.sort(order[fold::folds]) for fold in range(folds)]


def accuracies(
    predict: Callable[[Int[np.ndarray, " n"], Any], Int[np.ndarray, " n"] | int],
    settings: Sequence[Any],
    labels: Labels,
    num_classes: int,
) -> Float[np.ndarray, " S"]:
    """Judge every setting of an estimator on examples left out of the fit.

    Args:
      predict: (held-out examples, setting) -> their classes, by a fit to the others; -1: none.
      settings: S to judge.
      labels: [N]; every class needs two examples.
      num_classes: K.

    Returns:
      [S] float64, accuracy over all held-out examples.

    Raises:
      InputError: a class with too few examples.
    """
    check_counts("cross-validation", labels, num_classes, fewest=2)
    right = np.zeros(len(settings))
    for held_out in fold_indices(len(labels), labels):
        right += [np.sum(predict(held_out, s) == labels[held_out]) for s in settings]
    return right / len(labels)
