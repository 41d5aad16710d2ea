"""What can be read off each layer: one curve per network over its layers, before and after."""

from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import style

PANEL = 3.2  # inches, height
STEP = 0.32  # inches, width of a layer
WHEN: dict[str, Any] = {  # looks of the medians
    "before": {"linestyle": "--", "marker": "s", "markerfacecolor": "white"},
    "after": {"linestyle": "-", "marker": "o"},
}
SQUARE = style.hollow(style.colour(3), 8.0, "s", markeredgewidth=1.4, markerfacecolor="none")
DIAMOND = style.hollow(style.colour(1), 6.5, "D", markeredgewidth=1.6)


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
    hues = {"before": style.GREY, "after": style.colour(0)}
    for p, axes in enumerate(panels):
        one, count = data.isel(model=p), int(data["num_layers"][p])
        for when, hue in hues.items():
            _curves(axes, one["probe_accuracy"].sel(when=when)[:, :count], hue, when)
        own, ridge = (one[f"{name}_accuracy"].sel(when="after") for name in ("head", "ridge"))
        axes.plot([count - 2], [ridge.median()], zorder=6, **SQUARE)
        dots = {"color": style.colour(1), "markersize": 3.5, "mew": 0}
        axes.plot([count] * own.size, own, "o", alpha=max(0.3, style.thin(own.size)), **dots)
        axes.plot([count], [own.median()], zorder=5, **DIAMOND)
        _name_layers(axes, data, p, "own answer")
    caption = (
        "How often a straight line through the features of one layer tells the class: ridge "
        "regression fitted on training examples, its penalty chosen by leaving one out, scored on "
        f"test examples. Thin lines are {style.members(data.sizes['member'])} of each model, bold "
        "ones their median. The square marks the regression in the place of the trained head, on "
        f"all the features that it reads, the diamond the trained network itself. {note(data)}"
    )
    handles = [
        *(style.handle(name, **_look(when, hues[when])) for when, name in _NAMES.items()),
        style.handle("ridge regression on the last features", **SQUARE),
        style.handle("trained head", **DIAMOND),
        style.handle("guessing", **style.DOTTED),
    ]
    title = "Layer after layer, can the class be read off by a straight line?"
    return style.finish(figure, title, caption, data, handles)


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
    rules = {"nearest class average": "centroid_accuracy", nearest: "neighbour_accuracy"}
    figure, panels = _panels(data)
    for p, axes in enumerate(panels):
        count = int(data["num_layers"][p])
        for (c, name), when in (
            (rule, when) for rule in enumerate(rules.values()) for when in WHEN
        ):
            _curves(axes, data[name][p].sel(when=when)[:, :count], style.colour(c), when)
        _name_layers(axes, data, p)
    caption = (
        "Rules that learn nothing, asked in the space of each layer: where pictures of one class "
        "have come to lie together, they are right. Fitted on training examples, scored on test "
        f"examples. Thin lines are {style.members(data.sizes['member'])} of each model, bold ones "
        f"their median. {note(data)}"
    )
    lines = (style.handle(n, color=style.colour(c), linewidth=2.2) for c, n in enumerate(rules))
    handles = [
        *lines,
        *(style.handle(name, **_look(when, style.INK)) for when, name in _NAMES.items()),
        style.handle("guessing", **style.DOTTED),
    ]
    title = "Layer after layer, do cats come to lie beside cats?"
    return style.finish(figure, title, caption, data, handles)


_NAMES = {"before": "at the random start", "after": "trained"}


def _panels(data, more=0):
    """Lay out panels side by side, each as wide as it has layers; more than five in two lines."""
    counts = (data["num_layers"].values + more).tolist()
    columns = len(counts) if len(counts) <= 5 else style.num_columns(len(counts))
    widest = sum(counts) / columns if columns == len(counts) else max(counts)
    ratios = {"width_ratios": counts} if columns == len(counts) else {}
    width = max(6.5 / columns, STEP * widest + 0.4)
    figure, panels = style.panels(len(counts), width, PANEL, columns, sharey=True, **ratios)
    panels[0].set_ylabel("test accuracy (fraction right)")
    return figure, panels


def _look(when, hue):
    return {"color": hue, "linewidth": 2.0, "markersize": 4.5, **WHEN[when]}


def _curves(axes, values, hue, when):
    """Draw one line per member (member, layer), and their median."""
    look, alpha = _look(when, hue), 0.6 * style.thin(len(values))
    if len(values) > 1:
        line = look["linestyle"]
        axes.plot(values.values.T, line, color=hue, lw=0.7, alpha=alpha, zorder=2)
    axes.plot(values.median("member"), zorder=4, **look)


def _name_layers(axes, data, p, *more):
    names = [*data["layer_name"].values[p, : int(data["num_layers"][p])], *more]
    axes.axhline(style.chance(data), **style.DOTTED)
    axes.set_xticks(range(len(names)), names, rotation=50, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.4, len(names) - 0.6)
    model = str(data["model"].values[p])
    axes.set_title(style.model_title(model, STEP * len(names) + 0.2), loc="left")
    axes.grid(axis="y", color=style.PALE, linewidth=0.6)


def note(data: xr.Dataset) -> str:
    """Say what the probes were fitted and scored on."""
    attrs = data.attrs
    return (
        f"{attrs['probe_train_examples']:,} training and {attrs['probe_test_examples']:,} test "
        f"examples; layers of more than {attrs['probe_features']} numbers are mixed down to so "
        f"many. {style.source(data)}"
    )
