"""What lies between members: barriers of all pairs, with units as they are and aligned."""

import re
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import style

LOOKS = {  # alignment -> colour, mark
    "none": (style.PALETTE[0], "o"),
    "weights": (style.PALETTE[1], "s"),
    "activations": (style.PALETTE[3], "D"),
    "repair": (style.PALETTE[2], "^"),
    "temperature": (style.PALETTE[4], "v"),
}
NAMES = {"none": "as they are", "repair": "weights and REPAIR", "temperature": "one temperature"}
MOST_WRITTEN = 6  # members of a matrix whose numbers are written in it
SIZES = {"width": r":widths?=[\d-]+", "depth": r":(depth|convs|blocks)=\d+"}
ACROSS = 8


def _name(kind: str) -> str:
    return NAMES.get(kind, f"aligned by {kind}")


@style.look()
def pairs(data: xr.Dataset) -> Figure | None:
    """Draw the loss barrier of every pair of members, before and after aligning.

    Args:
      data: `loss_barrier` (model, pair, alignment, split), nats; `first`, `second` (pair); `label`.

    Returns:
      A row of heat maps for each model, all on one scale; None where there is no pair.
    """
    kinds = [x for x in ("none", "weights", "repair")
             if data["loss_barrier"].sel(alignment=x).notnull().any()]  # fmt: skip
    if not kinds:
        return None
    first, second = data["first"].values, data["second"].values
    count, models = int(second.max()) + 1, data["model"].values.tolist()
    values = data["loss_barrier"].sel(split="test", alignment=kinds).values
    top = max(float(np.nanmax(values)), 1e-9)
    names = [f"{model}:{_name(kind)}" for model in models for kind in kinds]
    figure, panels = style.panels(names, 3.0, 3.1, len(kinds))
    colours = matplotlib.colormaps["viridis"].with_extremes(bad="#E4E4E4")
    places = [(m, a) for m in range(len(models)) for a in range(len(kinds))]
    for axes, (m, a) in zip(panels, places, strict=True):
        matrix = np.full((count, count), np.nan)
        matrix[first, second] = matrix[second, first] = values[m, :, a]
        shown = axes.imshow(matrix, cmap=colours, vmin=0, vmax=top)
        axes.set(xlabel="member", ylabel="member")
        axes.locator_params(nbins=8, integer=True)
        for i, j in np.argwhere(np.isfinite(matrix)) if count <= MOST_WRITTEN else ():
            ink = style.ink_on(colours(matrix[i, j] / top))
            axes.text(j, i, f"{matrix[i, j]:.2f}", color=ink, size=style.SMALL, **style.CENTRED)
    bar = figure.colorbar(shown, ax=panels, shrink=0.8)
    bar.set_label("loss barrier (nats)")
    caption = (
        "How far the test loss on the straight line between the weights of two members rises above "
        "the straight line between their own losses, at most (Entezari et al. 2022); 0: no "
        "barrier. Aligned: the hidden units of the second are numbered like those of the first."
    )
    return style.finish(figure, "Barriers between every two members", caption, data)


@style.look()
def profile(data: xr.Dataset) -> Figure | None:
    """Draw the loss on the line between members: all pairs thin, their median bold.

    Args:
      data: `line_loss` (model, pair, alignment, split, point), nats; `mixing` (point).

    Returns:
      A panel for each model; None where there is no pair.
    """
    kinds = [x for x in ("none", "weights", "activations", "repair")
             if data["line_loss"].sel(alignment=x).notnull().any()]  # fmt: skip
    if not kinds:
        return None
    labels: Any = {"xlabel": "share of the second member", "ylabel": "test loss (nats)"}
    names, one = data["model"].values.tolist(), data["line_loss"].sel(split="test")
    figure, panels = style.panels(names, 4.2 if len(names) < 3 else 3.0, 2.9, **labels)
    mixing = data["mixing"].values
    for m, axes in enumerate(panels):
        for kind in kinds:
            lines = one[m].sel(alignment=kind).dropna("pair").values
            hue, mark = LOOKS[kind]
            thin = min(0.5, style.thin(len(lines)))
            axes.plot(mixing, lines.T, color=hue, linewidth=0.6, alpha=thin, zorder=2)
            if len(lines):
                bold: Any = {"linewidth": 2.2, "marker": mark, "markevery": 4, "markersize": 5}
                middle = np.median(lines, axis=0)
                axes.plot(mixing, middle, color=hue, zorder=4, label=_name(kind), **bold)
    caption = (
        f"Test loss of the network whose weights lie on the straight line between two members, for "
        f"all {data.sizes['pair']:,} pairs of each model (thin) and their median (bold). The ends "
        "are the members themselves."
    )
    return style.finish(figure, "What lies between two members", caption, data)


