"""The average cat, the average dog, and their difference, which is a classifier."""

import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from catdog_jax.figures import style
from catdog_jax.figures.tiles import normalised

COLUMNS = 5  # and so many other linear rungs at most
INCHES = 1.7  # width of a picture with the room beside it
NUM_BINS = 40  # even: the boundary at 0 splits no bin
LEFT_OUT = ("constant", "centroid", "diagonal_centroid")  # nothing, or nearly that difference


@style.look()
def average_animals(data: xr.Dataset) -> Figure:
    """Draw two averages, their difference, where it puts the test pictures, and other weights.

    Args:
      data: `class_mean` (class, row, column, channel), pixels in 0..1, of which the first two
        classes are drawn; `projection` (example), w · x + b, above zero where the second class is
        nearer; `label` (example); where there are linear rungs, their `weights` (linear_rung,
        class, row, column, channel); `test_accuracy` (rung, member), fraction right.

    Returns:
      Figure: both averages, the difference and the projections in the first line, the weights of
      the other rungs below.
    """
    found = data["linear_rung"].values.tolist() if "linear_rung" in data else []
    rungs = [rung for rung in found if rung not in LEFT_OUT][:COLUMNS]
    first, second = data["class"].values[:2].tolist()
    means = data["class_mean"].values.astype(np.float64)
    tall = INCHES * (means.shape[1] / means.shape[2]) + 0.55
    heights = [tall, tall + 0.2][: 1 + bool(rungs)]
    figure = style.sheet(COLUMNS * INCHES, sum(heights))
    grid = figure.add_gridspec(1 + bool(rungs), COLUMNS, height_ratios=heights)
    for k, name in enumerate((first, second)):
        _picture(figure.add_subplot(grid[0, k]), means[k].clip(0, 1), f"average {name}")
    _weights(figure.add_subplot(grid[0, 2]), means[1] - means[0], f"{second} − {first}")
    # In a grid of its own, the room that its labels take is no other's.
    right = _projections(
        figure.add_subplot(grid[0, 3:].subgridspec(1, 1)[0]), data, [first, second]
    )
    for column, rung in enumerate(rungs):
        weights = data["weights"].sel(linear_rung=rung).values
        accuracy = float(data["test_accuracy"].sel(rung=rung).astype(float).mean())
        title = f"{style.model_title(rung, 1.5, style.SIZE)}\nright: {accuracy:.3f}"
        _weights(figure.add_subplot(grid[1, column]), weights[1] - weights[0], title)
    below = "Below: the same formula with numbers from elsewhere. "
    caption = (
        f"The average of all training pictures of {first} and of {second}, and the second minus "
        "the first. That difference is a set of weights w, one for each pixel and colour: a "
        f"picture x lies nearer to the average {second} exactly where w · x + b > 0, with b = "
        f"−(|average {second}|² − |average {first}|²) / 2; the line at 0 is that hyperplane. A "
        f"share of {right:.3f} of the test pictures lies on the side of its class. "
        f"{below * bool(rungs)}In pictures of weights mid-grey is zero, each is scaled to its own "
        f"largest absolute weight, and a brighter colour speaks for {second}, a darker one for "
        f"{first}. {style.source(data)}"
    )
    title = f"Average {first}, average {second}, and what lies between"
    return style.finish(figure, title, caption, data)


def _picture(axes, picture, title):
    axes.imshow(picture, interpolation="nearest")
    axes.set(xticks=[], yticks=[], anchor="S")
    axes.set_title(title, size=style.SIZE, linespacing=1.25, pad=4)
    axes.spines[:].set_visible(True)


def _weights(axes, weights, title):
    """Draw weights around mid-grey, with the scale below."""
    _picture(axes, normalised(weights), title)
    largest = np.abs(np.where(np.isfinite(weights), weights, 0.0)).max()
    grey, place = ScalarMappable(cmap="gray"), {"location": "bottom", "shrink": 0.6, "aspect": 12}
    scale = axes.get_figure().colorbar(grey, ax=axes, pad=0.03, **place)
    scale.set_ticks([0, 0.5, 1], labels=[f"−{largest:.2g}", "0", f"+{largest:.2g}"])
    scale.ax.tick_params(labelsize=7, length=2)


def _projections(axes, data, names):
    """Draw where the test pictures of two classes lie, and return the share that lies right."""
    labels, values = data["label"].values, data["projection"].values.astype(np.float64)
    asked = (labels < 2) & np.isfinite(values)
    values, labels = values[asked], labels[asked]
    right = float(((values > 0) == labels).mean())
    reach = 1.02 * np.abs(values).max()
    edges = np.linspace(-reach, reach, NUM_BINS + 1)
    for k, (line, hatch) in enumerate((("-", None), ("--", "////"))):
        hue = {"facecolor": to_rgba(style.colour(k), 0.25), "edgecolor": style.colour(k)}
        shape = {"histtype": "stepfilled", "linestyle": line, "linewidth": 1.3, "hatch": hatch}
        axes.hist(values[labels == k], edges.tolist(), label=names[k], **hue, **shape)
    axes.axvline(0.0, color=style.INK, linewidth=1.0)
    axes.set(xlim=(-reach, reach), ylim=(0, axes.get_ylim()[1] * 1.3))
    axes.set(xlabel="w · x + b, of every test picture x", ylabel="test pictures")
    axes.set_title(f"right: {right:.3f} of {values.size:,}")
    where = {"transform": axes.transAxes, "va": "top"}
    axes.text(0.49, 0.97, f"← called {names[0]}", ha="right", **where)
    axes.text(0.51, 0.97, f"called {names[1]} →", ha="left", **where)
    return right
