"""Pictures as tiles of one panel, and weights and maps as pictures."""

from typing import Any

import numpy as np
from jaxtyping import Float, Num
from matplotlib.axes import Axes

GAP = 0.08  # between tiles, in sides


def span(count: int, gap: float = GAP) -> float:
    """Return the length of so many tiles in a row, in sides."""
    return count * (1 + gap) - gap


def centres(count: int, gap: float = GAP) -> list[float]:
    """Return the centres of so many tiles in a row, in sides."""
    return [i * (1 + gap) + 0.5 for i in range(count)]


def tile(
    axes: Axes,
    left: float,
    top: float,
    values: Num[np.ndarray, "..."],
    share: float = 1.0,
    **colours: Any,
) -> None:
    """Draw a picture or a map in the middle of a tile.

    Args:
      axes: where.
      left, top: corner of the tile, in sides.
      values: [H, W, 3] or [H, W].
      share: of the tile's side that is filled, 0..1.
      colours: of `Axes.imshow`.
    """
    inset = (1 - share) / 2
    extent = (left + inset, left + 1 - inset, top + 1 - inset, top + inset)
    axes.imshow(values, extent=extent, interpolation="nearest", **colours)


def frame(axes: Axes, width: float, height: float) -> None:
    """Fit a panel to its tiles, without lines around it.

    Args:
      axes: where.
      width, height: of all tiles, in sides.
    """
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_aspect("equal", anchor="NW")


def scaled(
    values: Float[np.ndarray, "*shape"], percentile: float = 100.0
) -> Float[np.ndarray, "*shape"]:
    """Divide by the largest size, or by a percentile of the sizes with what is beyond cut off.

    Args:
      values: any shape; what is not finite counts as zero.
      percentile: 0..100.

    Returns:
      The same shape, float64 in -1..1.
    """
    finite = np.where(np.isfinite(values), values, 0.0).astype(np.float64)
    sizes = np.abs(finite)
    largest = np.percentile(sizes, percentile) or sizes.max() or 1.0
    return np.clip(finite / largest, -1, 1)


def normalised(weights: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    """Map weights to colours: zero to mid-grey, the largest absolute weight to 0 or 1.

    Args:
      weights: [h, w, 3]; what is not finite counts as zero.

    Returns:
      [h, w, 3] float64 in 0..1.
    """
    return 0.5 + 0.5 * scaled(weights)
