"""The plane in which the members' paths through weight space are seen best."""

import numpy as np
from jaxtyping import Float

from catdog_jax.estimators._rows import spectrum


def principal_plane(
    sketches: Float[np.ndarray, "M E S"],
) -> tuple[Float[np.ndarray, "M E 2"], Float[np.ndarray, " 2"]]:
    """Find the two directions in which the snapshots of all members together vary most.

    The sign of an axis is fixed: its largest entry is positive.

    Args:
      sketches: [M, E, S], one row of numbers per member and evaluation; S ≥ 2.

    Returns:
      Coordinates [M, E, 2] float64, in units of the sketches, around the mean of all snapshots, nan
      for a snapshot that is not finite; and [2] float64, the fraction of the variance along each
      axis, in 0..1, descending, zero where nothing moves.

    Source:
      Li et al. 2018, "Visualizing the loss landscape of neural nets", sec. 7 (principal
      components of optimisation paths).
    """
    points = sketches.reshape(-1, sketches.shape[-1])
    finite = np.isfinite(points).all(axis=1)
    coordinates, explained = np.full((len(points), 2), np.nan), np.zeros(2)
    if finite.any():
        found = spectrum(points[finite])
        leading = np.eye(len(found.values), 2)  # fewer axes than two: zeros in their place
        axes = found.lift(leading)
        leading *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
        coordinates[finite] = found.scores @ leading
        explained = found.values @ np.abs(leading) / (found.values.sum() or 1.0)
    return coordinates.reshape(*sketches.shape[:2], 2), explained
