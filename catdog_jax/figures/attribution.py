"""What members see in the same pictures, whether they see the same, and what they would like to."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from catdog_jax.figures import parts, style

TILE = 0.65  # inches, side of one map
PITCH = 1 + parts.GAP
BETWEEN = 0.3  # blocks of maps, in sides of a tile
MAX_MEMBERS, MAX_PICTURES = 4, 6  # of maps drawn at most
SATURATED = 99.0  # percentile of the sizes that is drawn in full colour
# Dark is against and light is for, so that it is read in grey as well.
FOR_AND_AGAINST = LinearSegmentedColormap.from_list(
    "for_and_against", ["#08306B", "#3A78B5", "#9A9A9A", "#F6B44A", "#FFF3C4"]
)
SIGNED: Any = {"cmap": FOR_AND_AGAINST, "vmin": -1, "vmax": 1}
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
    width = len(members) * PITCH + BETWEEN
    starts = 1 + BETWEEN + width * np.arange(3)
    size = (starts[-1] + width + 0.5) * TILE, (rows * PITCH + 0.75) * TILE
    figure, [[axes]] = style.sheet(max(6.5, size[0]), size[1])
    parts.draw_tiles(axes, shown["picture_pixels"].values[:, None])
    sizes = abs(shown["saliency"]).max("channel").values
    parts.draw_tiles(axes, _map(sizes), starts[0], cmap="Greys", vmin=0, vmax=1)
    parts.draw_tiles(axes, _map(shown["integrated_gradients"].values), starts[1], **SIGNED)
    if reach < 1:  # the ground of what no place of the map stands for
        parts.draw_tiles(axes, np.full((rows, len(members), 1, 1, 3), 0.93), starts[2])
    parts.draw_tiles(axes, _map(shown["occlusion"].values), starts[2], share=reach, **SIGNED)
    for name, left in zip(("picture", *data["map"].values), (0.0, *starts), strict=True):
        heading = name if len(members) > 1 else name.replace(" ", "\n")
        axes.text(left, -0.34, heading, weight="bold", va="bottom", size=9.0)
    axes.xaxis.tick_top()
    axes.set_xticks(np.add.outer(starts, parts.centres(len(members))).ravel(), members * 3)
    classes = [style.short(data["class"].values[label]) for label in shown["label"].values]
    axes.set_yticks(parts.centres(rows), classes)
    rank = one["agreement"].sel(measure="rank of sizes", kind="same picture")
    pairs = {name: style.pairs(rank.sel(map=name).values) for name in data["map"].values}
    means = ", ".join(f"{name} {x.mean():.2f}" for name, x in pairs.items() if x.size)
    model = str(one["model"].values)
    caption = (
        f"Columns: member{'s' * (len(members) > 1)} {', '.join(map(str, members))} of {model}. The "
        "score is the logit of the true class against the others. Saliency: its largest absolute "
        "gradient over the colours of a pixel; dark is much. The others: light (yellow) speaks for "
        "the true class, dark (blue) against it, grey for nothing. Integrated gradients share the "
        "score out among the pixels, from a picture of the mean colour on; occlusion is its drop "
        "when a square around the place is covered with that colour. Each map is scaled by its own "
        f"99th percentile. {f'Mean rank correlation between members: {means}.' * bool(means)}"
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
    # A row with the model's name goes before its kinds.
    rows = np.arange((len(kinds) + 1) * len(models)).reshape(len(models), -1)
    size = 2.8 * len(methods) + 1.8, 0.4 + 0.36 * rows.size
    figure, [panels] = style.sheet(*size, 1, len(methods), sharey=True)
    for axes, method in zip(panels, methods, strict=True):
        values = rank.sel(map=method).values[..., apart]
        for g, p in np.ndindex(values.shape[:2]):
            parts.draw_strip(
                axes, int(rows[p, g + 1]), values[g, p], HUES[g], "one pair of members"
            )
        axes.axvline(0, **style.DOTTED)
        low = min(np.nanmin(values, initial=0.0) - 0.05, -0.1)
        axes.set(xlim=(low, 1.04), xlabel="correlation of two members' maps", title=method)
        for top in rows[1:, 0]:
            axes.axhline(top, color=style.PALE, linewidth=0.6, zorder=0)
        style.name_rows(axes, rows[:, 1:].ravel(), kinds * len(models))
    panels[0].set_ylim(rows.size - 0.4, -0.1)
    bold = {"transform": panels[0].get_yaxis_transform(), "weight": "bold", "va": "bottom"}
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    for top, model in zip(rows[:, 0], models, strict=True):
        panels[0].text(0.0, top + 0.45, style.short(model, 36), bbox=ground, **bold)
    caption = (
        f"Every dot is a pair of {num_members} members. Spearman's rank correlation of the sizes "
        f"of their maps, averaged over {data.sizes['picture']} pictures: 1 where both find the "
        f"same places important. “{kinds[0]}” is the question; below it the yardsticks: maps of "
        "different pictures of one class, which share only where animals tend to be, and of the "
        "same members before training, which share only picture and formula."
    )
    return style.finish(figure, "Do different starts look at the same thing?", caption, data)


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
    shown = shown.transpose("model", "class", "member", ...)
    members, classes = shown["member"].values, [style.short(k) for k in shown["class"].values]
    size = 0.85 * (len(members) * PITCH + 0.9), 0.85 * (len(classes) * TALL + 1.1)  # inches
    models = data["model"].values.tolist()
    figure, panels = style.panels(models, *size, min(2, len(models)), xlabel="member")
    columns, rows = parts.centres(len(members)), parts.centres(len(classes), TALL)
    for p, axes in enumerate(panels):
        pictures = shown["maximising_input"].values[p].clip(0, 1)
        parts.draw_tiles(axes, pictures, pitch=TALL)
        for (k, m), score in np.ndenumerate(shown["maximising_score"].values[p]):
            small = {"ha": "center", "va": "top", "size": style.SMALL, "color": style.GREY}
            axes.text(columns[m], rows[k] + 0.53, f"{score:+.1f}", **small)
        axes.set_xticks(columns, members)
        axes.set_yticks(rows, classes)
    caption = (
        f"The input of the largest score for {', '.join(classes)}, found by gradient ascent on the "
        "pixels from faint noise, with little total variation and the contrast of the pictures. "
        "Below each its score, the logit of its class against the others."
    )
    return style.finish(figure, "What each member would most like to see", caption, data)


def _map(values):
    return parts.scaled(values, 2, SATURATED)
