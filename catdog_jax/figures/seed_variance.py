"""How much members trained alike spread, what of that is the test set, and where it comes from."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from catdog_jax.figures import style

PERCENT = 100.0
FEW: dict[str, Any] = {"elinewidth": 1.0, "capsize": 2.0, "linestyle": "none"}


def _named(data: xr.Dataset) -> list[str]:
    """Name the populations: formula without settings, and what differs between members."""
    pairs = zip(data["formula"].values, data["kind"].values, strict=True)
    return [
        f"{style.short(str(f).partition(':')[0], 16)}, {style.short(str(k), 26)}" for f, k in pairs
    ]


def _ranges(
    axes: Axes, data: xr.Dataset, name: str, y: np.ndarray, scale: Any, **look: Any
) -> None:
    """Draw values with their intervals, where they are known."""
    value, low, high = (scale(data[f"{name}{end}"].values) for end in ("", "_low", "_high"))
    around = np.nan_to_num(np.clip([value - low, high - value], 0.0, None))
    axes.errorbar(value, y, xerr=around, **{**FEW, **look})


@style.look()
def spread(data: xr.Dataset) -> Figure:
    """Draw the accuracy of every member, and the standard deviations that are behind it.

    Args:
      data: `formula`, `kind` (model); `test_accuracy` (model, member), nan where there is none;
        `accuracy_mean`, `predicted_sd`, and with `_low` and `_high` `accuracy_sd` and
        `true_variance` (model), fractions.

    Returns:
      A row for each population.
    """
    names = _named(data)
    figure, panels = style.sheet(9.0, 0.6 + 0.42 * len(names), 1, 2, sharey=True)
    left, right = panels[0]
    y = np.arange(len(names), dtype=float)
    for row, values in zip(y, data["test_accuracy"].values, strict=True):
        shown = PERCENT * values[np.isfinite(values)]
        jitter = np.random.default_rng(0).uniform(-0.28, 0.28, len(shown))
        thin = {"color": style.colour(0), "alpha": style.thin(len(shown)), "markersize": 3}
        left.plot(shown, row + jitter, "o", mew=0, label="one member", **thin)
    mean = {"color": style.INK, "markersize": 14, "mew": 2, "label": "mean"}
    left.plot(PERCENT * data["accuracy_mean"].values, y, "|", **mean)

    def root(variance: np.ndarray) -> np.ndarray:
        return PERCENT * np.sqrt(np.clip(variance, 0.0, None))

    look: Any = {"marker": "o", "color": style.INK, "label": "on this test set"}
    _ranges(right, data, "accuracy_sd", y - 0.14, lambda x: PERCENT * x, markersize=5, **look)
    law = style.hollow(style.GREY, 5.5, "D", label="√(error / 2n)")
    right.plot(PERCENT * data["predicted_sd"].values, y, **law)
    look = {"marker": "^", "color": style.colour(1), "label": "on all pictures there are"}
    _ranges(right, data, "true_variance", y + 0.14, root, markersize=5, **look)
    style.name_rows(left, y, names)
    left.set(xlabel="test accuracy (%)", ylim=(len(names) - 0.5, -0.5))
    right.set(xlabel="standard deviation over members (points)", xlim=(0, None))
    caption = (
        "Left: every member of each population; right: the standard deviation of their accuracies "
        "on this test set, what √(error / 2n) says it is, and what it would be on all pictures "
        "there are (unbiased estimate; at 0 where its variance came out below 0). Bars: 95 % "
        "intervals over members (none on the crossed grid, whose members share levels)."
    )
    return style.finish(figure, "How much of a result is the seed", caption, data)


@style.look()
def over_time(data: xr.Dataset) -> Figure:
    """Draw the standard deviation of accuracy over members against training steps.

    Args:
      data: `formula`, `kind` (model); `step` (model, eval), -1 = none; `sd_over_time` likewise.
    """
    formulas = list(dict.fromkeys(map(str, data["formula"].values)))
    kinds = list(dict.fromkeys(map(str, data["kind"].values)))
    ylabel = "standard deviation of accuracy (points)"
    figure, panels = style.panels(formulas, 4.2, 2.8, ylabel=ylabel, xlabel="training step")
    for axes, formula in zip(panels, formulas, strict=True):
        for m in np.flatnonzero(data["formula"].values == formula):
            one, k = data.isel(model=m), kinds.index(str(data["kind"].values[m]))
            there = one["step"].values >= 0
            look: Any = {"color": style.colour(k), "lw": 2.4 if k == 0 else 1.2, "markersize": 4}
            look |= {"marker": "osD^vPX*"[k % 8], "label": kinds[k]}
            axes.plot(
                one["step"].values[there], PERCENT * one["sd_over_time"].values[there], **look
            )
        axes.set_ylim(0, None)
    caption = (
        "Standard deviation, over members, of accuracy on the test set at each evaluation; what "
        "the legend names differs between members, all else is the same."
    )
    return style.finish(figure, "How much members differ while they train", caption, data)


@style.look()
def components(data: xr.Dataset) -> Figure | None:
    """Draw what part of the variance on a crossed grid comes from where.

    Args:
      data: `formula` (model); with `_low` and `_high` `component` (model, source), variances of
        accuracy, nan but for crossed grids.

    Returns:
      A panel for each grid; None where there is none.
    """
    data = data.isel(model=np.isfinite(data["component"]).any("source").values)
    if not data.sizes["model"]:
        return None
    xlabel = "variance of accuracy (points²)"
    names = [str(name) for name in data["formula"].values]
    figure, panels = style.panels(names, 5.6, 2.4, 2, xlabel=xlabel)
    for axes, m in zip(panels, range(len(names)), strict=True):
        one = data.isel(model=m).dropna("source", subset=["component"])
        value, low, high = (PERCENT**2 * one[f"component{e}"].values for e in ("", "_low", "_high"))
        y, most = np.arange(len(value)), max(float(np.abs(value).max()), 1e-9)
        axes.barh(y, value, 0.5, color=style.colour(0))
        axes.hlines(y, low, high, color=style.INK, lw=1.0)
        axes.axvline(0.0, color=style.GREY, lw=0.7)
        for place, *ends in zip(y, low, high, strict=True):
            text = "95 %: {:.2g} to {:.2g}".format(*ends)
            axes.text(2.3 * most, place - 0.3, text, ha="right", va="bottom", size=7.5)
        style.name_rows(axes, y, [str(source) for source in one["source"].values])
        axes.set(xlim=(min(-0.25 * most, 1.2 * value.min()), 2.3 * most), ylim=(len(y) - 0.5, -0.7))
    caption = (
        "Every level of each stream is combined with every level of the others, and one member is "
        "trained for each combination. Bars: unbiased estimates of the variance that each stream "
        "causes alone, and that only combinations cause; they sum to the variance of a member of "
        "which all is new. Lines: 95 % generalised confidence intervals, wide because levels are "
        "few; some leave the panel."
    )
    return style.finish(figure, "Which randomness spreads the results", caption, data)


@style.look()
def calibration(data: xr.Dataset) -> Figure:
    """Draw how often members' votes are right, and disagreement against error.

    Args:
      data: `formula`, `kind`, `error`, `calibrated_disagreement`, and with `_low` and `_high`
        `disagreement` (model); `vote_share`, `share_right`, `bin_share` (model, class, bin).
    """
    figure, panels = style.sheet(8.4, 3.4, 1, 2)
    left, right = panels[0]
    names, one = _named(data), data.isel(model=0)
    for k, name in enumerate(one["class"].values):
        x, y = one["vote_share"].values[k], one["share_right"].values[k]
        hue, line = style.colour(k), "-" if k % 2 == 0 else "--"
        left.plot(x, y, line, marker="o", markersize=3, color=hue, label=style.short(str(name)))
    error, disagree = PERCENT * data["error"].values, PERCENT * data["disagreement"].values
    after = PERCENT * data["calibrated_disagreement"].values
    for m, name in enumerate(names):
        look: Any = {"color": style.colour(m), "marker": "osD^vPX*"[m % 8], "ls": "none"}
        right.plot(error[m], disagree[m], label=name, **look)
        right.plot(error[m], after[m], **style.hollow(style.colour(m), 6.0, look["marker"]))
    top = 1.08 * float(np.nanmax([error, disagree, after, np.ones_like(error)]))
    for axes, end in ((left, 1.0), (right, top)):
        axes.plot([0, end], [0, end], **style.DOTTED)
    left.set(xlabel="share of members that vote for the class", ylabel="how often it is right")
    left.set_title(f"votes of {names[0]}")
    right.set(xlabel="error (%)", ylabel="disagreement (%)", xlim=(0, top), ylim=(0, top))
    caption = (
        "Left: test pictures by the share of members that vote for a class, and how often that "
        "class is right; on the dotted line votes are calibrated, and two members disagree as "
        "often as one is wrong (Jiang et al. 2021). Right: disagreement of two members against "
        "their error, filled; hollow: what votes predict when they are calibrated on the other "
        "half of the test set."
    )
    return style.finish(figure, "Does disagreement say how often members are wrong?", caption, data)
