"""How fast training goes beside other ways: ratios of rates."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
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
    parts = [data.isel(model=p) for p in range(data.sizes["model"])]
    parts = [one.isel(competitor=one["ratio"].notnull().any("members").values) for one in parts]
    most = max(*(one.sizes["competitor"] for one in parts), 1)
    count = data.sizes["members"]
    figure, panels = style.panels(len(parts), 4.9, 0.75 + most * (count * BAR + 0.16))
    low = min(0.5, 0.8 * float(data["ratio"].min()))
    high = max(4.0, 1.9 * float(data["ratio_high"].max()))
    ticks = TICKS[(low <= TICKS) & (high >= TICKS)]
    for one, axes in zip(parts, panels, strict=True):
        axes.set(xscale="log", xlim=(low, high), xlabel="rate of this engine ÷ rate of the other")
        axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
        axes.minorticks_off()
        _bars(axes, one)
        # Room for all rows, that the bars have one width in every panel.
        axes.set_ylim(most * (count + 1) - 0.5, -1)
    handles: list[Artist] = [
        Patch(color=_shade(m, count), label=style.members(int(number)))
        for m, number in enumerate(data["members"].values)
    ]
    if any(one["hopeless"].any() for one in parts):
        hatched: Any = {"facecolor": "white", "edgecolor": style.GREY, "hatch": "////"}
        handles.append(Patch(label="hopelessly slow", **hatched))
    caption = (
        "Each bar is the ratio of two median rates (member-steps a second): how many times faster "
        "this engine trained than the competitor on the left. Black lines: quartiles of the ratio "
        "over rounds in which all were measured in turns. Above each panel: its median rate as a "
        "share of the median speed of the machine's own matrix product in the same rounds. "
        f"{data.attrs['note']}"
    )
    title = "How many times faster than the others?"
    return style.finish(figure, title, caption, data, *handles)


def _bars(axes, one):
    """Draw a bar for each competitor and number of members, and name the competitors."""
    count, names = one.sizes["members"], one["competitor"].values
    for (m, r), ratio in np.ndenumerate(one["ratio"].transpose("members", "competitor").values):
        if np.isnan(ratio):
            continue
        low, high = (
            float(one[f"ratio_{x}"].isel(competitor=r, members=m)) for x in ("low", "high")
        )
        y, hue = r * (count + 1) + m, _shade(m, count)
        hatched = {"color": "white", "hatch": "////"} if one["hopeless"][r] else {"color": hue}
        axes.barh(y, ratio - 1, left=1, height=0.84, linewidth=0.8, **hatched, edgecolor=hue)
        axes.plot([low, high], [y, y], color=style.INK, linewidth=1.0, solid_capstyle="butt")
        digits = ".2f" if ratio < 10 else ".2g" if ratio < 100 else ".3g"
        beside = {"textcoords": "offset points", "va": "center", "size": 6.5}
        axes.annotate(f"{ratio:{digits}}×", (max(ratio, high, 1.0), y), (3, 0), **beside)
    axes.axvline(1, color=style.INK, linewidth=0.9)
    places = np.arange(len(names)) * (count + 1) + (count - 1) / 2
    axes.set_yticks(places, ["\n".join(style.wrap(name, 1.25, 8.0)) for name in names])
    axes.tick_params(axis="y", length=0)
    known = one["share"].dropna("members").values
    ends = dict.fromkeys(f"{100 * s:.2g}" for s in (known.min(), known.max())) if known.size else ()
    speed = f"{' to '.join(ends)} % of a matrix product's speed" if ends else "no matrix product"
    axes.set_title(f"{style.model_title(str(one['model'].values), 4.0)}\n{speed}", loc="left")


def _shade(index, count):
    """Return a blue, light for few members, dark for many."""
    strength = 0.35 + 0.65 * (index + 1) / count
    shade = 1 - strength * (1 - np.array([0x00, 0x72, 0xB2]) / 255)
    return tuple((shade * (1 - 0.35 * max(0.0, strength - 0.7) / 0.3)).tolist())
