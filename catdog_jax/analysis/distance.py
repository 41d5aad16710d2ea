"""How far apart the weights of the members lie."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

CHUNK = 1 << 22  # float64 numbers held at once: 32 MiB
CLOSE = 1e-6  # squared distance, over the squared radii, below which a Gram matrix is too coarse


def flatten_members(params: Any) -> Float[np.ndarray, "M D"]:
    """Lay the weights of each member out in one row.

    Args:
      params: pytree of float arrays [M, ...], members stacked along the first axis.

    Returns:
      [M, D] in the widest type of the leaves, in the order of `jax.tree.leaves`.
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def pairwise_weight_distance(weights: Float[np.ndarray, "M D"]) -> Float[np.ndarray, "M M"]:
    """Measure the Euclidean distance between the weights of every two members.

    By the Gram matrix of the weights around their mean, in float64. Members that are still much
    closer to each other than to the mean are measured again by their difference, because there
    the Gram matrix has lost its digits.

    Args:
      weights: [M, D].

    Returns:
      [M, M] float64, in units of the weights, symmetric, zero on the diagonal. The row and the
      column of a member with a weight that is not finite are nan.
    """
    alive = np.isfinite(weights).all(axis=1)
    distance = np.full((len(weights), len(weights)), np.nan)
    if alive.any():
        distance[np.ix_(alive, alive)] = _distance(weights if alive.all() else weights[alive])
    return distance


def weight_distances(
    weights: Float[np.ndarray, "M D"],
) -> tuple[Float[np.ndarray, "M M"], Float[np.ndarray, "M M"]]:
    """Measure the distance of every two members, and over the mean length of the two.

    Args:
      weights: [M, D].

    Returns:
      [M, M] float64, of `pairwise_weight_distance`, and [M, M] float64 in 0..2: 0 for equal weights
      (also where both are zero), √2 for orthogonal weights of equal length, 2 for opposite ones.
    """
    norms = np.sqrt(sum(np.einsum("md,md->m", part, part) for part in _chunks(weights)))
    length = 0.5 * (norms[:, None] + norms[None, :])
    distance = pairwise_weight_distance(weights)
    return distance, distance / np.where(length > 0, length, 1.0)


def way_moved(
    start: Float[np.ndarray, "M D"], end: Float[np.ndarray, "M D"]
) -> Float[np.ndarray, " M"]:
    """Measure how far training moved each member, over the length of its starting weights."""
    parts = [
        np.stack([np.einsum("md,md->m", x, x) for x in (one, two - one)])
        for one, two in zip(_chunks(start), _chunks(end), strict=True)
    ]
    length, moved = np.sqrt(sum(parts))
    return moved / np.where(length > 0, length, 1.0)


def _chunks(weights):
    width = max(1, CHUNK // len(weights))
    for start in range(0, weights.shape[1], width):
        yield weights[:, start : start + width].astype(np.float64)


def _distance(weights):
    num_members = len(weights)
    gram = np.zeros((num_members, num_members))
    for part in _chunks(weights):
        part -= part.mean(axis=0)
        gram += part @ part.T
    radius = np.diag(gram)
    squared = radius[:, None] + radius[None, :] - 2.0 * gram
    close = np.triu(squared <= CLOSE * (radius[:, None] + radius[None, :]), k=1)
    for i in np.flatnonzero(close.any(axis=1)):
        for j in np.flatnonzero(close[i]):
            difference = weights[i].astype(np.float64) - weights[j]
            squared[i, j] = squared[j, i] = difference @ difference
    np.fill_diagonal(squared, 0.0)
    return np.sqrt(np.maximum(0.5 * (squared + squared.T), 0.0))
