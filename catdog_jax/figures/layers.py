"""What can be read off each layer: one curve per network over its layers, before and after."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from catdog_jax.figures import style

BEFORE, AFTER = 0, 1
PANEL = 3.2  # inches, height
STEP = 0.32  # inches, width of a layer
SQUARE: Any = {
    "marker": "s", "color": "none", "markeredgecolor": style.colour(3), "markeredgewidth": 1.4,
}  # fmt: skip
DIAMOND = style.hollow(style.colour(1), 6.5, "D", markeredgewidth=1.6)


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
        regression, own = style.median(ridge[p, AFTER]), head[p, AFTER]
        axes.plot([len(names) - 2], [regression], markersize=10, zorder=6, **SQUARE)
        axes.plot(
            np.full(len(own), len(names)), own, "o", color=style.colour(1), markersize=3.5,
            alpha=max(0.3, style.thin(len(own))), mew=0,
        )  # fmt: skip
        axes.plot([len(names)], [style.median(own)], zorder=5, **DIAMOND)
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
        style.handle("ridge regression on the last features", markersize=8, **SQUARE),
        style.handle("trained head", **DIAMOND),
        style.handle("guessing", **style.DOTTED),
    ]
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
            style.handle(name, color=style.colour(c), linewidth=2.2)
            for c, name in enumerate(accuracies)
        ),
        *_when_handles(style.INK, style.INK),
        style.handle("guessing", **style.DOTTED),
    ]
    title = "Layer after layer, do cats come to lie beside cats?"
    return style.finish(figure, title, caption + note, command, handles)


def _panels(counts):
    """Lay out panels side by side, each as wide as it has layers; more than five in two lines."""
    columns = style.num_columns(len(counts)) if len(counts) > 5 else len(counts)
    rows = -(-len(counts) // columns)
    widest = sum(counts) if rows == 1 else columns * max(counts)
    figure = style.sheet(max(6.5, STEP * widest + 0.35 * columns + 0.4), PANEL * rows)
    ratios = counts if rows == 1 else None
    return figure, style.subplots(figure, len(counts), columns, sharey=True, width_ratios=ratios)


def _look(when, colour):
    """Return the median's line: dashed with hollow marks at the start, full when trained."""
    line, marker, face = (("--", "s", "white"), ("-", "o", colour))[when]
    return {
        "linestyle": line, "marker": marker, "markerfacecolor": face, "color": colour,
        "linewidth": 2.0, "markersize": 4.5,
    }  # fmt: skip


def _curves(axes, values, colour, when):
    """Draw one line per member [M, L], and their median."""
    look, opacity = _look(when, colour), 0.6 * style.thin(len(values))
    if len(values) > 1:
        axes.plot(values.T, look["linestyle"], color=colour, lw=0.7, alpha=opacity, zorder=2)
    axes.plot(style.median(values.T), zorder=4, **look)


def _name_layers(axes, names, model, chance):
    axes.axhline(chance, **style.DOTTED)
    axes.set_xticks(range(len(names)), names, rotation=50, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.set_title(style.entry_title(model, STEP * len(names) + 0.5), loc="left")
    axes.grid(axis="y", color=style.PALE, linewidth=0.6)


def _when_handles(before, after):
    return [
        style.handle("at the random start", **_look(BEFORE, before)),
        style.handle("trained", **_look(AFTER, after)),
    ]
