"""What can be read off each layer, before and after training, and which layers are alike."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import style

CELL = (0.26, 0.175)  # inches, of one number
SQUARE = 0.2  # inches, of one pair of layers, at least
MEDIANS: dict[str, dict[str, Any]] = {
    "before": {"linestyle": "--", "marker": "s", "mfc": "white", "label": "at the random start"},
    "after": {"linestyle": "-", "marker": "o", "label": "trained"},
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
    figure, panels = _panels(data, "own answer")
    for p, axes in enumerate(panels):
        one, last = data.isel(model=p), int(data["num_layers"][p])
        for when, hue in (("before", style.GREY), ("after", style.colour(0))):
            _curves(axes, one["probe_accuracy"].sel(when=when)[:, :last], hue, when)
        own, ridge = (one[f"{name}_accuracy"].sel(when="after") for name in ("head", "ridge"))
        square = style.hollow(style.colour(3), 10.0, "s", mew=1.4, mfc="none", zorder=6)
        axes.plot(last - 2, ridge.median(), label="ridge on the last features", **square)
        dots = {"color": style.colour(1), "markersize": 3.5, "mew": 0}
        axes.plot([last] * own.size, own, "o", alpha=max(0.3, style.thin(own.size)), **dots)
        diamond = style.hollow(style.colour(1), 6.5, "D", mew=1.6, zorder=5, label="trained head")
        axes.plot(last, own.median(), **diamond)
    caption = (
        "How often ridge regression on the features of one layer tells the class. "
        f"{_note(data)} The square: in the place of the trained head (diamond)."
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
    nearest = f"{data.attrs['neighbours']} nearest neighbours"
    rules = {"centroid": "nearest class average", "neighbour": nearest}
    figure, panels = _panels(data)
    for (p, axes), (c, name), when in product(enumerate(panels), enumerate(rules), MEDIANS):
        values = data[f"{name}_accuracy"][p].sel(when=when)[:, : int(data["num_layers"][p])]
        _curves(axes, values, style.colour(c), when, f"{rules[name]}, ")
    caption = (
        "Rules that learn nothing, asked in the space of each layer: where pictures of one class "
        f"have come to lie together, they are right. {_note(data)}"
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
    layers = [["class"], *_layers(data)]
    counts = [len(names) for names in layers]
    size = max(6.5, sum(counts) * CELL[0] + 0.12 * len(counts) + 1.9), len(rows) * CELL[1] + 0.8
    figure, grid = style.sheet(size[0], 2 * size[1], 2, len(counts), width_ratios=counts)
    # A title is no factor, and leaves its row empty.
    scores = data["factor_r2"].median("member").reindex(factor=rows)
    of_class = data["label_r2"].reindex(factor=rows).values[:, None]
    for (line, p), axes in np.ndenumerate(grid):
        own = scores[p - 1, line, : counts[p]].values.T if p else of_class
        image = _picture(axes, own, layers[p] if line else [""] * counts[p])
        for (row, column), value in np.ndenumerate(own):
            if np.isfinite(value):
                look = {"size": style.SMALL, "color": style.ink_on(image.to_rgba(value))}
                axes.text(column, row, f"{100 * max(value, 0.0):.0f}", **style.CENTRED, **look)
        axes.set_yticks([])
    for axes, label in zip(grid[:, 0], ("at the random start", "trained"), strict=True):
        axes.set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows])
        for name, tick in zip(rows, axes.get_yticklabels(), strict=True):
            tick.set_weight("bold" if name in groups else "normal")
        axes.set_ylabel(label, size=10, weight="bold")
    _name(grid[0, 1:], data, CELL[0])
    caption = (
        "100 · R² of a ridge regression from a layer to a factor of the drawing: 100 where it can "
        "be read off exactly, 0 where nothing can. The column “class”: how much is known by "
        "knowing cat or dog alone; a factor that has only that much left has been thrown away but "
        f"for what it says of the class. {_note(data)}"
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
    shown, layers = data["alignment"].dropna("comparison", how="all"), _layers(data)
    counts = [len(names) for names in layers]
    beside = 0.66 * len(counts) + 1.3
    square = np.clip((6.5 - beside) / sum(counts), SQUARE, 2 * SQUARE)
    size = square * sum(counts) + beside, square * max(counts) + 0.12
    whole, places = (max(6.5, size[0]), len(shown) * size[1] + 1.2), (len(shown), len(counts))
    figure, grid = style.sheet(*whole, *places, width_ratios=counts)
    for (r, p), axes in np.ndenumerate(grid):
        names = layers[p] if r == len(grid) - 1 else [""] * counts[p]
        image = _picture(axes, shown[r, p, : counts[p], : counts[p]].values, names)
        axes.set_aspect("equal", anchor="NW")
        axes.set_yticks(range(counts[p]), layers[p])
    _name(grid[0], data, square)
    for axes, name in zip(grid[:, 0], shown["comparison"].values, strict=True):
        axes.set_ylabel("\n".join(style.wrap(name, size[1] - 0.2)), weight="bold", loc="top")
    place: Any = {"ax": grid, "aspect": 40, "shrink": 0.6, "panchor": False}
    figure.colorbar(image, label="alignment (debiased linear CKA)", **place)
    caption = (
        "Two layers are alike (1) where the same pairs of test pictures lie close together in "
        "both, whichever way their units are turned or scaled; 0 is what unrelated layers score. "
        f"Averages over the first {data.sizes['cka_member']} members, or over their pairs, on "
        f"{data.attrs['cka_examples']:,} test pictures."
    )
    return style.finish(figure, "Which layers see the same thing?", caption, data)


def _panels(data, *more):
    """Lay out panels, each as wide as it has layers and more, and name what stands there."""
    places = [[*names, *more] for names in _layers(data)]
    widths, ylabel = [0.32 * len(names) + 0.5 for names in places], "test accuracy (fraction right)"
    models = data["model"].values.tolist()
    figure, panels = style.panels(models, widths, 3.2, sharey=True, ylabel=ylabel)
    for axes, names in zip(panels, places, strict=True):
        axes.axhline(style.chance(data), **style.GUESSING)
        axes.set_xticks(range(len(names)), names, rotation=50, ha="right", rotation_mode="anchor")
        axes.set_xlim(-0.4, len(names) - 0.6)
        axes.grid(axis="y", color=style.PALE, linewidth=0.6)
    return figure, panels


def _curves(axes, values, hue, when, rule=""):
    """Draw one line per member (member, layer), and their median."""
    look = MEDIANS[when]
    thin = {"linestyle": look["linestyle"], "lw": 0.7, "alpha": 0.6 * style.thin(len(values))}
    if len(values) > 1:
        axes.plot(values.values.T, color=hue, zorder=2, **thin)
    bold = look | {"linewidth": 2.0, "zorder": 4, "label": rule + look["label"]}
    axes.plot(values.median("member"), color=hue, markersize=4.5, **bold)


def _layers(data):
    """Name the layers of every model, the input first."""
    names, counts = data["layer_name"].values.tolist(), data["num_layers"].values
    return [own[:count] for own, count in zip(names, counts, strict=True)]


def _note(data):
    attrs = data.attrs
    return (
        f"Fitted on {attrs['probe_train_examples']:,} training examples, scored on "
        f"{attrs['probe_test_examples']:,} test examples; layers of more than "
        f"{attrs['probe_features']} numbers are mixed down to so many. Thin: one of "
        f"{style.members(data.sizes['member'])}; bold or written: their median."
    )


def _name(line, data, cell):
    """Write the names of the models above maps, whose cells are so many inches wide."""
    for axes, model, count in zip(
        line, data["model"].values, data["num_layers"].values, strict=True
    ):
        title = style.model_title(model, max(cell * count + 0.2, 0.8), 8.5)
        axes.set_title(title, size=8.5, loc="center")


def _picture(axes, values, names):
    """Draw values in 0..1 as a map whose columns have names below."""
    image = axes.imshow(values.clip(0.0, 1.0), cmap="viridis", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return image
