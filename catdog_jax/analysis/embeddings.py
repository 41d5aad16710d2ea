"""Where words lie: the plane they are drawn in, who is next to whom, and whether members agree."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Integer


class WordPlanes(NamedTuple):
    """Words seen in the plane of their two principal components, one plane per member.

    Attributes:
      coordinates: [M, V, 2] float64, around the mean word, in units of the vectors; every plane
        after the first is turned, and mirrored where that helps, to lie on the first.
      explained: [M, 2] float64, fraction of the variance along the two components, in 0..1,
        descending; zero where all words are alike.
    """

    coordinates: Float[np.ndarray, "M V 2"]
    explained: Float[np.ndarray, "M 2"]


def word_planes(vectors: Float[np.ndarray, "M V D"]) -> WordPlanes:
    """Draw the words of every member in its own best plane, all planes turned alike.

    Turning and mirroring change no distance within a plane: members are free to use any axes.

    Args:
      vectors: [M, V, D], the words' vectors; D ≥ 2.

    Returns:
      WordPlanes.

    Source: Schönemann 1966, "A generalized solution of the orthogonal Procrustes problem".
    """
    coordinates = np.zeros((*vectors.shape[:2], 2))
    explained = np.zeros((len(vectors), 2))
    for member, words in enumerate(vectors.astype(np.float64)):
        centred = words - words.mean(axis=0)
        left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
        coordinates[member] = left[:, :2] * sizes[:2]
        if sizes.any():
            explained[member] = sizes[:2] ** 2 / np.square(sizes).sum()
        if member:
            first, _, second = np.linalg.svd(coordinates[member].T @ coordinates[0])
            coordinates[member] = coordinates[member] @ first @ second
    return WordPlanes(coordinates, explained)


def nearest_words(vectors: Float[np.ndarray, "V D"], count: int) -> Int[np.ndarray, "V {count}"]:
    """Find the words whose vectors point most nearly the same way.

    Args:
      vectors: [V, D].
      count: k, 1..V-1.

    Returns:
      [V, k] indices, the nearest first by cosine similarity, never the word itself; of equally
      near ones the first. A vector of zeros is as near to one as to another.
    """
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit = vectors / np.where(norms > 0, norms, 1.0)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return np.argsort(-cosines, axis=1, kind="stable")[:, :count]


def neighbour_overlap(nearest: Integer[np.ndarray, "M V k"]) -> Float[np.ndarray, "M M"]:
    """Measure which share of a word's nearest words two members have in common.

    Args:
      nearest: [M, V, k], as `nearest_words` gives them.

    Returns:
      [M, M] float64 in 0..1, mean over the words; 1 on the diagonal. Two members whose neighbours
      have nothing to do with each other have k / (V - 1) in common on average.
    """
    same = nearest[:, None, :, :, None] == nearest[None, :, :, None, :]
    return same.any(axis=-1).mean(axis=(2, 3))
