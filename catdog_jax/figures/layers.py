"""What can be read off each layer, before and after training, and which layers are alike."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import style

STEP = 0.32  # inches, width of a layer among curves
CELL = (0.29, 0.175)  # inches, of one number
SQUARE = 0.25  # inches, of one pair of layers
WHEN: dict[str, tuple[str, dict[str, Any]]] = {  # in words, and the look of the medians
    "before": ("at the random start", {"linestyle": "--", "marker": "s", "mfc": "white"}),
    "after": ("trained", {"linestyle": "-", "marker": "o"}),
}
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
def class_by_layer(data: xr.Dataset) -> Figure:
    """Draw how well a linear probe reads the class off each layer, before and after training.

    Args:
      data: `probe_accuracy` (model, when, member, layer), of the probes; `head_accuracy`,
        `ridge_accuracy` (model, when, member), of the networks and of ridge regression in the
        head's place; all fractions right, nan behind the last layer and for diverged members;
        `layer_name` (model, layer), `num_layers` (model); `label` (example).

    Returns:
      Figure: a panel per model.
    """
    figure, panels = _panels(data, 1)
    for p, axes in enumerate(panels):
        one, count = data.isel(model=p), int(data["num_layers"][p])
        for when, hue in (("before", style.GREY), ("after", style.colour(0))):
            _curves(axes, one["probe_accuracy"].sel(when=when)[:, :count], hue, when)
        own, ridge = (one[f"{name}_accuracy"].sel(when="after") for name in ("head", "ridge"))
        square = style.hollow(style.colour(3), 10.0, "s", markeredgewidth=1.4, mfc="none", zorder=6)
        axes.plot([count - 2], [ridge.median()], label="ridge on the last features", **square)
        dots = {"color": style.colour(1), "markersize": 3.5, "mew": 0}
        axes.plot([count] * own.size, own, "o", alpha=max(0.3, style.thin(own.size)), **dots)
        diamond = style.hollow(style.colour(1), 6.5, "D", markeredgewidth=1.6, zorder=5)
        axes.plot([count], [own.median()], label="trained head", **diamond)
        _name_layers(axes, data, p, "own answer")
    caption = (
        "How often a straight line through the features of one layer tells the class: ridge "
        "regression fitted on training examples, its penalty chosen by leaving one out, scored on "
        f"test examples. Thin lines are {style.members(data.sizes['member'])} of each model, bold "
        f"ones their median. The square: in the place of the trained head (diamond). {_note(data)}"
    )
    title = "Layer after layer, can the class be read off by a straight line?"
    return style.finish(figure, title, caption, data)


@style.look()
def neighbours_by_layer(data: xr.Dataset) -> Figure:
    """Draw how well the simplest rules do in each layer's space, before and after training.

    Args:
      data: `centroid_accuracy`, `neighbour_accuracy` (model, when, member, layer), see
        `class_by_layer`; attribute `neighbours`, how many vote.

    Returns:
      Figure: a panel per model, a colour per rule.
    """
    nearest = f"{data.attrs['neighbours']} nearest neighbours, "
    rules = {"centroid": "nearest class average, ", "neighbour": nearest}
    figure, panels = _panels(data)
    for p, axes in enumerate(panels):
        for c, (name, words) in enumerate(rules.items()):
            for when in WHEN:
                values = data[f"{name}_accuracy"][p].sel(when=when)[:, : int(data["num_layers"][p])]
                _curves(axes, values, style.colour(c), when, words)
        _name_layers(axes, data, p)
    caption = (
        "Rules that learn nothing, asked in the space of each layer: where pictures of one class "
        "have come to lie together, they are right. Fitted on training examples, scored on test "
        f"examples. Thin lines are {style.members(data.sizes['member'])} of each model, bold ones "
        f"their median. {_note(data)}"
    )
    title = "Layer after layer, do cats come to lie beside cats?"
    return style.finish(figure, title, caption, data)


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
    layers = [_layers(data, p) for p in range(data.sizes["model"])]
    counts = [1, *map(len, layers)]
    width = sum(counts) * CELL[0] + 0.12 * len(counts) + 1.9
    figure = style.sheet(max(6.5, width), 2 * len(rows) * CELL[1] + 1.6)
    grid = figure.subplots(2, len(counts), width_ratios=counts)
    # A title is no factor, and leaves its row empty.
    scores = data["factor_r2"].median("member").reindex(factor=rows)
    of_class = data["label_r2"].reindex(factor=rows).values[:, None]
    for line, (when, (state, _)) in zip(grid, WHEN.items(), strict=True):
        shown = [scores[p].sel(when=when)[: len(x)].T.values for p, x in enumerate(layers)]
        for axes, values, names in zip(line, [of_class, *shown], [["class"], *layers], strict=True):
            _picture(axes, values)
            for (row, column), value in np.ndenumerate(values):
                if np.isfinite(value):
                    ink = {"size": 6.5, "color": style.INK if value > 0.6 else "white"}
                    axes.text(column, row, f"{100 * max(value, 0.0):.0f}", **style.CENTRED, **ink)
            axes.set_yticks([])
            axes.set_xticks(range(len(names)), names if when == "after" else [""] * len(names))
            axes.tick_params(axis="x", rotation=90)
        line[0].set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows])
        for name, label in zip(rows, line[0].get_yticklabels(), strict=True):
            label.set_weight("bold" if name in groups else "normal")
        line[0].set_ylabel(state, size=10, weight="bold")
    for axes, model, names in zip(grid[0, 1:], data["model"].values, layers, strict=True):
        _title(axes, model, CELL[0] * len(names))
    caption = (
        "100 · R² of a ridge regression from a layer to a factor of the drawing, on test examples: "
        "100 where it can be read off exactly, 0 where nothing can; the median over "
        f"{style.members(data.sizes['member'])}. The column “class”: how much is known by knowing "
        "cat or dog alone; a factor that has only that much left has been thrown away but for what "
        f"it says of the class. {_note(data)}"
    )
    return style.finish(figure, "What does each layer still know of the picture?", caption, data)


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
    layers = [_layers(data, p) for p in range(data.sizes["model"])]
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
    figure.colorbar(image, label="alignment (debiased linear CKA)", **place)
    caption = (
        "Two layers are alike (1) where the same pairs of test pictures lie close together in "
        "both, whichever way their units are turned or scaled; 0 is what unrelated layers score. "
        f"Averages over the first {data.sizes['cka_member']} members, or over their pairs, on "
        f"{data.attrs['cka_examples']:,} test pictures. {style.source(data)}"
    )
    return style.finish(figure, "Which layers see the same thing?", caption, data)


def _panels(data, more=0):
    """Lay out panels side by side, each as wide as it has layers; more than five in two lines."""
    counts = (data["num_layers"].values + more).tolist()
    columns = len(counts) if len(counts) <= 5 else style.num_columns(len(counts))
    ratios = {"width_ratios": counts} if columns == len(counts) else {}
    widest = sum(counts) / columns if ratios else max(counts)
    width = max(6.5 / columns, STEP * widest + 0.4)
    figure, panels = style.panels(len(counts), width, 3.2, columns, sharey=True, **ratios)
    panels[0].set_ylabel("test accuracy (fraction right)")
    return figure, panels


def _curves(axes, values, hue, when, rule=""):
    """Draw one line per member (member, layer), and their median."""
    state, look = WHEN[when]
    thin = {"linestyle": look["linestyle"], "lw": 0.7, "alpha": 0.6 * style.thin(len(values))}
    if len(values) > 1:
        axes.plot(values.values.T, color=hue, zorder=2, **thin)
    bold = {"linewidth": 2.0, "markersize": 4.5, "zorder": 4, "label": rule + state}
    axes.plot(values.median("member"), color=hue, **bold, **look)


def _name_layers(axes, data, p, *more):
    names = [*_layers(data, p), *more]
    axes.axhline(style.chance(data), **style.GUESSING)
    axes.set_xticks(range(len(names)), names, rotation=50, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.4, len(names) - 0.6)
    model = str(data["model"].values[p])
    axes.set_title(style.model_title(model, STEP * len(names) + 0.2), loc="left")
    axes.grid(axis="y", color=style.PALE, linewidth=0.6)


def _layers(data, p):
    """Name the layers of a model, the input first."""
    return data["layer_name"].values[p, : int(data["num_layers"][p])].tolist()


def _note(data):
    attrs = data.attrs
    return (
        f"{attrs['probe_train_examples']:,} training and {attrs['probe_test_examples']:,} test "
        f"examples; layers of more than {attrs['probe_features']} numbers are mixed down to so "
        f"many. {style.source(data)}"
    )


def _title(axes, model, width):
    axes.set_title(style.model_title(model, max(width, 0.8), 8.5), size=8.5)


def _picture(axes, values):
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return axes.imshow(values.clip(0.0, 1.0), cmap="viridis", vmin=0.0, vmax=1.0, aspect="auto")
