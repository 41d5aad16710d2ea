"""Many numbers on one line, and pictures, weights and maps as tiles of one panel."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Num
from matplotlib.axes import Axes

from catdog_jax.figures import style

MAX_DOTS = 1000
GAP = 0.08  # between tiles, in sides


def draw_strip(axes: Any, row: int, values: Float[np.ndarray, " n"], colour: str, dot: str) -> None:
    """Draw one row: density above the line, quartiles on it, every value as a dot below it.

    One value is a dot on the line. Dots are left out where there are more than 1,000; their heights
    only keep them apart. The vertical axis must point down.

    Args:
      axes: where.
      row: height of the line; a row is 1 high.
      values: [n], n ≥ 0; what is not finite is left out.
      colour: of the row.
      dot: what one dot is, for the legend.
    """
    values = values[np.isfinite(values)].astype(np.float64)
    if values.size < 2:
        axes.plot(values, [row] * values.size, "o", color=colour, ms=4.5, zorder=6, label=dot)
        return
    heights, places = density(values)
    above = row - 0.07
    axes.fill_between(places, above - 0.33 * heights, above, color=colour, alpha=0.3, linewidth=0)
    low, first, median, third, high = np.percentile(values, [0, 25, 50, 75, 100])
    flat: Any = {"color": colour, "solid_capstyle": "butt"}
    axes.plot([first, third], [row, row], linewidth=5, label="middle half", **flat)
    axes.plot([low, high], [row, row], linewidth=1.0, label="all", **flat)
    axes.plot([median], [row], **style.hollow(style.INK, zorder=4, label="median"))
    if values.size <= MAX_DOTS:
        size, alpha = 4.0 if values.size <= 64 else 2.2, max(0.25, style.thin(values.size))
        heights = row + 0.13 + 0.24 * spread(values.size)
        dots = {"markersize": size, "alpha": alpha, "mew": 0, "label": dot}
        axes.plot(values, heights, "o", color=colour, **dots)


def density(values: Float[np.ndarray, " n"]) -> tuple[Float[np.ndarray, " g"], np.ndarray]:
    """Smooth a histogram with a Gaussian, highest point 1.

    Args:
      values: [n], finite, n ≥ 1.

    Returns:
      heights [g] in 0..1 and places [g]; empty where all values are equal.

    Source:
      Silverman 1986, "Density estimation", eq. 3.31 (width of the Gaussian).
    """
    quartiles = np.percentile(values, [25, 75])
    scale = min(values.std(), (quartiles[1] - quartiles[0]) / 1.34) or values.std()
    # Counts lie on a lattice, which is not to be seen as a comb.
    lattice = np.ptp(values) / max(1, np.unique(values).size - 1)
    width = max(0.9 * scale * values.size**-0.2, 0.8 * lattice)
    if values.size < 3 or width <= 1e-9 * max(1e-30, np.abs(values).max()):
        return np.empty(0), np.empty(0)
    edges = np.linspace(values.min() - 3 * width, values.max() + 3 * width, 257)
    places = 0.5 * (edges[1:] + edges[:-1])
    distances = (places[:, None] - places[None, :]) / width
    heights = np.exp(-0.5 * distances**2) @ np.histogram(values, edges)[0]
    return heights / heights.max(), places


def spread(count: int) -> Float[np.ndarray, " {count}"]:
    """Return `count` places in 0..1 that never crowd: multiples of the golden ratio, modulo 1."""
    return np.arange(count) * 0.6180339887498949 % 1.0


def name_models(axes: Any, models: Sequence[str], width: float) -> None:
    """Turn the vertical axis into one row per model, the first on top; names `width` inches."""
    names = [style.model_title(model, width, 8.5, 2) for model in models]
    style.name_rows(axes, range(len(models)), names, 8.5)
    axes.set_ylim(len(models) - 0.5, -0.5)
    for row in range(1, len(models)):
        axes.axhline(row - 0.5, color=style.PALE, linewidth=0.6, zorder=0)


def centres(count: int, pitch: float = 1 + GAP) -> Float[np.ndarray, " {count}"]:
    """Return the centres of so many tiles in a row, a `pitch` apart, in sides of a tile."""
    return np.arange(count) * pitch + 0.5


def draw_tiles(
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
    return np.clip(finite / np.maximum(largest, 1e-30), -1, 1)


def normalised(weights: Float[np.ndarray, "*n h w 3"]) -> Float[np.ndarray, "*n h w 3"]:
    """Map weights to colours: zero to mid-grey, the largest absolute weight to 0 or 1."""
    return 0.5 + 0.5 * scaled(weights, 3)