@style.look()
def by_size(data: xr.Dataset) -> Figure | None:
    """Draw the mean barrier against width and depth.

    Args:
      data: `loss_mean` and `error_mean` (model, alignment, split), each with `_low`, `_high`;
        `width`, `depth` (model); models that differ in nothing else are joined.

    Returns:
      Figure; None where no two models differ in width or depth alone.
    """
    models, found = data["model"].values.tolist(), []
    for size, pattern in SIZES.items():
        families = [re.sub(pattern, "", model) for model in models]
        for family in dict.fromkeys(families):
            rows = np.flatnonzero([x == family for x in families])
            if len(set(data[size].values[rows])) > 1:
                found.append((size, family, rows[np.argsort(data[size].values[rows])]))
    if not found:
        return None
    names = [f"{family}, by {size}" for size, family, _ in found for _ in range(2)]
    figure, panels = style.panels(names, 4.2, 2.9, 2)
    for n, axes in enumerate(panels):
        size, _, rows = found[n // 2]
        name, scale = (("loss", 1.0), ("error", 100.0))[n % 2]
        one = data.isel(model=rows).sel(split="test")
        for kind, (hue, mark) in LOOKS.items():
            value, low, high = (
                scale * one[f"{name}_mean{end}"].sel(alignment=kind).values
                for end in ("", "_low", "_high")
            )
            if np.isfinite(value).any():
                around = np.nan_to_num(np.clip([value - low, high - value], 0, None))
                look: Any = {"color": hue, "marker": mark, "capsize": 2.0, "markersize": 5}
                axes.errorbar(one[size].values, value, around, label=_name(kind), **look)
        axes.set(xlabel={"width": "units of the first layer", "depth": "hidden layers"}[size])
        axes.set(
            ylabel=f"{name} barrier ({'nats' if name == 'loss' else 'points'})", ylim=(0, None)
        )
        if size == "width":
            axes.set_xscale("log", base=2)
            axes.set_xticks(one[size].values, [f"{x:g}" for x in one[size].values])
    caption = (
        "Mean barrier over all pairs of members on the test set, of the loss (left) and of the "
        "error in percentage points (right). Bars: 95 % intervals over members (none below 8)."
    )
    return style.finish(figure, "Do barriers fall as networks grow?", caption, data)


@style.look()
def pictures(data: xr.Dataset) -> Figure | None:
    """Draw the test pictures that carry most of the loss barrier.

    Args:
      data: `picture` (shown, row, column, channel), 0..255; `picture_example` (shown);
        `picture_gap` (model, pair, alignment, example), nats, of the last model; `label`
        (example).

    Returns:
      Figure; None where the data set has no pictures, or there is no barrier.
    """
    if "picture" not in data or not data.sizes["pair"]:
        return None
    gap = data["picture_gap"].isel(model=-1).mean("pair")
    before, after = (gap.sel(alignment=x).values for x in ("none", "weights"))
    if not np.nansum(before) > 0:
        return None
    shown, names = data["picture_example"].values, data["class"].values
    figure, panels = style.panels([""] * len(shown), 1.2, 1.75, ACROSS)
    figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.06)
    for axes, picture, n in zip(panels, data["picture"].values, shown, strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.set_title(
            style.short(str(names[data["label"].values[n]])), size=style.SIZE, loc="center", pad=3
        )
        aligned = f" → {after[n]:+.1f}" if np.isfinite(after[n]) else ""
        axes.set_xlabel(f"{before[n]:+.1f}{aligned}")
    ordered = np.sort(before)[::-1]
    half = int(np.searchsorted(np.cumsum(ordered), ordered.sum() / 2)) + 1
    model = str(data["model"].values[-1])
    caption = (
        f"The test pictures whose loss rises most at the barriers between two members of {model}, "
        "mean over pairs: above each its class, below it the rise in nats as members are → aligned "
        f"by weights. The {half:,} pictures whose loss rises most add up to half of the barrier; "
        f"the loss of {int((before < 0).sum()):,} of {len(before):,} falls."
    )
    return style.finish(figure, "Which pictures carry the barrier?", caption, data)
