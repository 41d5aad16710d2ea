"""The plane in which the members' paths through weight space are seen best."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Plane(NamedTuple):
    """Paths seen in the plane of their two principal components.

    Attributes:
      coordinates: [M, E, 2] float64, in units of the sketches, around the mean of all snapshots;
        nan for a snapshot that is not finite.
      explained: [2] float64, fraction of the variance along each axis, in 0..1, descending; zero
        where nothing moves.
    """

    coordinates: Float[np.ndarray, "M E 2"]
    explained: Float[np.ndarray, " 2"]


def principal_plane(sketches: Float[np.ndarray, "M E S"]) -> Plane:
    """Find the two directions in which the snapshots of all members together vary most.

    The sign of an axis is fixed: its largest entry is positive.

    Args:
      sketches: [M, E, S], one row of numbers per member and evaluation.

    Returns:
      Plane.

    Source:
      Li et al. 2018, "Visualizing the loss landscape of neural nets", sec. 7 (principal
      components of optimisation paths).
    """
    points = sketches.reshape(-1, sketches.shape[-1]).astype(np.float64)
    finite = np.isfinite(points).all(axis=1)
    coordinates = np.full((len(points), 2), np.nan)
    explained = np.zeros(2)
    if finite.any():
        centred = points[finite] - points[finite].mean(axis=0)
        axes, variance = _components(centred)
        coordinates[finite] = centred @ axes
        total = np.square(centred).sum()
        explained = variance / total if total > 0 else np.zeros(2)
    return Plane(coordinates.reshape(*sketches.shape[:2], 2), explained)


def _components(centred):
    """Return the two leading axes [S, 2] and the squared length [2] along each."""
    num_points, size = centred.shape
    axes = np.zeros((size, 2))
    # The smaller of the two Gram matrices: S is about 1,024, M·E anything from 1 to 100,000.
    if num_points < size:
        _, vectors = np.linalg.eigh(centred @ centred.T)
        vectors = centred.T @ vectors[:, ::-1][:, :2]
        length = np.linalg.norm(vectors, axis=0)
        # Points on a line have one direction: the second would be made of rounding errors.
        vectors = np.where(length > 1e-7 * length.max(), vectors, 0.0)
        vectors = vectors / np.where(length > 0, length, 1.0)
    else:
        _, vectors = np.linalg.eigh(centred.T @ centred)
        vectors = vectors[:, ::-1][:, :2]
    axes[:, : vectors.shape[1]] = vectors
    largest = axes[np.abs(axes).argmax(axis=0), [0, 1]]
    axes *= np.where(largest < 0, -1.0, 1.0)
    return axes, np.square(centred @ axes).sum(axis=0)
