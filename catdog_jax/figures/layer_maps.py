"""Layers as maps: what each still knows of how a picture was drawn, and which ones are alike."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import style
from catdog_jax.figures.layers import note

CELL = (0.29, 0.175)  # inches, of one number
SQUARE = 0.25  # inches, of one pair of layers
# The factors of the drawn pictures that are shown; of a data set with others, the first ones.
GROUPS: Mapping[str, Sequence[str]] = {
    "cues of the class": (
        *("ear_hang", "ear_angle", "ear_length", "muzzle_length", "nose_size"),
        *("nose_pink", "pupil_width", "whisker_length", "head_width", "body_width"),
    ),
    "pose": ("head_x", "head_y", "scale", "tilt", "yaw"),
    "light": ("light_angle (cos)", "light_angle (sin)", "light_strength"),
    "coat and scene": (
        *("fur_hue", "fur_value", "background_value", "background_hue (cos)"),
        *("clutter", "occlusion", "noise"),
    ),
}
MOST_FACTORS = 32


@style.look()
def factors_by_layer(data: xr.Dataset) -> Figure | None:
    """Draw how well each factor of the pictures can be read off each layer.

    Args:
      data: `factor_r2` (model, when, member, layer, factor), R² on test examples, ≤ 1, nan behind
        a model's last layer and for a factor that does not vary; `label_r2` (factor), R² of
        knowing the class alone; `layer_name` (model, layer), `num_layers` (model).

    Returns:
      Figure: a map per model and state, 100 · R², the median over members, written in every cell;
      None where nothing is known but the class.
    """
    known = data["factor"].values.tolist()
    if not known:
        return None
    groups = {title: [f for f in own if f in known] for title, own in GROUPS.items()}
    if not any(groups.values()):
        groups = {"factors": known[:MOST_FACTORS]}
    rows = [name for title, own in groups.items() if own for name in (title, *own)]
    layers = _layers(data)
    counts = [1, *map(len, layers)]
    width = sum(counts) * CELL[0] + 0.12 * len(counts) + 1.9
    figure = style.sheet(max(6.5, width), 2 * len(rows) * CELL[1] + 1.6)
    grid = figure.subplots(2, len(counts), width_ratios=counts)
    # A title is no factor, and leaves its row empty.
    scores = data["factor_r2"].median("member").reindex(factor=rows)
    of_class = data["label_r2"].reindex(factor=rows).values[:, None]
    states = {"before": "at the random start", "after": "trained"}
    for line, (when, state) in zip(grid, states.items(), strict=True):
        shown = [scores[p].sel(when=when)[: len(x)].T.values for p, x in enumerate(layers)]
        for axes, values, names in zip(line, [of_class, *shown], [["class"], *layers], strict=True):
            _picture(axes, values)
            for (row, column), value in np.ndenumerate(values):
                if np.isfinite(value):
                    text, ink = (
                        f"{100 * max(value, 0.0):.0f}",
                        style.INK if value > 0.6 else "white",
                    )
                    look = {"ha": "center", "va": "center", "size": 6.5, "color": ink}
                    axes.text(column, row, text, **look)
            axes.set(yticks=[], xticks=[])
            if when == "after":
                axes.set_xticks(range(len(names)), names, rotation=90)
        line[0].set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows])
        for name, label in zip(rows, line[0].get_yticklabels(), strict=True):
            label.set_weight("bold" if name in groups else "normal")
        line[0].set_ylabel(state, size=10, weight="bold")
    for axes, model, names in zip(grid[0, 1:], data["model"].values, layers, strict=True):
        _title(axes, model, CELL[0] * len(names))
    caption = (
        "100 · R² of a ridge regression from a layer to a factor of the drawing, on test examples: "
        "100 where the factor can be read off exactly, 0 where nothing can. Each number is the "
        f"median over {style.members(data.sizes['member'])}. The column “class” says how much is "
        "known of a factor by knowing cat or dog alone: a factor that has only that much left, and "
        "no more, has been thrown away but for what it says of the class. "
        f"{note(data)}"
    )
    title = "What does each layer still know of the picture?"
    return style.finish(figure, title, caption, data)


@style.look()
def alignment(data: xr.Dataset) -> Figure:
    """Draw which layers are alike: centred kernel alignment of every layer with every other.

    Args:
      data: `alignment` (comparison, model, layer, other_layer), about 0 (nothing in common) to 1,
        nan behind a model's last layer and where there is nothing to compare; `layer_name`
        (model, layer), `num_layers` (model); axis `cka_member`, as long as members were compared;
        attribute `cka_examples`.

    Returns:
      Figure: a row per comparison, a column per model.
    """
    shown = data["alignment"].dropna("comparison", how="all")
    layers = _layers(data)
    counts = [len(names) for names in layers]
    width = max(6.5, SQUARE * sum(counts) + 0.72 * len(counts) + 1.3)
    figure = style.sheet(width, len(shown) * (SQUARE * max(counts) + 0.12) + 1.2)
    grid = figure.subplots(len(shown), len(counts), squeeze=False, width_ratios=counts)
    for (r, p), axes in np.ndenumerate(grid):
        names = layers[p]
        image = _picture(axes, shown[r, p, : len(names), : len(names)].values)
        axes.set_aspect("equal", anchor="NW")
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(range(len(names)), names if r == len(grid) - 1 else [""] * len(names))
        axes.tick_params(labelsize=7)
        axes.tick_params(axis="x", rotation=90)
        if r == 0:
            _title(axes, data["model"].values[p], SQUARE * len(names) + 0.3)
    for axes, name in zip(grid[:, 0], shown["comparison"].values, strict=True):
        lines = style.wrap(name, 1.1 * SQUARE * max(counts))
        axes.set_ylabel("\n".join(lines), weight="bold", loc="top")
    place: Any = {"ax": grid, "aspect": 40, "shrink": 0.6, "panchor": False}
    bar = figure.colorbar(image, label="alignment (debiased linear CKA)", **place)
    bar.outline.set_visible(False)
    caption = (
        "Two layers are alike (1) where the same pairs of test pictures lie close together in "
        "both, whichever way their units are turned or scaled; 0 is what unrelated layers score. "
        f"Averages over the first {data.sizes['cka_member']} members, or over their pairs, on "
        f"{data.attrs['cka_examples']:,} test pictures. {style.source(data)}"
    )
    return style.finish(figure, "Which layers see the same thing?", caption, data)


def _layers(data):
    """Name the layers of each model, the input first."""
    rows = zip(data["layer_name"].values.tolist(), data["num_layers"].values, strict=True)
    return [names[:count] for names, count in rows]


def _title(axes, model, width):
    axes.set_title(style.model_title(model, max(width, 0.8), 8.5), size=8.5)


def _picture(axes, values):
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return axes.imshow(values.clip(0.0, 1.0), cmap="viridis", vmin=0.0, vmax=1.0, aspect="auto")
