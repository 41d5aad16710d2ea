"""Every member against every other: heat maps, and the pairs by model."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from catdog_jax.figures import strip, style

APART = 2.0**0.5  # relative distance of orthogonal weights of equal length


@style.look()
def disagreement(
    values: Float[np.ndarray, "P M M"],
    models: Sequence[str],
    *,
    command: str,
    note: str = "",
) -> Figure:
    """Draw on how many test examples every two members disagree.

    Args:
      values: [P, M, M], fraction of the test examples in 0..1; nan for a diverged member.
      models: P entries of `--models`.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure: a heat map per model on one scale, and below them the pairs by model.
    """
    caption = (
        "Fraction of the test examples that two members of a model put into different classes: 0 "
        "where both always say the same. "
    )
    title, label = "Do two members predict the same?", "disagreement (fraction of examples)"
    return _pairwise(values, models, title, label, caption, command, note)


@style.look()
def weight_distance(
    values: Float[np.ndarray, "P M M"],
    models: Sequence[str],
    *,
    command: str,
    note: str = "",
) -> Figure:
    """Draw how far apart the final weights of every two members lie.

    Args:
      values: [P, M, M], relative distance ‖wᵢ − wⱼ‖ / ½(‖wᵢ‖ + ‖wⱼ‖) in 0..2; nan for a diverged
        member.
      models: P entries of `--models`.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure: a heat map per model on one scale, and below them the pairs by model.
    """
    caption = (
        "Distance between the final weights of two members of a model, divided by the mean length "
        "of the two: 0 where they are the same weights, √2 = 1.41 (dotted) where they have nothing "
        "in common but their length. "
    )
    title, label = "Do two members have the same weights?", "relative distance between weights"
    return _pairwise(values, models, title, label, caption, command, note, APART)


def _pairwise(values, models, title, label, caption, command, note, landmark=0.0):
    num_models, num_members, _ = values.shape
    pairs = [_pairs(matrix) for matrix in values]
    top = max(landmark, *(row.max(initial=0.0) for row in pairs)) or 1.0
    columns = style.num_columns(num_models)
    map_rows = -(-num_models // columns)
    tallest = 0.5 + 0.55 * num_models
    figure = style.sheet(max(6.5, 2.4 * columns + 0.8), 2.45 * map_rows + tallest)
    grid = figure.add_gridspec(
        map_rows + 1, columns, height_ratios=[2.45] * map_rows + [tallest], hspace=0.06
    )
    maps = []
    for p, matrix in enumerate(values):
        axes = figure.add_subplot(grid[p // columns, p % columns])
        maps.append(axes)
        _heat_map(axes, matrix, top)
        axes.set_title(style.entry_title(models[p], 1.9))
        if p % columns == 0:
            axes.set_ylabel("member")
    style.colour_bar(maps[0].images[0], label, ax=maps, aspect=25 * map_rows, shrink=0.9)
    axes = figure.add_subplot(grid[map_rows, :])
    beside = axes.get_yaxis_transform()
    for p, row in enumerate(pairs):
        strip.draw_strip(axes, p, row, style.colour(p))
        text = f"mean {row.mean():.3g}" if row.size else "no pairs"
        # It lies below the colour bar, which has made room.
        axes.text(1.01, p, text, transform=beside, va="center").set_in_layout(False)
    strip.name_rows(axes, models, 1.55)
    axes.set(xlim=(-0.02 * top, 1.03 * top), xlabel=label)
    if landmark:
        axes.axvline(landmark, **style.DOTTED)
    count = num_members * (num_members - 1) // 2
    if count:
        caption += (
            "Top: row and column are members, by number; the diagonal, and members that diverged, "
            f"are grey. Bottom: the {count:,} {'pair' if count == 1 else 'pairs'} of the "
            f"{style.members(num_members)} of each model. "
        )
    else:
        caption += "There is one member only, so there is no pair to compare. "
    dots = "one pair" if count <= strip.MAX_DOTS else ""
    handles = strip.legend(dots, count > 1) if count else []
    return style.finish(figure, title, caption + note, command, handles)


def _pairs(matrix):
    """Return the finite values above the diagonal."""
    above = matrix[np.triu_indices(len(matrix), k=1)].astype(np.float64)
    return above[np.isfinite(above)]


def _heat_map(axes, matrix, top):
    shown = np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)
    colours = matplotlib.colormaps["viridis"].with_extremes(bad="#C8C8C8")
    axes.imshow(shown, cmap=colours, vmin=0.0, vmax=top, interpolation="auto")
    axes.spines[:].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    axes.set_xlabel("member")
