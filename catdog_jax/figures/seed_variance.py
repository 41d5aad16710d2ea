"""How much members trained alike spread, what of that is the test set, and where it comes from."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import style

PERCENT = 100.0
MARKERS = "osD^vPX*"
LAW = style.hollow(style.GREY, 5.5, "D", label="√(error/2n)")


def _named(data: xr.Dataset) -> list[str]:
    """Name the populations: formula without settings, and what differs between members."""
    pairs = zip(data["formula"].values, data["kind"].values, strict=True)
    return [f"{style.short(str(f).partition(':')[0])}, {style.short(str(k), 26)}" for f, k in pairs]


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
    names, accuracy = _named(data), PERCENT * data["test_accuracy"].values
    figure, ((left, right),) = style.sheet(9.0, 0.6 + 0.42 * len(names), 1, 2, sharey=True)
    y, most = np.arange(len(names), dtype=float), data.sizes["member"]
    jitter = np.random.default_rng(0).uniform(-0.28, 0.28, (most, 1))
    thin = {"color": style.colour(0), "alpha": style.thin(most), "markersize": 3, "mew": 0}
    left.plot(accuracy.T, y + jitter, "o", label="one member", **thin)
    mean = {"color": style.INK, "markersize": 14, "mew": 2, "label": "mean"}
    left.plot(PERCENT * data["accuracy_mean"].values, y, "|", **mean)
    ends = ("", "_low", "_high")
    spreads = np.array([data[f"accuracy_sd{end}"] for end in ends])
    truths = np.sqrt(np.clip([data[f"true_variance{end}"] for end in ends], 0.0, None))
    for (value, low, high), row, name, mark, hue in (
        (PERCENT * spreads, y - 0.14, "on this test set", "o", style.INK),
        (PERCENT * truths, y + 0.14, "on all pictures there are", "^", style.colour(1)),
    ):
        around = np.nan_to_num(np.clip([value - low, high - value], 0.0, None))
        bars: Any = {"elinewidth": 1.0, "capsize": 2.0, "markersize": 5, "label": name}
        right.errorbar(value, row, xerr=around, fmt=mark, color=hue, **bars)
    right.plot(PERCENT * data["predicted_sd"].values, y, **LAW)
    style.name_rows(left, y, names)
    left.set(xlabel="test accuracy (%)", ylim=(len(names) - 0.5, -0.5))
    right.set(xlabel="standard deviation over members (points)", xlim=(0, None))
    caption = (
        "Left: every member of each population; right: the standard deviation of their accuracies "
        "on this test set, what √(error/2n) says it is, and what it would be on all pictures "
        "there are (unbiased estimate; at 0 where its variance came out below 0). Bars: 95 % "
        "intervals over members (none on the crossed grid, whose members share levels)."
    )
    return style.finish(figure, "How much of a result is the seed?", caption, data)


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
            step, k = data["step"].values[m], kinds.index(str(data["kind"].values[m]))
            look: Any = {"color": style.colour(k), "lw": 2.4 if k == 0 else 1.2, "markersize": 4}
            look |= {"marker": MARKERS[k % 8], "label": kinds[k]}
            values = PERCENT * data["sd_over_time"].values[m]
            axes.plot(step[step >= 0], values[step >= 0], **look)
        axes.set_ylim(0, None)
    caption = (
        "Standard deviation, over members, of accuracy on the test set at each evaluation; what "
        "the legend names differs between members, all else is the same."
    )
    return style.finish(figure, "How much members differ while they train", caption, data)


@style.look()
def calibration(data: xr.Dataset) -> Figure:
    """Draw how often members' votes are right, and disagreement against error.

    Args:
      data: `formula`, `kind`, `error`, `calibrated_disagreement`, and with `_low` and `_high`
        `disagreement` (model); `vote_share`, `share_right`, `bin_share` (model, class, bin).
    """
    figure, ((left, right),) = style.sheet(8.4, 3.4, 1, 2)
    names, one = _named(data), data.isel(model=0)
    for k, name in enumerate(one["class"].values):
        x, y = one["vote_share"].values[k], one["share_right"].values[k]
        hue, line = style.colour(k), "-" if k % 2 == 0 else "--"
        left.plot(x, y, line, marker="o", markersize=3, color=hue, label=style.short(str(name)))
    error, disagree = PERCENT * data["error"].values, PERCENT * data["disagreement"].values
    after = PERCENT * data["calibrated_disagreement"].values
    for m, name in enumerate(names):
        look: Any = {"color": style.colour(m), "marker": MARKERS[m % 8], "ls": "none"}
        right.plot(error[m], disagree[m], label=name, **look)
        right.plot(error[m], after[m], **style.hollow(style.colour(m), 6.0, look["marker"]))
    top = 1.08 * float(np.nanmax([error, disagree, after, np.ones_like(error)]))
    for axes, end in ((left, 1.0), (right, top)):
        axes.plot([0, end], [0, end], **style.DOTTED)
    left.set(xlabel="share of members that vote for the class", ylabel="how often it is right")
    left.set_title(f"votes of {names[0]}")
    right.set(xlabel="error (%)", ylabel="disagreement (%)", xlim=(0, top), ylim=(0, top))
    caption = (
        "Left: test examples by the share of members that vote for a class, and how often that "
        "class is right; on the dotted line votes are calibrated, and two members disagree as "
        "often as one is wrong (Jiang et al. 2021). Right: disagreement of two members against "
        "their error, filled; hollow: what votes predict when they are calibrated on the other "
        "half of the test set."
    )
    return style.finish(figure, "Does disagreement say how often members are wrong?", caption, data)
