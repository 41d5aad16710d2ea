"""What can be read off each layer: one curve per network over its layers, before and after."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from catdog_jax.figures import style

BEFORE, AFTER = 0, 1
PANEL = 3.2  # inches, height
STEP = 0.32  # inches, width of a layer
# Of the networks at their start and when trained: line, marker, its filling.
LOOKS: Any = (("--", "s", "white"), ("-", "o", None))


@style.look()
def class_by_layer(
    probe: Float[np.ndarray, "P 2 M L"],
    head: Float[np.ndarray, "P 2 M"],
    ridge: Float[np.ndarray, "P 2 M"],
    layers: Sequence[Sequence[str]],
    models: Sequence[str],
    *,
    chance: float,
    command: str,
    note: str = "",
) -> Figure:
    """Draw how well a linear probe reads the class off each layer, before and after training.

    Args:
      probe: [P, 2, M, L] test accuracy in 0..1; nan behind a model's last layer and for diverged
        members. Second axis: at the start, trained.
      head: [P, 2, M] test accuracy of the networks' own answers.
      ridge: [P, 2, M] test accuracy of ridge regression in the head's place.
      layers: P lists of names, input first, logits last.
      models: P entries of `--models`.
      chance: accuracy of guessing, 0..1.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure: a panel per model.
    """
    figure, panels = _panels([len(names) + 1 for names in layers])
    for p, axes in enumerate(panels):
        names = list(layers[p])
        for when, colour in ((BEFORE, style.GREY), (AFTER, style.colour(0))):
            _curves(axes, probe[p, when, :, : len(names)], colour, when)
        last = len(names) - 2
        axes.plot(
            [last], [_median(ridge[p, AFTER])], "s", markersize=10, color="none",
            markeredgecolor=style.colour(3), markeredgewidth=1.4, zorder=6,
        )  # fmt: skip
        own = head[p, AFTER]
        axes.plot(
            np.full(len(own), len(names)), own, "o", color=style.colour(1), markersize=3.5,
            alpha=max(0.3, style.thin(len(own))), markeredgewidth=0,
        )  # fmt: skip
        axes.plot(
            [len(names)], [_median(own)], "D", color="white", markersize=6.5, zorder=5,
            markeredgecolor=style.colour(1), markeredgewidth=1.6,
        )  # fmt: skip
        _name_layers(axes, [*names, "own answer"], models[p], chance)
    panels[0].set_ylabel("test accuracy (fraction right)")
    caption = (
        "How often a straight line through the features of one layer tells the class: ridge "
        "regression fitted on training examples, its penalty chosen by leaving one out, scored on "
        f"test examples. Thin lines are {style.members(probe.shape[2])} of each model, bold ones "
        "their median. The square marks the regression in the place of the trained head, on all "
        "the features that it reads, the diamond the trained network itself. "
    )
    handles = [
        *_when_handles(style.GREY, style.colour(0)),
        Line2D([], [], linestyle="none", marker="s", markersize=8, color="none",
               markeredgecolor=style.colour(3), markeredgewidth=1.4,
               label="ridge regression on the last features"),
        Line2D([], [], linestyle="none", marker="D", color="white", markersize=6,
               markeredgecolor=style.colour(1), markeredgewidth=1.6, label="trained head"),
        _chance_handle(),
    ]  # fmt: skip
    title = "Layer after layer, can the class be read off by a straight line?"
    return style.finish(figure, title, caption + note, command, handles)


@style.look()
def neighbours_by_layer(
    accuracies: Mapping[str, Float[np.ndarray, "P 2 M L"]],
    layers: Sequence[Sequence[str]],
    models: Sequence[str],
    *,
    chance: float,
    command: str,
    note: str = "",
) -> Figure:
    """Draw how well the simplest rules do in each layer's space, before and after training.

    Args:
      accuracies: name of the rule -> [P, 2, M, L] test accuracy in 0..1, see `class_by_layer`.
      layers, models, chance, command, note: see `class_by_layer`.

    Returns:
      Figure: a panel per model, a colour per rule.
    """
    figure, panels = _panels([len(names) for names in layers])
    for p, axes in enumerate(panels):
        for c, values in enumerate(accuracies.values()):
            for when in (BEFORE, AFTER):
                _curves(axes, values[p, when, :, : len(layers[p])], style.colour(c), when)
        _name_layers(axes, layers[p], models[p], chance)
    panels[0].set_ylabel("test accuracy (fraction right)")
    num_members = next(iter(accuracies.values())).shape[2]
    caption = (
        "Rules that learn nothing, asked in the space of each layer: where pictures of one class "
        "have come to lie together, they are right. Fitted on training examples, scored on test "
        f"examples. Thin lines are {style.members(num_members)} of each model, bold ones their "
        "median. "
    )
    handles = [
        *(
            Line2D([], [], color=style.colour(c), linewidth=2.2, label=name)
            for c, name in enumerate(accuracies)
        ),
        *_when_handles(style.INK, style.INK),
        _chance_handle(),
    ]
    title = "Layer after layer, do cats come to lie beside cats?"
    return style.finish(figure, title, caption + note, command, handles)


def _panels(counts):
    """Lay out panels side by side, each as wide as it has layers; four at most in a line."""
    columns = style.num_columns(len(counts)) if len(counts) > 5 else len(counts)
    rows = -(-len(counts) // columns)
    widest = sum(counts) if rows == 1 else columns * max(counts)
    width = max(6.5, STEP * widest + 0.35 * columns + 0.4)
    figure = Figure(figsize=(width, PANEL * rows), layout="constrained")
    ratios = counts if rows == 1 else None
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False, width_ratios=ratios)
    for empty in grid.flat[len(counts) :]:
        empty.remove()
    for axes in grid.flat[: len(counts)]:
        style.tidy(axes)
    return figure, list(grid.flat[: len(counts)])


def _curves(axes: Axes, values, colour, when):
    """Draw one line per member [M, L], and their median."""
    line, marker, face = LOOKS[when]
    places = np.arange(values.shape[1])
    if len(values) > 1:
        opacity = 0.6 * style.thin(len(values))
        for row in values:
            axes.plot(places, row, line, color=colour, linewidth=0.7, alpha=opacity, zorder=2)
    axes.plot(
        places, [_median(column) for column in values.T], line, color=colour, linewidth=2.0,
        marker=marker, markersize=4.5, markerfacecolor=face or colour, zorder=4,
    )  # fmt: skip


def _median(values):
    there = values[np.isfinite(values)]
    return float(np.median(there)) if there.size else np.nan


def _name_layers(axes: Axes, names, model, chance):
    axes.axhline(chance, color=style.INK, linewidth=0.8, linestyle=":", zorder=1)
    axes.set_xticks(range(len(names)), names, rotation=50, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.set_title(style.entry_title(model, STEP * len(names) + 0.5), loc="left")
    axes.grid(axis="y", color=style.PALE, linewidth=0.6)


def _when_handles(before, after):
    return [
        Line2D([], [], color=colour, linewidth=2.0, linestyle=line, marker=marker, markersize=4.5,
               markerfacecolor=face or colour, label=label)
        for (line, marker, face), colour, label in zip(
            LOOKS, (before, after), ("at the random start", "trained"), strict=True
        )
    ]  # fmt: skip


def _chance_handle():
    return Line2D([], [], color=style.INK, linewidth=0.8, linestyle=":", label="guessing")
