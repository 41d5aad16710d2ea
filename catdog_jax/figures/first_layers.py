"""First-layer weights of several members as pictures."""

import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import style, tiles

UNITS = 5  # of a layer drawn at most, the first ones
MEMBERS = 4  # drawn at most before and after, the first ones
BETWEEN = 0.45  # between before and after, in sides of a tile
AS_COLOURS = (
    "as pictures in the colours of the inputs: mid-grey is a weight of zero, a brighter red, green "
    "or blue asks for more of that colour there. Each is scaled to its own largest weight. "
    "A model with a single unit shows the second class minus the first. "
)


def layers_of(data: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the models that have a first layer as pictures: `first_layer_P` of the P-th one."""
    names = {model: f"first_layer_{p}" for p, model in enumerate(data["model"].values.tolist())}
    return {model: data[name] for model, name in names.items() if name in data}


@style.look()
def first_layer(data: xr.Dataset) -> Figure | None:
    """Draw what the first layer of several members looks for, a panel per model.

    Args:
      data: `first_layer_P` (first_member, unit_P, kernel_row_P, kernel_column_P, channel), weights
        in any unit, of the first few members of the P-th model; missing where it reads no pixels.

    Returns:
      Figure: a row per member and a column per unit; None where no model has such a layer.
    """
    layers = layers_of(data)
    if not layers:
        return None
    rows = data.sizes["first_member"]
    figure, panels = style.panels(len(layers), 3.1, 0.6 * rows + 0.7)
    for axes, (model, layer) in zip(panels, layers.items(), strict=True):
        pictures = tiles.normalised(layer.values[:, :UNITS])
        tiles.block(axes, pictures)
        units = range(pictures.shape[1])
        axes.set_yticks(tiles.centres(rows), range(rows))
        axes.set_xticks(tiles.centres(len(units)), units if len(units) > 1 else ["difference"])
        axes.set_xlabel("unit" * (len(units) > 1))
        axes.set_xlim(0, UNITS * (1 + tiles.GAP))  # pictures of one size in all panels
        axes.set_title(style.model_title(model, 2.9), loc="left")
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("member")
    shown = f"the first {rows} of " * (rows < data.sizes["member"])
    caption = (
        f"First-layer weights of {shown}{style.members(data.sizes['member'])} (rows) and of up to "
        f"{UNITS} of their units (columns), {AS_COLOURS}{style.source(data)}"
    )
    return style.finish(figure, "What the first layer looks for", caption, data)


@style.look()
def before_after(data: xr.Dataset) -> Figure | None:
    """Draw the first-layer weights that members began with, beside those they ended with.

    Args:
      data: `first_layer_P` (moment, member, unit_P, kernel_row_P, kernel_column_P, channel),
        weights in any unit, of the P-th model, at the start and trained; missing where it reads no
        pixels; attributes `run`, `dataset`.

    Returns:
      Figure: a panel per model, a row per member, its first units; None where there is no layer.
    """
    layers = layers_of(data)
    if not layers:
        return None
    members = data["member"].values[:MEMBERS].tolist()
    figure, panels = style.panels(len(layers), 6.5, 0.55 * len(members) + 0.75, 1)
    for axes, (model, layer) in zip(panels, layers.items(), strict=True):
        pictures = tiles.normalised(layer.values[:, :MEMBERS, :UNITS])
        second = UNITS * (1 + tiles.GAP) + BETWEEN
        for left, word, own in zip((0.0, second), ("before", "after"), pictures, strict=True):
            tiles.block(axes, own, left)
            axes.text(left, -0.12, word, va="bottom", size=8, color=style.GREY)
        axes.set_xlim(0, second + UNITS * (1 + tiles.GAP))
        axes.set_xticks([])
        axes.set_yticks(tiles.centres(len(members)), members)
        axes.set_ylabel("member")
        axes.set_title(style.model_title(model, 5.8), loc="left", pad=16)
    caption = (
        "First-layer weights of the same members and units before (left) and after training "
        f"(right), {AS_COLOURS}{style.source(data)}"
    )
    return style.finish(figure, "The first layer before and after training", caption, data)
