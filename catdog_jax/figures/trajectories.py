"""The paths of all members through weight space, from start to end."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from catdog_jax.figures import style


@style.look()
def trajectories(
    coordinates: Float[np.ndarray, "P M E 2"],
    explained: Float[np.ndarray, "P 2"],
    diverged_step: Int[np.ndarray, "P M"],
    models: Sequence[str],
    *,
    command: str,
    note: str = "",
) -> Figure:
    """Draw the path of every member in the plane of its model's two principal components.

    Args:
      coordinates: [P, M, E, 2], in units of the weights; snapshots that are nan are left out.
      explained: [P, 2], fraction of the variance along each axis, 0..1.
      diverged_step: [P, M], -1 for a member that never diverged.
      models: P entries of `--models`.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure, one panel per model, both axes of a panel on one scale.
    """
    num_members, num_snapshots = coordinates.shape[1:3]
    figure, axes = style.panels(len(models), width=3.0, height=3.1)
    for p, ax in enumerate(axes):
        paths = [path[np.isfinite(path).all(axis=1)] for path in coordinates[p]]
        drawn = [m for m, path in enumerate(paths) if len(path)]
        _paths(ax, [paths[m] for m in drawn], style.colour(p), diverged_step[p][drawn] >= 0)
        ax.set_title(style.entry_title(models[p], 2.5))
        ax.set_xlabel(f"component 1 ({explained[p, 0]:.0%} of variance)")
        ax.set_ylabel(f"component 2 ({explained[p, 1]:.0%})")
        ax.set_aspect("equal", adjustable="datalim")
        ax.margins(0.08)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.yaxis.set_major_locator(MaxNLocator(5))
    num_diverged = int((diverged_step >= 0).sum())
    caption = (
        f"Paths of {style.members(num_members)} of each model through weight space, "
        f"at most {num_snapshots} snapshot{'s' * (num_snapshots != 1)} each, seen in the plane in "
        "which all snapshots of the model together vary most (principal components of fixed random "
        "sketches of the weights). Lengths in units of the weights; both axes of a panel have one "
        "scale, other panels have others. "
        + f"{num_diverged} diverged (loss no longer finite), end marked ×. " * (num_diverged > 0)
        + note
    )
    handles = [
        style.handle("random start", **style.hollow(style.GREY)),
        style.handle("path of one member", color=style.GREY, lw=0.9),
        style.handle("end of training", marker="o", color=style.GREY, markersize=5),
    ]
    title = "From random starts to the end of training"
    return style.finish(figure, title, caption, command, handles)


def _paths(ax, paths, colour, diverged):
    if not paths:
        return
    alpha = style.thin(len(paths))
    lines = LineCollection(paths, colors=colour, linewidths=0.9, alpha=alpha, label="path")
    lines.set_rasterized(len(paths) > 200)
    ax.add_collection(lines)
    size = 5.0 if len(paths) <= 64 else 3.0
    starts = np.array([path[0] for path in paths])
    ends = np.array([path[-1] for path in paths])
    ax.plot(*starts.T, **style.hollow(colour, size, mew=0.8, label="start", zorder=3))
    ax.plot(
        *ends[~diverged].T, "o", color=colour, markeredgecolor="white", mew=0.4,
        markersize=size, label="end", zorder=4,
    )  # fmt: skip
    ax.plot(*ends[diverged].T, "x", color=style.INK, markersize=6, label="diverged", zorder=5)
