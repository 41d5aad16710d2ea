"""Two recipes: where their members end, the difference, and how a gate came to decide."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import parts, style

POINTS = "B − A (percentage points)"
DELTA: Any = {"color": style.INK, "linestyle": "--", "linewidth": 1.0, "label": "delta"}


@style.look()
def comparison(data: xr.Dataset) -> Figure | None:
    """Draw the accuracy of every member of both recipes, and below it the difference of the means.

    Args:
      data: `test_accuracy` (model, member), fractions right, nan for a member that diverged;
        `difference`, `low`, `high`, scalars; `resampled` (resample), where it was drawn; `recipe`
        (model); attributes `found`, and of a gate `verdict` and `delta`.

    Returns:
      Figure; None where too few members are left to compare.
    """
    if data["difference"].isnull():
        return None
    figure, grid = style.sheet(6.5, 3.4, 2, 1, height_ratios=[2.2, 1])
    above, below = grid[:, 0]
    means = data["test_accuracy"].mean("member").values
    for row, values in enumerate(data["test_accuracy"].values):
        parts.draw_strip(above, row, values, style.colour(row), "one member")
        mean = {"markersize": 13, "mew": 2.0, "color": style.colour(row), "label": "mean"}
        above.plot(means[row], row, "|", **mean)
    parts.name_models(above, ["A", "B"], 1.0)
    above.set_xlabel("accuracy (fraction right)")
    found, low, high = (100 * float(data[name]) for name in ("difference", "low", "high"))
    scope = "over members, on these test examples; it holds however often one looks"
    if "resampled" in data:
        scope = "over members and test examples; the grey shape is of drawing both again and again"
        heights, places = parts.density(100 * data["resampled"].values.astype(np.float64))
        shade = {"color": style.GREY, "alpha": 0.3, "linewidth": 0, "label": "resampled"}
        below.fill_between(places, -0.1 - 0.5 * heights, -0.1, **shade)
    flat: Any = {"color": style.INK, "solid_capstyle": "butt", "label": "95 % interval"}
    below.plot([low, high], [0, 0], linewidth=4, **flat)
    below.plot([found], [0], **style.hollow(style.INK, zorder=4, label="difference of the means"))
    below.axvline(0.0, **style.DOTTED, label="no difference")
    if "verdict" in data.attrs:
        below.axvline(100 * float(data.attrs["delta"]), **DELTA)
    below.set(xlabel=POINTS, ylim=(0.3, -0.7))
    style.name_rows(below, [0], ["B − A"], 8.5)
    a, b = (style.members(n) for n in data["test_accuracy"].count("member").values.tolist())
    caption = f"Above: the test accuracy of {a} of A and {b} of B. Below: {{}}, {scope}."
    return _finish(figure, caption, data)


@style.look()
def gate(data: xr.Dataset) -> Figure | None:
    """Draw the difference and its interval from pair to pair, until it is decided.

    Args:
      data: `pair`; `path`, `path_low`, `path_high` (pair), fractions; `recipe` (model); attributes
        `delta`, `looks` and `found`.

    Returns:
      Figure; None where there was no gate, or no pair is left.
    """
    if not data.sizes.get("pair"):
        return None
    figure, ((axes,),) = style.sheet(6.5, 3.2)
    pair, delta = data["pair"].values, 100 * float(data.attrs["delta"])
    middle, low, high = (100 * data[name].values for name in ("path", "path_low", "path_high"))
    hue = style.colour(0)
    band: Any = {"step": "mid", "color": hue, "alpha": 0.25, "linewidth": 0}
    axes.fill_between(pair, low, high, label="95 % interval", **band)
    axes.plot(pair, middle, color=hue, linewidth=1.6, label="mean difference so far")
    seen = np.isin(pair, data.attrs["looks"])
    axes.plot(pair[seen], middle[seen], **style.hollow(hue, zorder=4, label="a look"))
    axes.axhline(delta, **DELTA)
    axes.axhline(0.0, **style.DOTTED, label="no difference")
    half = (high[-1] - low[-1]) / 2
    reach = 1.5 * max(delta, np.abs(middle).max(), half if half < 50 else 0.0) or 1.0
    axes.set(xlabel="members of each recipe", ylabel=POINTS, ylim=(-reach, reach))
    axes.locator_params("x", integer=True)
    caption = (
        "Mean difference of test accuracy up to each pair of members, and an interval that holds "
        "at all pairs together, whenever one stops: the gate stops at the first look whose "
        f"interval lies on one side of delta, {delta:g} percentage points. At the end, {{}}. The "
        "verdict is about these test examples."
    )
    return _finish(figure, caption, data)


def _finish(figure, caption, data):
    """Put what was found into the title, its numbers into the caption, and say what A and B are."""
    title, _, numbers = str(data.attrs["found"]).partition(": ")
    a, b = data["recipe"].values
    caption = f"{caption.format(numbers)} A: {a}. B: {b}."
    return style.finish(figure, title[:1].upper() + title[1:], caption, data)
