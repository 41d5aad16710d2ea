"""How fast training goes beside other ways: ratios of rates."""

from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from catdog_jax.figures import style

BAR = 0.17  # inches
TICKS = 2.0 ** np.arange(-3, 11)


@style.look()
def throughput(data: xr.Dataset) -> Figure:
    """Draw how many times faster this engine is than each competitor, a panel per model.

    Args:
      data: `ratio`, `ratio_low`, `ratio_high` (model, members, competitor), this engine's rate over
        theirs: of medians, and quartiles; nan where not measured. `share` (model, members), of the
        machine's matrix product that this engine reached, 0..1; nan where unknown. `hopeless`
        (model, competitor), measured with few members only because it is so slow. Attribute
        `note`, a sentence on the machine and the samples.

    Returns:
      Figure.
    """
    kept = data["ratio"].notnull().any("members").values  # (model, competitor)
    most, count = max(1, kept.sum(axis=1).max()), data.sizes["members"]
    tall, below = 1.2 + most * (count * BAR + 0.16), "rate of this engine ÷ rate of the other"
    figure, panels = style.panels(data["model"].values.tolist(), 4.9, tall, 2, xlabel=below)
    low = min(0.5, 0.8 * float(data["ratio"].min()))
    high = max(4.0, 1.9 * float(data["ratio_high"].max()))
    ticks = TICKS[(low <= TICKS) & (high >= TICKS)]
    shades = matplotlib.colormaps["Blues"](np.linspace(0.85, 0.45, count)[::-1])
    for p, axes in enumerate(panels):
        one = data.isel(model=p, competitor=kept[p])
        _bars(axes, one, shades)
        axes.set(xscale="log", xlim=(low, high))
        axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
        axes.minorticks_off()
        axes.axvline(1, color=style.INK, linewidth=0.9)
        names = ["\n".join(style.wrap(name, 1.6, style.SMALL)) for name in one["competitor"].values]
        axes.set_yticks(np.arange(len(names)) * (count + 1) + (count - 1) / 2, names)
        axes.tick_params(axis="y", length=0)
        # Room for all rows, that the bars have one width in every panel.
        axes.set_ylim(most * (count + 1) - 0.5, -1)
        known = 100 * one["share"].dropna("members").values
        speed = "no matrix product"
        if known.size:
            ends = dict.fromkeys(f"{x:.2g}" for x in (known.min(), known.max()))
            speed = f"{' to '.join(ends)} % of a matrix product's speed"
        axes.set_title(f"{axes.get_title(loc='left')}\n{speed}")
    numbers = data["members"].values.tolist()
    handles = [Patch(color=c, label=style.members(n)) for c, n in zip(shades, numbers, strict=True)]
    if data["hopeless"].values[kept].any():
        hatched: Any = {"facecolor": "white", "edgecolor": style.GREY, "hatch": "////"}
        handles.append(Patch(label="hopelessly slow", **hatched))
    caption = (
        "Each bar is the ratio of two median rates (member-steps a second): how many times faster "
        "this engine trained than the competitor on the left. Black lines: quartiles of the ratio "
        "over rounds in which all were measured in turns. Above each panel: its median rate as a "
        "share of the median speed of the machine's own matrix product in the same rounds. "
        f"{data.attrs['note']}"
    )
    return style.finish(figure, "How many times faster than the others?", caption, data, *handles)


def _bars(axes, one, shades):
    """Draw a bar for each competitor and number of members."""
    values = np.stack([one[name].values for name in ("ratio", "ratio_low", "ratio_high")])
    for m, r in np.argwhere(np.isfinite(values[0])):
        ratio, low, high = values[:, m, r]
        y, hue = r * (len(shades) + 1) + m, tuple(shades[m])
        hatched = {"color": "white", "hatch": "////"} if one["hopeless"][r] else {"color": hue}
        axes.barh(y, ratio - 1, left=1, height=0.84, linewidth=0.8, **hatched, edgecolor=hue)
        axes.plot([low, high], [y, y], color=style.INK, linewidth=1.0, solid_capstyle="butt")
        digits = ".2f" if ratio < 10 else ".2g" if ratio < 100 else ".3g"
        beside = {"textcoords": "offset points", "va": "center", "size": style.SMALL}
        axes.annotate(f"{ratio:{digits}}×", (max(ratio, high, 1.0), y), (3, 0), **beside)
