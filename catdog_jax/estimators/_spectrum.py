"""One eigendecomposition of the data serves every penalty and every fold.

The features are rotated into their principal axes, where their scatter is diagonal. There a
penalised inverse costs nothing, and the inverse without a fold is a small correction (Woodbury
1950), so cross-validation needs no second decomposition and equals refitting.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int, Num

BLOCK = 4096  # columns turned into float64 at a time


class Spectrum(NamedTuple):
    """Centred features in their principal axes.

    Attributes:
      mean: [D] float64, mean of the features.
      scores: [N, R] float64, the centred features along the axes, R ≤ min(N, D).
      values: [R] float64 > 0, descending; the scatter `scores.T @ scores` is their diagonal.
      features: [N, D], as given.
      axes: [D, R] float64, or None where N < D: then the axes are never formed.
    """

    mean: np.ndarray
    scores: np.ndarray
    values: np.ndarray
    features: np.ndarray
    axes: np.ndarray | None

    def lift(self, weights: Float[np.ndarray, "R T"]) -> Float[np.ndarray, "D T"]:
        """Turn weights of the scores into weights of the features."""
        if self.axes is not None:
            return self.axes @ weights
        rows = self.scores @ (weights / self.values[:, None])
        blocks = [block.T @ rows for block in centred_blocks(self.features, self.mean)]
        return np.concatenate(blocks)

    @property
    def mean_variance(self) -> float:
        """Average variance of one feature."""
        num_examples, size = self.features.shape
        return float(self.values.sum() / (num_examples * size))


def centred_blocks(
    features: Num[np.ndarray, "N D"], mean: Float[np.ndarray, " D"]
) -> Iterator[Float[np.ndarray, "N block"]]:
    """Yield the centred features, some columns at a time, as float64."""
    for start in range(0, features.shape[1], BLOCK):
        yield features[:, start : start + BLOCK].astype(np.float64) - mean[start : start + BLOCK]


def spectrum(features: Num[np.ndarray, "N D"]) -> Spectrum:
    """Rotate features into their principal axes.

    The smaller one of the D×D and the N×N form is decomposed.

    Args:
      features: [N, D].

    Returns:
      The spectrum; axes along which the data do not vary are left out.
    """
    num_examples, size = features.shape
    mean = features.mean(axis=0, dtype=np.float64)
    small = size <= num_examples
    if small:
        centred = features.astype(np.float64) - mean
        gram = centred.T @ centred
    else:
        gram = np.zeros((num_examples, num_examples))
        for block in centred_blocks(features, mean):
            gram += block @ block.T
    values, vectors = np.linalg.eigh(gram)
    floor = values[-1] * max(num_examples, size) * np.finfo(np.float64).eps
    kept = np.flatnonzero(values > max(floor, 0.0))[::-1]
    values, vectors = values[kept], vectors[:, kept]
    if small:
        return Spectrum(mean, centred @ vectors, values, features, vectors)
    return Spectrum(mean, vectors * np.sqrt(values), values, features, None)


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
    small = np.eye(removed.shape[0]) - scaled @ scaled.T
    plain = inverse[:, None] * targets
    factor = scipy.linalg.cho_factor(small, lower=True, overwrite_a=True, check_finite=False)
    correction = scipy.linalg.cho_solve(factor, removed @ plain, check_finite=False)
    return plain + inverse[:, None] * (removed.T @ correction)


def fold_indices(num_examples: int, folds: int) -> list[Int[np.ndarray, " n"]]:
    """Deal the examples to folds, shuffled by a fixed seed; the sizes differ by at most one."""
    order = np.random.default_rng(0).permutation(num_examples)
    return [np.sort(order[fold::folds]) for fold in range(folds)]
