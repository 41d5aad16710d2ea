"""Bias and variance of networks against their width, depth, and number of training examples."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from catdog_jax.figures import style

LINES = ("error", "bias²", "variance from training sets", "variance from starts")
STYLES: tuple[dict[str, Any], ...] = (
    {"color": style.INK, "linestyle": "--", "marker": "D"},
    {"color": style.PALETTE[0], "linestyle": "-", "marker": "o"},
    {"color": style.PALETTE[1], "linestyle": "-", "marker": "s"},
    {"color": style.PALETTE[2], "linestyle": "-", "marker": "^"},
)


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
    figure = Figure(figsize=(3.1 * len(sweeps), 6.6), layout="constrained")
    panels = figure.subplots(3, len(sweeps), sharey="row", sharex="col", squeeze=False)
    names = ("squared error of probabilities", "share of wrong answers")
    for column, sweep in enumerate(sweeps.values()):
        for row in (0, 1):
            axes = panels[row, column]
            style.tidy(axes)
            for line, look in enumerate(STYLES):
                axes.errorbar(
                    sweep.x, sweep.values[:, row, line], np.nan_to_num(sweep.errors[:, row, line]),
                    linewidth=1.4, markersize=4, elinewidth=0.8, **look,
                )  # fmt: skip
            axes.axhline(0.0, color=style.PALE, linewidth=0.8, zorder=0)
        _accuracies(panels[2, column], sweep)
        if sweep.log:
            panels[2, column].set_xscale("log")
        panels[2, column].set_xticks(sweep.x, [str(x) for x in sweep.x])
        panels[2, column].minorticks_off()
        panels[2, column].set_xlabel(sweep.label)
        panels[0, column].set_title(sweep.title, loc="left")
    for row, name in enumerate((*names, "accuracy of every member")):
        panels[row, 0].set_ylabel(name)
    handles = [
        Line2D([], [], linewidth=1.4, markersize=4, label=label, **look)
        for label, look in zip(LINES, STYLES, strict=True)
    ]
    handles += [
        Line2D([], [], linestyle="none", marker="_", color=style.GREY, label="train accuracy"),
        Line2D([], [], linestyle="none", marker="_", color=style.colour(3), label="test accuracy"),
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


def _mean(values: Float[np.ndarray, " M"]) -> float:
    """Average what is a number."""
    found = values[np.isfinite(values)]
    return float(found.mean()) if found.size else float("nan")


def _accuracies(axes: Axes, sweep: Sweep) -> None:
    """Mark train and test accuracy of every member, and their means."""
    style.tidy(axes)
    for values, hue in ((sweep.train_accuracy, style.GREY), (sweep.test_accuracy, style.colour(3))):
        x = np.repeat(sweep.x, values.shape[1])
        axes.plot(x, values.ravel(), "_", color=hue, markersize=6, alpha=0.35, markeredgewidth=0.8)
        axes.plot(
            sweep.x, [_mean(row) for row in values], "_-", color=hue, markersize=11,
            markeredgewidth=2.2, linewidth=0.9,
        )  # fmt: skip
