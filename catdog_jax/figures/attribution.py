"""What members see in the same pictures, whether they see the same, and what they would like to."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from catdog_jax.figures import strip, style, tiles

TILE = 0.7  # inches, side of one map
BETWEEN = 0.3  # blocks of maps, in sides of a tile
MAX_MEMBERS, MAX_PICTURES = 4, 6  # of maps drawn at most
SATURATED = 99.0  # percentile of the sizes that is drawn in full colour
# Dark is against and light is for, so that it is read in grey as well.
FOR_AND_AGAINST = LinearSegmentedColormap.from_list(
    "for_and_against", ["#08306B", "#3A78B5", "#9A9A9A", "#F6B44A", "#FFF3C4"]
)
LIKED, MAX_CLASSES = 5, 4  # maximising inputs drawn at most: members, classes
TALL = 1.36  # from one maximising input to the next below, in sides
HUES = (style.PALETTE[0], style.PALETTE[1], style.GREY)


@style.look()
def maps(data: xr.Dataset) -> Figure:
    """Draw maps of the first members of the last model on the same pictures.

    Args:
      data: `picture_pixels` (picture, row, column, channel), 0..255; `label` (picture); `saliency`
        (model, member, picture, row, column, channel), the gradient of the score;
        `integrated_gradients` (model, member, picture, row, column) and `occlusion` (model,
        member, picture, window_row, window_column), above zero where a place speaks for the true
        class; `agreement` (measure, kind, map, model, member, other_member), correlations;
        attributes `window` and `stride` of the occlusion in pixels, `run`, `dataset`.

    Returns:
      Figure: a row per picture, at most six, evenly spaced; a block of columns per kind of map, a
      column per member, at most the first four.
    """
    one = data.isel(model=-1)
    places = np.linspace(0, data.sizes["picture"] - 1, min(MAX_PICTURES, data.sizes["picture"]))
    shown = one.isel(member=slice(MAX_MEMBERS), picture=places.round().astype(int))
    shown = shown.transpose("picture", "member", ...)  # rows and columns
    rows, members = shown.sizes["picture"], shown["member"].values.tolist()
    # The centres of the squares that are covered span less than the whole side.
    reach = 1.0 - (data.attrs["window"] - data.attrs["stride"]) / data.sizes["row"]
    width = len(members) * (1 + tiles.GAP) + BETWEEN
    starts = 1 + BETWEEN + width * np.arange(3)
    span = rows * (1 + tiles.GAP)
    figure = style.sheet(max(6.5, (starts[-1] + width + 0.5) * TILE), (span + 0.75) * TILE)
    axes: Any = figure.subplots()
    tiles.block(axes, shown["picture_pixels"].values[:, None])
    sizes = abs(shown["saliency"]).max("channel").values
    tiles.block(axes, _map(sizes), starts[0], cmap="Greys", vmin=0, vmax=1)
    signed: Any = {"cmap": FOR_AND_AGAINST, "vmin": -1, "vmax": 1}
    tiles.block(axes, _map(shown["integrated_gradients"].values), starts[1], **signed)
    if reach < 1:  # the ground of what no place of the map stands for
        tiles.block(axes, np.full((rows, len(members), 1, 1, 3), 0.93), starts[2])
    tiles.block(axes, _map(shown["occlusion"].values), starts[2], share=reach, **signed)
    names = ("picture", *data["map"].values)
    for name, left in zip(names, (0.0, *starts), strict=True):
        axes.text(left, -0.34, name, weight="bold", va="bottom", size=9.0)
    axes.xaxis.tick_top()
    columns = np.concatenate([left + tiles.centres(len(members)) for left in starts])
    axes.set_xticks(columns, members * 3)
    classes = [style.short(data["class"].values[label]) for label in shown["label"].values]
    axes.set_yticks(tiles.centres(rows), classes)
    rank = one["agreement"].sel(measure="rank of sizes", kind="same picture").values
    means = [f"{n} {style.pairs(x).mean():.2f}" for n, x in zip(names[1:], rank, strict=True)
             if style.pairs(x).size]  # fmt: skip
    alike = f"Mean rank correlation between members: {', '.join(means)}. " if means else ""
    model = str(one["model"].values)
    caption = (
        f"Members {', '.join(map(str, members))} of {model} (numbers above the columns). The score "
        "is the logit of the true class against the others. Saliency: its largest absolute "
        "gradient over the colours of a pixel; dark is much. The others: light (yellow) speaks for "
        "the true class, dark (blue) against it, grey for nothing. Integrated gradients share the "
        "score out among the pixels, from a picture of the mean colour on; occlusion is its drop "
        "when a square around the place is covered with that colour. Each map is scaled by its own "
        f"99th percentile. {alike}{style.source(data)}"
    )
    return style.finish(figure, f"What {model} looks at", caption, data)


@style.look()
def map_agreement(data: xr.Dataset) -> Figure | None:
    """Draw the correlations of the maps of all pairs of members, a panel per kind of map.

    Args:
      data: `agreement` (measure, kind, map, model, member, other_member), mean correlation of two
        members' maps, nan where there is none; the first kind is the question, the others are the
        yardsticks; axis `picture`; attributes `run`, `dataset`.

    Returns:
      Figure, in each panel a group of rows per model; None for a single member.
    """
    num_members = data.sizes["member"]
    if num_members < 2:
        return None
    rank = data["agreement"].sel(measure="rank of sizes")
    kinds, methods, models = (rank[name].values.tolist() for name in ("kind", "map", "model"))
    apart = ~np.eye(num_members, dtype=bool)
    group = len(kinds) + 1
    count = group * len(models) - 1
    rows = [group * p + g for p in range(len(models)) for g in range(len(kinds))]
    figure = style.sheet(3.1 * len(methods) + 1.8, 0.75 + 0.36 * count)
    panels = figure.subplots(1, len(methods), sharey=True, squeeze=False)[0]
    for axes, method in zip(panels, methods, strict=True):
        values = rank.sel(map=method).values[..., apart]
        for g, p in np.ndindex(values.shape[:2]):
            strip.draw_strip(axes, group * p + g, values[g, p], HUES[g], "one pair of members")
        axes.axvline(0, **style.DOTTED)
        axes.set_xlim(min(np.nanmin(values, initial=0.0) - 0.05, -0.1), 1.04)
        axes.set_title(method, loc="left")
        axes.set_xlabel("correlation of two members' maps")
        for p in range(1, len(models)):
            axes.axhline(group * p - 1, color=style.PALE, linewidth=0.6, zorder=0)
        style.name_rows(axes, rows, kinds * len(models))
    panels[0].set_ylim(count - 0.4, -1.1)
    bold = {"transform": panels[0].get_yaxis_transform(), "weight": "bold", "va": "bottom"}
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    for p, model in enumerate(models):
        panels[0].text(0.0, group * p - 0.55, style.short(model, 36), bbox=ground, **bold)
    caption = (
        f"Every dot is a pair of {num_members} members. Spearman's rank correlation of the sizes "
        f"of their maps, averaged over {data.sizes['picture']} pictures: 1 where both find the "
        f"same places important. “{kinds[0]}” is the question; below it the yardsticks: maps of "
        "different pictures of one class, which share only where animals tend to be, and of the "
        f"same members before training, which share only picture and formula. {style.source(data)}"
    )
    title = "Do different starts look at the same thing?"
    return style.finish(figure, title, caption, data)


@style.look()
def maximising_inputs(data: xr.Dataset) -> Figure:
    """Draw, for every model, the input of the largest score of each class and member.

    Args:
      data: `maximising_input` (model, member, class, row, column, channel), pixels in 0..1;
        `maximising_score` (model, member, class), logit of the class against the others;
        attributes `run`, `dataset`.

    Returns:
      Figure: a panel per model, a row per class, a column per member, the first ones.
    """
    shown = data.isel({"member": slice(LIKED), "class": slice(MAX_CLASSES)})
    classes = [style.short(name) for name in shown["class"].values]
    members = shown["member"].values
    side = 0.85  # inches
    size = (len(members) * (1 + tiles.GAP) + 0.9) * side, (len(classes) * TALL + 1.1) * side
    figure, panels = style.panels(data.sizes["model"], *size, min(2, data.sizes["model"]))
    columns, rows = tiles.centres(len(members)), tiles.centres(len(classes), TALL)
    for p, axes in enumerate(panels):
        pictures = shown["maximising_input"][p].transpose("class", "member", ...).values
        tiles.block(axes, pictures.clip(0, 1), pitch=TALL)
        scores = shown["maximising_score"][p].transpose("class", "member").values
        for (k, m), score in np.ndenumerate(scores):
            small = {"ha": "center", "va": "top", "size": 7.5, "color": style.GREY}
            axes.text(columns[m], rows[k] + 0.53, f"{score:+.1f}", **small)
        axes.set_xticks(columns, members)
        axes.set_yticks(rows, classes)
        axes.set_xlabel("member")
        axes.set_title(style.model_title(str(data["model"].values[p]), size[0] - 0.7), loc="left")
    caption = (
        f"The input of the largest score for {', '.join(classes)}, found by gradient ascent on the "
        "pixels from faint noise, with little total variation and the contrast of the pictures. "
        f"Below each its score, the logit of its class against the others. {style.source(data)}"
    )
    return style.finish(figure, "What each member would most like to see", caption, data)


def _map(values):
    return tiles.scaled(values, 2, SATURATED)
