"""How populations learn, where their members end, and how far apart they are."""

from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from catdog_jax.figures import parts, style

HALO = [withStroke(linewidth=3.6, foreground="white")]  # seen above a thousand thin lines


@style.look()
def learning_curves(data: xr.Dataset) -> Figure:
    """Draw the accuracy of every member over training, a panel per model.

    Args:
      data: `step` (model, eval); `train_accuracy`, `test_accuracy` (model, member, eval), fractions
        right; `diverged_step` (model, member), -1 for a member that never diverged; `label`
        (example).

    Returns:
      Figure.
    """
    many, names = data.sizes["member"] > 1, data["model"].values.tolist()
    labels: Any = {"xlabel": "training step", "ylabel": "accuracy (fraction right)"}
    figure, panels = style.panels(names, 3.0, 2.7, sharey=True, **labels)
    for p, axes in enumerate(panels):
        one, hue = data.isel(model=p), style.colour(p)
        step, stop, test = (one[name].values for name in ("step", "diverged_step", "test_accuracy"))
        alive = stop < 0
        if many:
            thin = {"linewidth": 0.7, "alpha": style.thin(int(alive.sum()))}
            axes.plot(step, test[alive].T, color=hue, label="test, one member", **thin)
        for name, colour, line in (("test", hue, "-"), ("train", style.GREY, "--")) * int(
            alive.any()
        ):
            kept = one[f"{name}_accuracy"].values[alive]
            low, middle, high = np.percentile(kept, [25, 50, 75], axis=0)
            bold = {"linewidth": 2.0, "path_effects": HALO, "label": name + ", median" * many}
            axes.plot(step, middle, line, color=colour, zorder=4, **bold)
            if many:
                band = {"alpha": 0.3, "linewidth": 0, "label": "middle half of members"}
                axes.fill_between(step, low, high, color=colour, zorder=3, **band)
        for row, last in zip(test[~alive], stop[~alive], strict=True):
            kept = (step <= last) & np.isfinite(row)
            axes.plot(step[kept], row[kept], color=style.INK, linewidth=0.7, alpha=0.6)
            cross = {"color": style.INK, "markersize": 6, "zorder": 5, "label": "diverged here"}
            axes.plot(step[kept][-1:], row[kept][-1:], "x", **cross)
        axes.axhline(style.chance(data), **style.GUESSING)
        axes.locator_params("x", nbins=5, integer=True)
        axes.margins(x=0.02)
    caption = (
        f"Accuracy of {style.members(data.sizes['member'])} of each model while it trains. "
        f"{_diverged(data, 'drawn to their last step, left out of the medians')}"
    )
    return style.finish(figure, "Learning curves", caption, data)


@style.look()
def final_accuracy(data: xr.Dataset) -> Figure:
    """Draw the final test accuracy of every member that did not diverge, one row per model.

    Args:
      data: `test_accuracy` (model, member, eval), the last of which is drawn, and
        `ensemble_accuracy` (model), fractions right; `diverged_step` (model, member), -1 for a
        member that never diverged; `label` (example).

    Returns:
      Figure.
    """
    many = data.sizes["member"] > 1
    accuracy = data["test_accuracy"].isel(eval=-1).where(data["diverged_step"] < 0).astype(float)
    figure, [[axes]] = style.sheet(8.0, 0.55 + 0.78 * data.sizes["model"])
    for p, ensemble in enumerate(data["ensemble_accuracy"].values):
        one, hue = accuracy[p].dropna("member").values, style.colour(p)
        parts.draw_strip(axes, p, one, hue, "one member")
        text = f"{one.mean():.3f}" if one.size else "all diverged"
        if many:
            diamond = {"zorder": 5, "markeredgewidth": 1.6, "label": "ensemble"}
            axes.plot([ensemble], [p], **style.hollow(hue, 7.0, "D", **diamond))
        if one.size > 1:
            text += f" ± {one.std(ddof=1):.3f}\nensemble {ensemble:.3f}"
            error = (one.mean() * (1 - one.mean()) / data.sizes["example"]) ** 0.5
            text += f"\ntest set ± {error:.3f}"
        axes.text(1.02, p, text, transform=axes.get_yaxis_transform(), va="center")
    parts.name_models(axes, data["model"].values.tolist(), 1.5)
    axes.axvline(style.chance(data), **style.GUESSING)
    axes.set_xlabel("test accuracy after the last step (fraction right)")
    caption = (
        f"Final test accuracy of {style.members(data.sizes['member'])} of each model. "
        + "Above each line the density of the members; dots lie at different heights only to stay "
        "apart. Mean ± standard deviation over members. Test set ±: how far a test set of this "
        "size may mislead about all of them alike, sqrt(a (1 − a) / n). The ensemble takes the "
        "class of the largest mean probability. " * many + _diverged(data, "left out")
    )
    return style.finish(figure, "Where every member ended", caption, data)


