"""How fast training goes beside other ways: ratios of rates."""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from catdog_jax.figures import style

_BAR = 0.17  # inches
_TICKS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@style.look()
def throughput(data: xr.Dataset, *, command: str, note: str = "") -> Figure:
    """Draw how many times faster this engine is than each competitor.

    Args:
      data: 'ratio', 'ratio_low', 'ratio_high' [model, members, competitor], this engine's rate over
        theirs: of medians, and quartiles; nan where not measured. 'share' [model, members], of the
        machine's matrix product that this engine reached, 0..1; nan where unknown. 'hopeless'
        [model, competitor], measured with few members only because it is so slow.
      command: the command that measured it.
      note: one more sentence for the caption.

    Returns:
      Figure.
    """
    members = data["members"].values
    panels = []
    for model in data["model"].values:
        one = data.sel(model=model)
        panels.append(one.sel(competitor=one["ratio"].notnull().any("members")))
    most = max(max(panel.sizes["competitor"] for panel in panels), 1)
    height = 0.75 + most * (len(members) * _BAR + 0.16)
    figure, axes = style.panels(len(panels), width=4.9, height=height)
    low = min(0.5, 0.8 * float(data["ratio"].min()))
    high = max(4.0, 1.9 * float(data["ratio_high"].max()))
    for panel, ax in zip(panels, axes, strict=True):
        _draw_panel(ax, panel)
        ax.set_xscale("log")
        ax.set_xlim(low, high)
        ticks = [tick for tick in _TICKS if low <= tick <= high]
        ax.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
        ax.minorticks_off()
        ax.set_xlabel("rate of this engine ÷ rate of the other")
        # Room for all rows, that the bars have one width in every panel.
        ax.set_ylim(most * (len(members) + 1) - 0.5, -1)
    handles: list[Artist] = [
        Patch(color=_shade(index, len(members)), label=style.members(int(count)))
        for index, count in enumerate(members)
    ]
    if any(panel["hopeless"].any() for panel in panels):
        handles.append(
            Patch(facecolor="white", edgecolor=style.GREY, hatch="////", label="hopelessly slow")
        )
    caption = (
        "Each bar is the ratio of two median rates (member-steps a second): how many times "
        "faster this engine trained than the competitor named on the left; to the right of the "
        "line at 1×, it was faster. Black lines: quartiles of the ratio over rounds in which all "
        "were measured in turns. Above each panel: the share of the machine's own matrix product "
        "that this engine reached, its median rate over the median of the products in the same "
        "rounds. "
    ) + note
    title = "How many times faster than the others?"
    return style.finish(figure, title, caption, command, handles)


def _draw_panel(ax, panel):
    count, names = panel.sizes["members"], panel["competitor"].values
    for r, m in np.ndindex(len(names), count):
        one = panel.isel(competitor=r, members=m)
        low, ratio, high = (float(one[name]) for name in ("ratio_low", "ratio", "ratio_high"))
        if np.isnan(ratio):
            continue
        y, colour = r * (count + 1) + m, _shade(m, count)
        look = {"color": "white", "hatch": "////"} if one["hopeless"] else {"color": colour}
        ax.barh(y, ratio - 1, left=1, height=0.84, linewidth=0.8, **look, edgecolor=colour)
        ax.plot([low, high], [y, y], color=style.INK, linewidth=1.0, solid_capstyle="butt")
        digits = ".2f" if ratio < 10 else ".2g" if ratio < 100 else ".3g"
        look = {"textcoords": "offset points", "va": "center", "size": 6.5, "color": style.INK}
        ax.annotate(f"{ratio:{digits}}×", (max(ratio, high, 1.0), y), (3, 0), **look)
    ax.axvline(1, color=style.INK, linewidth=0.9)
    places = [r * (count + 1) + (count - 1) / 2 for r in range(len(names))]
    ax.set_yticks(places, ["\n".join(style.wrap(name, 1.25, 8.0)) for name in names])
    ax.tick_params(axis="y", length=0)
    known = panel["share"].values[panel["share"].notnull().values]
    ends = dict.fromkeys(f"{100 * s:.2g}" for s in (known.min(), known.max())) if known.size else ()
    speed = f"{' to '.join(ends)} % of a matrix product's speed" if ends else "no matrix product"
    ax.set_title(f"{style.entry_title(str(panel['model'].values), 4.0)}\n{speed}", loc="left")


def _shade(index, count):
    """Return a blue, light for few members, dark for many."""
    strength = 0.35 + 0.65 * (index + 1) / count
    base = np.array([0x00, 0x72, 0xB2]) / 255
    shade = 1 - strength * (1 - base)
    return tuple(float(x) for x in shade * (1 - 0.35 * max(0.0, strength - 0.7) / 0.3))
