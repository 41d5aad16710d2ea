"""Pictures, weights and maps as tiles of one panel."""

from typing import Any

import numpy as np
from jaxtyping import Float, Num
from matplotlib.axes import Axes

GAP = 0.08  # between tiles, in sides


def centres(count: int, pitch: float = 1 + GAP) -> Float[np.ndarray, " {count}"]:
    """Return the centres of so many tiles in a row, a `pitch` apart, in sides of a tile."""
    return np.arange(count) * pitch + 0.5


def block(
    axes: Axes,
    pictures: Num[np.ndarray, "R C *picture"],
    left: float = 0.0,
    *,
    pitch: float = 1 + GAP,
    share: float = 1.0,
    **colours: Any,
) -> None:
    """Draw rows and columns of pictures, and fit the panel to them.

    Args:
      axes: where.
      pictures: [R, C, h, w] or [R, C, h, w, 3], as `Axes.imshow` takes them.
      left: of the first column, in sides of a tile.
      pitch: from one row to the next, in sides.
      share: of a tile's side that is filled, 0..1.
      colours: of `Axes.imshow`.
    """
    rows, columns = pictures.shape[:2]
    for r, y in enumerate(centres(rows, pitch)):
        for c, x in enumerate(left + centres(columns)):
            extent = (x - share / 2, x + share / 2, y + share / 2, y - share / 2)
            axes.imshow(pictures[r, c], extent=extent, interpolation="nearest", **colours)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(xlim=(0, left + columns * (1 + GAP) - GAP), ylim=(rows * pitch - GAP, 0))
    axes.set_aspect("equal", anchor="NW")


def scaled(
    values: Float[np.ndarray, "*shape"], axes: int, percentile: float = 100.0
) -> Float[np.ndarray, "*shape"]:
    """Divide each picture by its largest size, or by a percentile of its sizes.

    Args:
      values: a picture in its last `axes` axes; what is not finite counts as zero.
      axes: 2 or 3.
      percentile: 0..100; what is beyond is cut off.

    Returns:
      The same shape, float64 in -1..1.
    """
    finite = np.where(np.isfinite(values), values, 0.0).astype(np.float64)
    own = tuple(range(-axes, 0))
    largest = np.percentile(np.abs(finite), percentile, axis=own, keepdims=True)
    whole = np.abs(finite).max(axis=own, keepdims=True)
    largest = np.where(largest > 0, largest, np.where(whole > 0, whole, 1.0))
    return np.clip(finite / largest, -1, 1)


def normalised(weights: Float[np.ndarray, "*n h w 3"]) -> Float[np.ndarray, "*n h w 3"]:
    """Map weights to colours: zero to mid-grey, the largest absolute weight to 0 or 1."""
    return 0.5 + 0.5 * scaled(weights, 3)
