"""Accuracy against settings, what the random start does to it, maps of it, and learning curves."""

from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from catdog_jax.figures import style

COLOURS = matplotlib.colormaps["viridis"].with_extremes(bad="#C8C8C8")
LEGIBLE = 0.38  # inches of a cell that has room for a number
FEW = 14  # values that an axis names
MARKS = {"dead": "dead", "diverged": "×"}  # instead of the accuracy
SAME = style.hollow(style.INK, 6.5, zorder=4, label="cannot be told from the best")
BEST = style.hollow(style.INK, 11.0, "*", color=style.INK, zorder=5, label="best on validation")
GONE: Any = {
    "color": style.PALE,
    "lw": 0,
    "zorder": 0,
    "label": "half of the starts or more diverge",
}
KINDS = ("test accuracy (%)", "± starts (points)")


def _short(value: float | str) -> str:
    return style.short(value, 26) if isinstance(value, str) else f"{value:.3g}"


def _ranked(values: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
    """Put values at equal distances, 0, 1, 2, …; name some of the places."""
    known, places = np.unique(values, return_inverse=True)
    return places, {k: _short(known[k]) for k in range(0, len(known), len(known) // FEW + 1)}


@style.look()
def by_setting(data: xr.Dataset) -> Figure:
    """Draw accuracy and its spread over starts against each setting.

    Args:
      data: a coordinate of `trial` for each setting; `test_accuracy` (model, trial, member),
        fractions, nan where a member diverged; `best_trial`, `diverges_from` (model), `alike`,
        `stopped_step` (model, trial); `label` (example).

    Returns:
      A column for each model and setting.
    """
    names = data.attrs["swept"].split()
    columns = [(m, name) for m in range(data.sizes["model"]) for name in names]
    shape: Any = {"sharex": "col", "sharey": "row", "height_ratios": [2.2, 1]}
    width = min(3.0, style.WIDEST / len(columns))
    figure, grid = style.sheet(max(6.0, width * len(columns)), 4.4, 2, len(columns), **shape)
    # In a grid, trials of one rate differ in something else.
    line: Any = {"linewidth": 1.6, "linestyle": "-" if len(names) == 1 else "none"}
    for (above, below), (m, name) in zip(grid.T, columns, strict=True):
        one = data.isel(model=m).sortby(name)
        x, ticks = _ranked(one[name].values)
        mean, line["color"] = 100 * one["accuracy_mean"].values, style.colour(m)
        thin: Any = {"alpha": style.thin(data.sizes["member"]), "markersize": 3.5, "mew": 0}
        thin |= {"color": style.colour(m), "label": "one start"}
        above.plot(x, 100 * one["test_accuracy"], "o", **thin)
        above.plot(x, mean, marker="_", markersize=9, mew=2, label="mean", **line)
        below.plot(x, 100 * one["accuracy_sd"], marker="o", markersize=4, **line)
        best = (one["trial"] == one["best_trial"]).values
        like = (one["alike"].values == 1) & ~best
        above.plot(x[like], mean[like], **SAME)
        above.plot(x[best], mean[best], **BEST)
        above.axhline(100 * style.chance(data), **style.GUESSING)
        edge = float(one["diverges_from"]) if name == "learning_rate" else np.nan
        for axes in (above, below) if edge > 0 else ():
            axes.axvspan(x[one[name] >= edge].min() - 0.5, x.max() + 0.5, **GONE)
        below.set(xlabel=name, ylim=(0, None))
        below.set_xticks([*ticks], ticks.values(), rotation=90)
        above.set_title(style.model_title(str(one["model"].values), width - 0.4))
    for axes, text in zip(grid[:, 0], KINDS, strict=True):
        axes.set_ylabel(text)
    caption = (
        f"Above: all {data.sizes['member']} starts of each trial, and their mean; rings: not told "
        "from the best on the test set by Welch's t-test over starts (one-sided, 5 % over all). "
        "Below: their standard deviation. Starts that diverged are left out; what was stopped is "
        "shown as it was then."
    )
    return style.finish(figure, "Accuracy against settings, and the start", caption, data)


@style.look()
def maps(data: xr.Dataset) -> Figure | None:
    """Draw mean accuracy and its spread over starts as maps of two settings, or setting × model.

    Args:
      data: see `by_setting`; `outcome` (model, trial): 'diverged', 'stopped', 'dead', 'trained'.

    Returns:
      Two maps for each model, or for all; None where trials are no such grid.
    """
    names = data.attrs["swept"].split()
    shown = data[["accuracy_mean", "accuracy_sd", "outcome"]]
    if len(names) == 2:
        shown = shown.set_index(trial=names[::-1]).unstack("trial").rename(model="panel")
    elif len(names) == 1 and data.sizes["model"] > 1:  # a row for each model
        shown = shown.swap_dims(trial=names[0]).sortby(names[0]).expand_dims(panel=[""])
    else:
        return None
    *_, y, x = shown["outcome"].dims
    (count, height, width), ends = shown["outcome"].shape, shown["outcome"].values
    if height * width > data["outcome"].size:
        return None
    rows, columns = ([_short(value) for value in shown[axis].values] for axis in (y, x))
    cell = min(0.5, 3.4 / max(height, width))
    size = 2 * max(1.8, cell * width) + 3.0, count * (max(1.0, cell * height) + 0.9)
    figure, grid = style.sheet(*size, count, 2, sharex=True, sharey=True)
    for k, (name, label) in enumerate(zip(("accuracy_mean", "accuracy_sd"), KINDS, strict=True)):
        values = 100 * shown[name].values
        look = {"origin": "lower", "aspect": "auto", "cmap": COLOURS}
        look |= {"vmin": 0.0 if k else np.nanmin(values), "vmax": np.nanmax(values)}
        for axes, one, end, title in zip(
            grid[:, k], values, ends, shown["panel"].values, strict=True
        ):
            image = axes.imshow(one, **look)
            for place, value in np.ndenumerate(one) if cell > LEGIBLE else ():
                text = f"{value:.{k}f}".replace("nan", "")
                ink = {"color": style.ink_on(image.to_rgba(value)[:3]), **style.CENTRED}
                axes.text(*place[::-1], text if k else MARKS.get(end[place], text), **ink)
            axes.set_title(style.model_title(title, 2.0))
        axes.set(xlabel=x, ylabel=y if k == 0 else "")
        axes.set_xticks(range(width), columns, rotation=90)
        axes.set_yticks(range(height), rows)
        figure.colorbar(image, ax=grid[:, k].tolist(), label=label)
    caption = (
        f"Mean test accuracy over {data.sizes['member']} starts of each trial, and its standard "
        "deviation over them. ×: at least half of the starts diverged; dead: they end no better "
        "than guessing, as far as this test set tells. What was stopped is shown as it was then."
    )
    return style.finish(figure, "Where training works, and where the start matters", caption, data)


@style.look()
def curves(data: xr.Dataset) -> Figure:
    """Draw the learning curve of every trial, coloured by the first setting.

    Args:
      data: see `by_setting`; `accuracy_over_time` (model, trial, member, eval), fractions, nan
        where a trial had been stopped; `step` (model, eval).

    Returns:
      A panel for each model.
    """
    names = data.attrs["swept"].split()
    labels: Any = {"xlabel": "training step", "ylabel": KINDS[0]}
    figure, panels = style.panels(data["model"].values.tolist(), 4.2, 2.9, sharey=True, **labels)
    x, ticks = _ranked(data[names[0]].values)
    shade = ScalarMappable(Normalize(0, max(1, x.max())), COLOURS)
    for m, axes in enumerate(panels):
        one, alive = data.isel(model=m), data["diverged_step"][m] < 0
        middle = 100 * one["accuracy_over_time"].where(alive).median("member").values
        for t, curve in enumerate(middle):
            axes.plot(one["step"], curve, lw=1.4, color=shade.to_rgba(x[t]))
        ends = np.nonzero(one["step"].values == one["stopped_step"].values[:, None])
        told = "stopped" * (len(ends[0]) > 0)
        axes.plot(one["step"].values[ends[1]], middle[ends], "x", color=style.INK, label=told)
        axes.axhline(100 * style.chance(data), **style.GUESSING)
        axes.locator_params("x", nbins=5, integer=True)
    bar = figure.colorbar(shade, ax=panels, label=names[0])
    bar.set_ticks([*ticks], labels=[*ticks.values()])
    caption = (
        f"Test accuracy of each trial while it trains: median of its {data.sizes['member']} starts "
        "that did not diverge. Trials of which all starts diverged are left out."
    )
    return style.finish(figure, "Learning curves of every setting", caption, data)
