"""One eigendecomposition of the data serves every penalty and every fold.

The features are rotated into their principal axes, where their scatter is diagonal. There a
penalised inverse costs nothing, and the inverse without a fold is a small correction of it: so
cross-validation needs no second decomposition, and yet equals refitting.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int, Num

BLOCK = 4096  # columns turned into float64 at a time
TOLERANCE = 1e-11  # of a residual, relative to the right-hand side
ITERATIONS = 60


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
    penalties: Float[np.ndarray, " P"],
    targets: Float[np.ndarray, "R T"],
) -> Float[np.ndarray, "P R T"]:
    """Solve (diag(values) − removedᵀ removed + penalty · 1) x = targets for every penalty.

    By conjugate gradients, all penalties at once, preconditioned by the diagonal: a fold takes
    about the same share of every direction, so a dozen products do. What has not met the tolerance
    by then (a tiny penalty, fewer examples than features) is solved directly.

    Args:
      values: scatter of all the data, along its axes.
      removed: rows whose outer products leave the scatter.
      penalties: > 0.
      targets: right-hand sides.

    Returns:
      The solutions, to a relative residual of 1e-11.

    Source:
      Hestenes, Stiefel 1952, "Methods of conjugate gradients for solving linear systems"; Woodbury
      1950, "Inverting modified matrices".
    """
    scale = 1.0 / np.sqrt(values + penalties[:, None])  # [P, R]
    scale = np.repeat(scale.T, targets.shape[1], axis=1)  # [R, P·T], a column per problem
    goal = scale * np.tile(targets, len(penalties))
    found, met = _conjugate_gradients(scale, removed, goal)
    shape = (len(values), len(penalties), targets.shape[1])
    solutions = np.moveaxis((scale * found).reshape(shape), 1, 0)
    for p in np.flatnonzero(~met.reshape(shape[1:]).all(axis=1)):
        solutions[p] = _solve_directly(values, removed, penalties[p], targets)
    return solutions


def _conjugate_gradients(
    scale: np.ndarray, removed: np.ndarray, goal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Solve (1 − scale removedᵀ removed scale) y = goal, column by column; say which have met."""
    found, residual = np.zeros_like(goal), goal.copy()
    direction, square = goal.copy(), np.sum(goal**2, axis=0)
    enough = TOLERANCE**2 * square
    for _ in range(ITERATIONS):
        open_ = square > enough
        if not open_.any():
            break
        image = direction - scale * (removed.T @ (removed @ (scale * direction)))
        curvature = np.sum(direction * image, axis=0)
        step = np.where(open_, square / np.where(open_, curvature, 1.0), 0.0)
        found += step * direction
        residual -= step * image
        before, square = square, np.sum(residual**2, axis=0)
        direction = residual + np.where(open_, square / np.where(open_, before, 1.0), 0) * direction
    return found, square <= enough


def _solve_directly(
    values: np.ndarray, removed: np.ndarray, penalty: float, targets: np.ndarray
) -> np.ndarray:
    inverse = 1.0 / (values + penalty)
    scaled = removed * np.sqrt(inverse)
    small = np.eye(removed.shape[0]) - scaled @ scaled.T
    plain = inverse[:, None] * targets
    factor = scipy.linalg.cho_factor(small, lower=True, overwrite_a=True, check_finite=False)
    correction = scipy.linalg.cho_solve(factor, removed @ plain, check_finite=False)
    return plain + inverse[:, None] * (removed.T @ correction)


def fold_indices(
    num_examples: int, folds: int, labels: Int[np.ndarray, " N"] | None = None
) -> list[Int[np.ndarray, " n"]]:
    """Deal the examples to folds, shuffled by a fixed seed.

    Args:
      num_examples: N ≥ 2.
      folds: wanted parts ≥ 2; at most N are made.
      labels: where given, every class is spread evenly over the folds.

    Returns:
      The held-out examples of each fold, ascending; the sizes differ by at most one.
    """
    order = np.random.default_rng(0).permutation(num_examples)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    folds = min(folds, num_examples)
    return [np.sort(order[fold::folds]) for fold in range(folds)]