@style.look()
def trajectories(data: xr.Dataset) -> Figure:
    """Draw the path of every member in the plane of its model's two principal components.

    Args:
      data: `trajectory` (model, member, eval, axis), in units of the weights, nan where a member
        has diverged; `trajectory_explained` (model, axis), fraction of the variance;
        `diverged_step` (model, member), -1 for a member that never diverged.

    Returns:
      Figure, a panel per model, whose two axes have one scale.
    """
    figure, panels = style.panels(data["model"].values.tolist(), 3.0, 3.1)
    for p, axes in enumerate(panels):
        one, hue = data.isel(model=p), style.colour(p)
        whole = [path[np.isfinite(path).all(axis=1)] for path in one["trajectory"].values]
        drawn = [m for m, path in enumerate(whole) if len(path)]
        if drawn:
            paths = [whole[m] for m in drawn]
            thin: Any = {"alpha": style.thin(len(paths)), "label": "path of one member"}
            axes.add_collection(LineCollection(paths, colors=hue, linewidths=0.9, **thin))
            starts, ends = (np.array([path[at] for path in paths]) for at in (0, -1))
            lost, size = one["diverged_step"].values[drawn] >= 0, 5.0 if len(paths) <= 64 else 3.0
            circle = style.hollow(hue, size, mew=0.8, label="random start", zorder=3)
            axes.plot(*starts.T, **circle)
            marks: Any = {"markersize": size, "zorder": 4}
            if not lost.all():
                axes.plot(*ends[~lost].T, "o", color=hue, label="end of training", **marks)
            if lost.any():
                axes.plot(*ends[lost].T, "x", color=style.INK, label="diverged", **marks)
        first, second = one["trajectory_explained"].values
        axes.set_xlabel(f"component 1 ({first:.0%} of variance)")
        axes.set_ylabel(f"component 2 ({second:.0%})")
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.08)
        axes.locator_params(nbins=5)
    caption = (
        f"Paths of {style.members(data.sizes['member'])} of each model through weight space, with "
        f"{data.sizes['eval']} points each at most, in the plane in which they vary most together "
        "(principal components of fixed random sketches of the weights). Lengths in units of the "
        "weights; both axes of a panel have one scale, other panels have others. Starts of many "
        "weights lie at right angles to each other, so where the axes show little of the variance "
        "most of the way lies outside of the plane. "
        f"{_diverged(data, 'end marked ×')}"
    )
    return style.finish(figure, "From random starts to the end of training", caption, data)


@style.look()
def disagreement(data: xr.Dataset) -> Figure | None:
    """Draw on how many test examples every two members disagree.

    Args:
      data: `disagreement` (model, member, other_member), fraction of the test examples;
        `diverged_step` (model, member), -1 for a member that never diverged.

    Returns:
      Figure: a heat map per model on one scale, and below them the pairs by model; None for a
      single member.
    """
    caption = (
        "Fraction of the test examples that two members of a model put into different classes."
    )
    title, label = "Do two members predict the same?", "disagreement (fraction of examples)"
    return _pairwise(data, "disagreement", title, label, caption)


