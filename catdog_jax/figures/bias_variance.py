"""Bias and variance of networks against their width, depth, and number of training examples."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from catdog_jax.figures import style

LINES = ("error", "bias²", "variance from training sets", "variance from starts")
STYLES: list[dict[str, Any]] = [
    {"color": colour, "linestyle": line, "marker": marker, "linewidth": 1.4, "markersize": 4}
    for colour, line, marker in (
        (style.INK, "--", "D"),
        (style.PALETTE[0], "-", "o"),
        (style.PALETTE[1], "-", "s"),
        (style.PALETTE[2], "-", "^"),
    )
]


class Sweep(NamedTuple):
    """Networks that differ in one thing.

    Attributes:
      x: [X] what differs, rising.
      label: of the axis.
      title: what is the same for all.
      log: whether x is drawn in powers of two.
      values: [X, 2, 4] squared and zero-one loss; error, bias, variance of sets, of starts.
      errors: [X, 2, 4] standard errors; nan where unknown.
      train_accuracy, test_accuracy: [X, M] of every member.
    """

    x: Int[np.ndarray, " X"]
    label: str
    title: str
    log: bool
    values: Float[np.ndarray, "X 2 4"]
    errors: Float[np.ndarray, "X 2 4"]
    train_accuracy: Float[np.ndarray, "X M"]
    test_accuracy: Float[np.ndarray, "X M"]


@style.look()
def bias_variance(
    sweeps: Mapping[str, Sweep], *, num_starts: int, num_sets: int, disjoint: bool, command: str
) -> Figure:
    """Draw error, bias and variances for every sweep, and the accuracy of the members below.

    Args:
      sweeps: name -> networks that differ in one thing; a column each.
      num_starts, num_sets: how many there are of each.
      disjoint: whether no example is in two training sets.
      command: the command that computed the numbers.

    Returns:
      Figure.
    """
    figure = style.sheet(3.1 * len(sweeps), 6.6)
    panels = figure.subplots(3, len(sweeps), sharey="row", sharex="col", squeeze=False)
    for column, sweep in enumerate(sweeps.values()):
        for row, axes in enumerate(panels[:2, column]):
            for line, look in enumerate(STYLES):
                errors = np.nan_to_num(sweep.errors[:, row, line])
                axes.errorbar(sweep.x, sweep.values[:, row, line], errors, elinewidth=0.8, **look)
            axes.axhline(0.0, color=style.PALE, linewidth=0.8, zorder=0)
        below = panels[2, column]
        _accuracies(below, sweep)
        below.set(xscale="log" if sweep.log else "linear", xlabel=sweep.label)
        below.set_xticks(sweep.x, [str(x) for x in sweep.x])
        below.minorticks_off()
        panels[0, column].set_title(sweep.title, loc="left")
    names = ("squared error of probabilities", "share of wrong answers", "accuracy of every member")
    for axes, name in zip(panels[:, 0], names, strict=True):
        axes.set_ylabel(name)
    handles = [style.handle(label, **look) for label, look in zip(LINES, STYLES, strict=True)]
    handles += [
        style.handle("train accuracy", marker="_", color=style.GREY),
        style.handle("test accuracy", marker="_", color=style.colour(3)),
    ]
    apart = "that share no example" if disjoint else "that overlap, so their variance is too small"
    caption = (
        f"MLPs from {num_starts} random starts, the same on each of {num_sets} training sets "
        f"{apart}. Error = bias² + variance from training sets + variance from starts (on a given "
        "set), unbiased estimates, averaged over the test examples; noise in the labels counts as "
        "bias. Above, of class probabilities (Brier score); in the middle, of votes (Kohavi and "
        "Wolpert 1996). "
    )
    if any(np.isfinite(sweep.errors).any() for sweep in sweeps.values()):
        caption += "Bars: one standard error over training sets (jackknife). "
    caption += "Below, thick dashes are means."
    title = "What an error is made of: the formula, the examples, the start"
    return style.finish(figure, title, caption, command, handles)


def _accuracies(axes: Axes, sweep: Sweep) -> None:
    """Mark train and test accuracy of every member, and their means."""
    for values, hue in ((sweep.train_accuracy, style.GREY), (sweep.test_accuracy, style.colour(3))):
        x = np.repeat(sweep.x, values.shape[1])
        axes.plot(x, values.ravel(), "_", color=hue, markersize=6, alpha=0.35, mew=0.8)
        axes.plot(
            sweep.x, style.mean(values), "_-", color=hue, markersize=11, mew=2.2, linewidth=0.9
        )
