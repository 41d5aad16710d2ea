"""Learning curves: every member thin, the median and the middle half bold."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Real
from matplotlib.artist import Artist
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from catdog_jax.figures import style


@style.look()
def learning_curves(
    step: Real[np.ndarray, " E"] | Real[np.ndarray, "P E"],
    train_accuracy: Float[np.ndarray, "P M E"],
    test_accuracy: Float[np.ndarray, "P M E"],
    diverged_step: Int[np.ndarray, "P M"],
    models: Sequence[str],
    *,
    chance: float,
    command: str,
    note: str = "",
) -> Figure:
    """Draw the accuracy of every member over training, models side by side.

    Args:
      step: [E], or [P, E] where models were evaluated at steps of their own.
      train_accuracy, test_accuracy: [P, M, E] for P models, fraction in 0..1.
      diverged_step: [P, M], -1 for a member that never diverged.
      models: P entries of `--models`.
      chance: accuracy of guessing, 0..1.
      command: the command that computed the numbers.
      note: one more sentence for the caption, for instance the data set.

    Returns:
      Figure, one panel per model.
    """
    num_members = test_accuracy.shape[1]
    steps = np.broadcast_to(step, (len(models), test_accuracy.shape[2]))
    figure, axes = style.panels(len(models), width=3.0, height=2.7, share_y=True)
    columns = style.num_columns(len(models))
    for p, ax in enumerate(axes):
        alive = diverged_step[p] < 0
        _members(ax, steps[p], test_accuracy[p, alive], style.colour(p))
        _diverged(ax, steps[p], test_accuracy[p, ~alive], diverged_step[p, ~alive])
        if alive.any():
            _middle(ax, steps[p], train_accuracy[p, alive], style.GREY, "--")
            _middle(ax, steps[p], test_accuracy[p, alive], style.colour(p), "-")
        ax.axhline(chance, **style.DOTTED)
        ax.set_title(style.entry_title(models[p], 2.5))
        ax.set_xlabel("training step")
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.margins(x=0.02)
        if p % columns == 0:
            ax.set_ylabel("accuracy (fraction right)")
    num_diverged = int((diverged_step >= 0).sum())
    many = num_members > 1
    caption = (
        f"Accuracy of {style.members(num_members)} of each model while it trains, by step; "
        + "each thin line is one member on the test examples. " * many
        + f"{num_diverged} diverged (loss no longer finite): drawn to their last step, left out of "
        "the medians. " * (num_diverged > 0) + note
    )
    hue, middle = style.colour(0), ", median" * many
    handles: list[Artist] = [
        style.handle(f"test{middle}", color=hue, lw=2),
        style.handle(f"training{middle}", color=style.GREY, lw=2, ls="--"),
    ]
    if many:
        handles.insert(0, style.handle("test, one member", color=hue, lw=0.7))
        handles.append(Patch(color=style.GREY, alpha=0.4, lw=0, label="middle half of members"))
    handles.append(style.handle("guessing", **style.DOTTED))
    if num_diverged:
        handles.append(style.handle("diverged here", color=style.INK, marker="x"))
    return style.finish(figure, "Learning curves", caption, command, handles)


def _members(ax, step, accuracy, colour):
    lines = [np.column_stack([step, row]) for row in accuracy]
    alpha = style.thin(len(accuracy))
    drawn = LineCollection(lines, colors=colour, linewidths=0.7, alpha=alpha, label="member")
    drawn.set_rasterized(len(lines) > 200)  # a page of a thousand lines stays a small file
    ax.add_collection(drawn)
    ax.autoscale_view()


def _diverged(ax, step, accuracy, diverged_step):
    for row, stop in zip(accuracy, diverged_step, strict=True):
        kept = (step <= stop) & np.isfinite(row)
        ax.plot(step[kept], row[kept], color=style.INK, linewidth=0.7, alpha=0.6)
        ax.plot(step[kept][-1:], row[kept][-1:], "x", color=style.INK, markersize=6, zorder=5)


def _middle(ax, step, accuracy, colour, line):
    first, median, third = np.percentile(accuracy, [25, 50, 75], axis=0)
    if len(accuracy) > 1:
        ax.fill_between(step, first, third, color=colour, alpha=0.3, linewidth=0, zorder=3)
    halo = [withStroke(linewidth=3.6, foreground="white")]  # seen above a thousand thin lines
    ax.plot(
        step, median, line, color=colour, linewidth=2.0, zorder=4, label="median", path_effects=halo
    )
