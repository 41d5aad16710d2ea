"""The average cat, the average dog, and their difference, which is a classifier."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from catdog_jax.figures import style
from catdog_jax.figures.tiles import normalised

PICTURE = 1.55  # inches, width of one picture
SCALE = 0.45  # inches, room for the scale below it
TITLE, LINE = 0.1, 0.16  # inches, room for a title and for each of its lines
COLUMNS = 5
NUM_BINS = 40  # even: the boundary at 0 splits no bin


@style.look()
def average_animals(
    means: Float[np.ndarray, "K H W 3"],
    projections: Float[np.ndarray, " N"],
    labels: Int[np.ndarray, " N"],
    weights: Float[np.ndarray, "R H W 3"],
    rungs: Sequence[str],
    accuracies: Sequence[float],
    names: Sequence[str],
    *,
    command: str,
    note: str = "",
) -> Figure:
    """Draw two averages, their difference, where it puts the test pictures, and other weights.

    Args:
      means: [K, H, W, 3], average training picture of each class, pixels in 0..1; the first two
        classes are drawn.
      projections: [N], w · x + b of the test examples, where w is the difference of the first two
        averages: > 0 is called class 1.
      labels: [N], in 0..K-1; examples of further classes are left out.
      weights: [R, H, W, 3], of other linear rungs, class 1 minus class 0; R in 0..5.
      rungs: R entries, their names.
      accuracies: R test accuracies, fraction in 0..1.
      names: K class names.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure: both averages, the difference and the projections in the first line, the weights of
      the other rungs below.
    """
    first, second = names[:2]
    titles = [
        f"{style.entry_title(rung, PICTURE, style.SIZE, 3)}\nright: {accuracy:.3f}"
        for rung, accuracy in zip(rungs, accuracies, strict=True)
    ]
    # A line of pictures is three rows: titles, pictures, scales; heights in inches.
    tall = PICTURE * means.shape[1] / means.shape[2]
    heights = [TITLE + 2 * LINE, tall, SCALE]
    if titles:
        num_lines = 1 + max(title.count("\n") for title in titles)
        heights += [TITLE + num_lines * LINE, tall, SCALE]
    figure = style.sheet(COLUMNS * (PICTURE + 0.15), sum(heights))
    grid = figure.add_gridspec(len(heights), COLUMNS, height_ratios=heights)
    for k, name in enumerate(names[:2]):
        _picture(figure.add_subplot(grid[1, k]), np.clip(means[k], 0.0, 1.0), f"average {name}")
    difference = means[1].astype(np.float64) - means[0]
    _weights(figure.add_subplot(grid[1, 2]), difference, f"average {second}\n− average {first}")
    # In a grid of its own, the room that its labels take is no other's.
    axes = figure.add_subplot(grid[:3, 3:].subgridspec(1, 1)[0])
    right = _projections(axes, projections, labels, names)
    for r, (title, picture) in enumerate(zip(titles, weights, strict=True)):
        _weights(figure.add_subplot(grid[4, r]), picture, title)
    caption = (
        f"The average of all training pictures of {first} and of {second}, as they are, and the "
        "second minus the first. That difference is a set of weights w, one for each pixel and "
        "colour: a test picture x lies nearer to the average "
        f"{second} exactly where w · x + b > 0, with b = −(|average {second}|² − |average "
        f"{first}|²) / 2. The line at 0 is that hyperplane. A share of {right:.3f} of the test "
        "pictures lies on the side of its class. "
        + "Below: the weights of other linear classifiers, the same formula with numbers from "
        "elsewhere. "
        * bool(titles)
        + "In pictures of weights mid-grey is zero, and each is scaled to its own largest absolute "
        f"weight: a brighter red, green or blue there speaks for {second}, a darker one for "
        f"{first}. {note}"
    )
    title = f"Average {first}, average {second}, and what lies between"
    return style.finish(figure, title, caption, command)


def _picture(axes: Axes, picture, title):
    axes.imshow(picture, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.annotate(
        title, (0.5, 1.0), xycoords="axes fraction", xytext=(0, 4), textcoords="offset points",
        ha="center", va="bottom", linespacing=1.25,
    ).set_in_layout(False)  # fmt: skip
    axes.spines[:].set_visible(True)


def _weights(axes: Axes, weights, title):
    """Draw weights around mid-grey, with the scale below."""
    _picture(axes, normalised(weights), title)
    largest = float(np.abs(np.where(np.isfinite(weights), weights, 0.0)).max())
    scale = axes.inset_axes((0.2, -0.1, 0.6, 0.05))
    scale.set_in_layout(False)
    style.tidy(scale)
    scale.imshow(np.linspace(0, 1, 64)[None], cmap="gray", vmin=0, vmax=1, aspect="auto")
    scale.set_yticks([])
    scale.set_xticks([0, 31.5, 63], [f"−{largest:.2g}", "0", f"+{largest:.2g}"])
    scale.tick_params(labelsize=7, length=2)
    scale.spines[:].set_visible(True)


def _projections(axes, projections, labels, names):
    """Draw where the test pictures of two classes lie, and return the share that lies right."""
    asked = (labels < 2) & np.isfinite(projections)
    values, said = projections[asked].astype(np.float64), labels[asked]
    right = ((values > 0) == said).mean()
    reach = 1.02 * np.abs(values).max()
    edges = np.linspace(-reach, reach, NUM_BINS + 1).tolist()
    for k, (line, hatch) in enumerate((("-", None), ("--", "////"))):
        axes.hist(
            values[said == k], edges, histtype="stepfilled", label=names[k], linestyle=line,
            facecolor=to_rgba(style.colour(k), 0.25), edgecolor=style.colour(k), linewidth=1.3,
            hatch=hatch,
        )  # fmt: skip
    axes.axvline(0.0, color=style.INK, linewidth=1.0)
    axes.set(xlim=(-reach, reach), ylim=(0, axes.get_ylim()[1] * 1.3))
    axes.set(xlabel="w · x + b, of every test picture x", ylabel="test pictures")
    axes.set_title(f"right: {right:.3f} of {values.size:,}")
    where = {"transform": axes.transAxes, "va": "top"}
    axes.text(0.49, 0.97, f"← called {names[0]}", ha="right", **where)
    axes.text(0.51, 0.97, f"called {names[1]} →", ha="left", **where)
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 0.9), handlelength=1.2, borderpad=0.1)
    return right
