"""Every member against every other: heat maps, and the pairs by model."""

from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from catdog_jax.figures import strip, style


@style.look()
def disagreement(data: xr.Dataset) -> Figure:
    """Draw on how many test examples every two members disagree.

    Args:
      data: `disagreement` (model, member, other_member), fraction of the test examples;
        `diverged_step` (model, member), -1 for a member that never diverged.

    Returns:
      Figure: a heat map per model on one scale, and below them the pairs by model.
    """
    caption = (
        "Fraction of the test examples that two members of a model put into different classes: 0 "
        "where both always say the same. "
    )
    title, label = "Do two members predict the same?", "disagreement (fraction of examples)"
    return _pairwise(data, "disagreement", title, label, caption)


@style.look()
def weight_distance(data: xr.Dataset) -> Figure:
    """Draw how far apart the final weights of every two members lie.

    Args:
      data: `relative_weight_distance` (model, member, other_member), ‖wᵢ − wⱼ‖ / ½(‖wᵢ‖ + ‖wⱼ‖),
        0..2; `diverged_step` (model, member), -1 for a member that never diverged.

    Returns:
      Figure: a heat map per model on one scale, and below them the pairs by model.
    """
    caption = (
        "Distance between the final weights of two members of a model, divided by the mean length "
        "of the two: 0 where they are the same weights, √2 = 1.41 (dotted) where they have nothing "
        "in common but their length. "
    )
    title, label = "Do two members have the same weights?", "relative distance between weights"
    return _pairwise(data, "relative_weight_distance", title, label, caption, 2.0**0.5)


def _pairwise(data, name, title, label, caption, landmark=0.0):
    alive = data["diverged_step"] < 0
    both = alive & alive.rename(member="other_member")
    values = data[name].where(both).transpose("model", "member", "other_member").values
    models, num_members = data["model"].values.tolist(), data.sizes["member"]
    pairs = [style.pairs(matrix) for matrix in values]
    top = max(landmark, *(row.max(initial=0.0) for row in pairs)) or 1.0
    columns = style.num_columns(len(models))
    rows, tallest = -(-len(models) // columns), 0.5 + 0.55 * len(models)
    figure = style.sheet(max(6.5, 2.4 * columns + 0.8), 2.45 * rows + tallest)
    heights = [2.45] * rows + [tallest]
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=heights, hspace=0.06)
    colours = matplotlib.colormaps["viridis"].with_extremes(bad="#C8C8C8")
    maps: list[Any] = [figure.add_subplot(grid[divmod(p, columns)]) for p in range(len(models))]
    for axes, matrix, model in zip(maps, values, models, strict=True):
        shown = np.where(np.eye(num_members, dtype=bool), np.nan, matrix)
        image = axes.imshow(shown, cmap=colours, vmin=0.0, vmax=top, interpolation="auto")
        axes.spines[:].set_visible(False)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        first = axes.get_subplotspec().is_first_col()
        axes.set(xlabel="member", ylabel="member" if first else "")
        axes.set_title(style.model_title(model, 1.9))
    bar = figure.colorbar(image, ax=maps, aspect=25 * rows, shrink=0.9, label=label)
    bar.outline.set_visible(False)
    axes = figure.add_subplot(grid[rows, :])
    for p, row in enumerate(pairs):
        strip.draw_strip(axes, p, row, style.colour(p))
        text = f"mean {row.mean():.3g}" if row.size else "no pairs"
        # It lies below the colour bar, which has made room.
        beside = axes.text(1.01, p, text, transform=axes.get_yaxis_transform(), va="center")
        beside.set_in_layout(False)
    strip.name_models(axes, models, 1.55)
    axes.set(xlim=(-0.02 * top, 1.03 * top), xlabel=label)
    if landmark:
        axes.axvline(landmark, **style.DOTTED)
    count = num_members * (num_members - 1) // 2
    caption += (
        "Top: row and column are members, by number; the diagonal, and members that diverged, "
        f"are grey. Bottom: the {count:,} pair{'s' * (count != 1)} of the "
        f"{style.members(num_members)} of each model. "
        if count
        else "There is one member only, so there is no pair to compare. "
    )
    dots = "one pair" if count <= strip.MAX_DOTS else ""
    handles = strip.legend(dots, count > 1) if count else []
    return style.finish(figure, title, caption + style.source(data), data, handles)