@style.look()
def weight_distance(data: xr.Dataset) -> Figure | None:
    """Draw how far apart the final weights of every two members lie.

    Args:
      data: `relative_weight_distance` (model, member, other_member), ‖wᵢ − wⱼ‖ / ½(‖wᵢ‖ + ‖wⱼ‖),
        0..2, and `relative_start_distance`, the same of the starting weights; `diverged_step`
        (model, member), -1 for a member that never diverged.

    Returns:
      Figure: a heat map per model on one scale, and below them the pairs by model; None for a
      single member.
    """
    caption = (
        "Distance between the final weights of two members over the mean length of the two: 0 "
        "where they are the same, √2 = 1.41 (dotted) where they stand at a right angle, as random "
        "starts do. A triangle: the mean of the same pairs at their starts. Neurons are taken as "
        "they are numbered: two networks that differ in their order alone count as far apart."
    )
    title, label = "Do two members have the same weights?", "relative distance between weights"
    starts = [style.pairs(x) for x in data["relative_start_distance"].values]
    return _pairwise(data, "relative_weight_distance", title, label, caption, 2.0**0.5, starts)


def _pairwise(data, name, title, label, caption, landmark=0.0, starts=()):
    if data.sizes["member"] < 2:
        return None
    alive = data["diverged_step"] < 0
    values = data[name].where(alive & alive.rename(member="other_member"))
    values = values.transpose("model", "member", "other_member").values
    models = data["model"].values.tolist()
    pairs = [style.pairs(matrix) for matrix in values]
    top = max(landmark, *(row.max(initial=0.0) for row in pairs)) or 1.0
    columns = style.num_columns(len(models))
    rows, tallest = -(-len(models) // columns), 0.5 + 0.55 * len(models)
    side = 2.45 if columns > 1 else 4.4
    figure, _ = style.sheet(max(6.0, 2.35 * columns + 0.8), side * rows + tallest, 0)
    heights = [side] * rows + [tallest]
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=heights, hspace=0.06)
    colours = matplotlib.colormaps["viridis"].with_extremes(bad="#C8C8C8")
    maps: list[Any] = [figure.add_subplot(grid[divmod(p, columns)]) for p in range(len(models))]
    for axes, matrix, model in zip(maps, values, models, strict=True):
        np.fill_diagonal(matrix, np.nan)
        image = axes.imshow(matrix, cmap=colours, vmin=0.0, vmax=top, interpolation="auto")
        axes.spines[:].set_visible(False)
        axes.locator_params(nbins=4, integer=True, min_n_ticks=1)
        axes.set(xlabel="member", title=style.model_title(model, 1.9))
    for axes in maps[::columns]:
        axes.set_ylabel("member")
    figure.colorbar(image, ax=maps, aspect=25 * rows, shrink=0.9, label=label)
    axes = figure.add_subplot(grid[rows, :])
    for p, row in enumerate(pairs):
        parts.draw_strip(axes, p, row, style.colour(p), "one pair")
        for before in starts[p : p + 1]:
            mark = style.hollow(style.colour(p), 6.0, "v", zorder=6, label="mean at the start")
            axes.plot(
                [before.mean()] if before.size else [], [p - 0.12] * bool(before.size), **mark
            )
        text = f"mean {row.mean():.3g}" if row.size else "no pairs"
        # It lies below the colour bar, which has made room.
        place: Any = {"transform": axes.get_yaxis_transform(), "in_layout": False}
        axes.text(1.01, p, text, va="center", **place)
    parts.name_models(axes, models, 1.55)
    axes.set(xlim=(-0.02 * top, 1.03 * top), xlabel=label)
    if landmark:
        axes.axvline(landmark, **style.DOTTED)
    caption += (
        " Top: row and column are members, by number; the diagonal, and members that diverged, "
        f"are grey. Bottom: all pairs of the {style.members(data.sizes['member'])} of each model."
    )
    return style.finish(figure, title, caption, data)


def _diverged(data, fate):
    count = int((data["diverged_step"] >= 0).sum())
    return f"{count} diverged (loss no longer finite): {fate}. " * (count > 0)
