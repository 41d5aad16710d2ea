"""How fast training goes: ratios to other ways, and the cost of one more member."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from catdog_jax.figures import style

_BAR = 0.17  # inches
_BAND = 0.15


class Comparison(NamedTuple):
    """What one model's panel shows.

    Attributes:
      model: its entry of `--models`.
      share: [M], of the machine's matrix product that the first competitor reached, 0..1; nan
        where not measured.
      names: R competitors besides the first.
      ratio: [R, M, 3], rate of the first over theirs: median and quartiles; nan where not measured.
      hopeless: [R, M], measured with few members only because it is so slow.
    """

    model: str
    share: Float[np.ndarray, " M"]
    names: Sequence[str]
    ratio: Float[np.ndarray, "R M 3"]
    hopeless: Bool[np.ndarray, "R M"]


class Cost(NamedTuple):
    """What members cost one model.

    Attributes:
      model: its entry of `--models`.
      members: [M], rising.
      seconds: [M, 3], of one step of one member: median and quartiles.
      beyond: [M], peak memory beyond weights, optimiser and libraries, bytes.
      state: [M], weights and optimiser, bytes.
      waved: [M], trained in waves of fewer members, of which one was measured.
    """

    model: str
    members: Int[np.ndarray, " M"]
    seconds: Float[np.ndarray, "M 3"]
    beyond: Float[np.ndarray, " M"]
    state: Float[np.ndarray, " M"]
    waved: Bool[np.ndarray, " M"]


@style.look()
def comparison(
    panels: Sequence[Comparison],
    members: Sequence[int],
    *,
    title: str,
    first: str,
    command: str,
    note: str = "",
) -> Figure:
    """Draw how many times faster the first competitor is than each other one.

    Args:
      panels: one per model.
      members: M, how many trained, one bar each.
      title: of the figure.
      first: the competitor that the others are compared with.
      command: the command that measured it.
      note: one more sentence for the caption.

    Returns:
      Figure.
    """
    most = max(max(len(panel.names) for panel in panels), 1)
    height = 0.75 + most * (len(members) * _BAR + 0.16)
    figure, axes = style.panels(len(panels), width=4.9, height=height)
    every = np.concatenate([panel.ratio.ravel() for panel in panels] + [np.ones(1)])
    low, high = min(0.5, 0.8 * np.nanmin(every)), max(4.0, 1.9 * np.nanmax(every))
    for panel, ax in zip(panels, axes, strict=True):
        _draw_comparison(ax, panel, members)
        ax.set_xscale("log")
        ax.set_xlim(low, high)
        ax.set_xticks(ticks := [t for t in _TICKS if low <= t <= high])
        ax.set_xticklabels([f"{t:g}×" for t in ticks])
        ax.minorticks_off()
        ax.set_xlabel(f"rate of {first} ÷ rate of the other")
        # Room for all rows, that the bars have one width in every panel.
        ax.set_ylim(most * (len(members) + 1) - 0.5, -1)
    handles: list[Artist] = [
        Patch(color=_shade(index, len(members)), label=style.members(count))
        for index, count in enumerate(members)
    ]
    if any(panel.hopeless.any() for panel in panels):
        handles.append(
            Patch(facecolor="white", edgecolor=style.GREY, hatch="////", label="hopelessly slow")
        )
    caption = (
        f"Each bar is the ratio of two median rates (member-steps a second): how many times "
        f"faster {first} trained than the competitor named on the left; to the right of the line "
        "at 1×, it was faster. Black lines: quartiles of the ratio over rounds in which all were "
        "measured in turns. Above each panel: the share of the machine's own matrix product "
        f"that {first} reached, its median rate over the median of the products in the same "
        "rounds. "
    ) + note
    return style.finish(figure, title, caption, command, handles)


_TICKS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def _draw_comparison(ax, panel, members):
    count = len(members)
    for r in range(len(panel.names)):
        for m in range(count):
            middle, lower, upper = panel.ratio[r, m]
            if np.isnan(middle):
                continue
            y = r * (count + 1) + m
            hopeless = panel.hopeless[r, m]
            colour = _shade(m, count)
            ax.barh(
                y, middle - 1, left=1, height=0.84, linewidth=0.8, edgecolor=colour,
                color="white" if hopeless else colour, hatch="////" if hopeless else None,
            )  # fmt: skip
            ax.plot([lower, upper], [y, y], color=style.INK, linewidth=1.0, solid_capstyle="butt")
            ax.annotate(
                f"{middle:.3g}×" if middle >= 100 else f"{middle:.2g}×" if middle >= 10
                else f"{middle:.2f}×",
                (max(middle, upper, 1.0), y), (3, 0), textcoords="offset points",
                va="center", size=6.5, color=style.INK,
            )  # fmt: skip
    ax.axvline(1, color=style.INK, linewidth=0.9)
    places = [r * (count + 1) + (count - 1) / 2 for r in range(len(panel.names))]
    ax.set_yticks(places, ["\n".join(style.wrap(name, 1.25, 8.0)) for name in panel.names])
    ax.tick_params(axis="y", length=0)
    known = panel.share[~np.isnan(panel.share)]
    ends = dict.fromkeys(f"{100 * s:.2g}" for s in (known.min(), known.max())) if known.size else ()
    speed = f"{' to '.join(ends)} % of a matrix product's speed" if ends else "no matrix product"
    ax.set_title(f"{style.entry_title(panel.model, 4.0)}\n{speed}", loc="left")


def _shade(index, count):
    """Return a blue, light for few members, dark for many."""
    strength = 0.35 + 0.65 * (index + 1) / count
    base = np.array([0x00, 0x72, 0xB2]) / 255
    shade = 1 - strength * (1 - base)
    return tuple(float(x) for x in shade * (1 - 0.35 * max(0.0, strength - 0.7) / 0.3))


@style.look()
def scaling(costs: Sequence[Cost], *, command: str, note: str = "") -> Figure:
    """Draw what one more member costs, in time and in memory.

    Args:
      costs: one per model.
      command: the command that measured it.
      note: one more sentence for the caption.

    Returns:
      Figure.
    """
    figure, (time, memory) = style.panels(2, width=4.4, height=3.4)
    marks = "osD^vP"
    time.axhspan(1 - _BAND, 1 + _BAND, color=style.PALE, linewidth=0, zorder=0)
    for index, cost in enumerate(costs):
        look: dict[str, Any] = {
            "color": style.colour(index),
            "linewidth": 1.4,
            "zorder": 2,
        }
        points: dict[str, Any] = {
            "color": style.colour(index),
            "marker": marks[index % 6],
            "markersize": 4.5,
            "linestyle": "none",
            "zorder": 3,
        }
        relative = cost.seconds / cost.seconds[-1, 0]
        spread = np.abs(relative[:, 1:].T - relative[:, 0])
        time.errorbar(cost.members, relative[:, 0], spread, **look)
        memory.plot(cost.members, cost.beyond / 2**20, **look)
        memory.plot(cost.members, cost.state / 2**20, ":", linewidth=1.0, color=look["color"])
        for ax, height in ((time, relative[:, 0]), (memory, cost.beyond / 2**20)):
            for chosen, face in ((~cost.waved, look["color"]), (cost.waved, "white")):
                ax.plot(cost.members[chosen], height[chosen], markerfacecolor=face, **points)
    most = max(int(cost.members[-1]) for cost in costs)
    waves = any(cost.waved.any() for cost in costs)
    asked = "members asked for\n(hollow: trained in waves of fewer, one of them timed)"
    for ax in (time, memory):
        ax.set_xscale("log", base=2)
        ticks = [t for t in (1, 4, 16, 64, 256, 1024, 4096, 16384) if t <= most]
        ax.set_xticks(ticks, [f"{t:,}" for t in ticks])
        ax.minorticks_off()
        ax.set_xlabel(asked if waves else "members that train together")
    time.set_xlim(0.8, most * 4)
    time.set_ylim(0, None)
    time.set_ylabel("time of a member's step, relative")
    memory.set_yscale("log")
    memory.set_ylabel("peak memory (MiB)")
    time.set_title("time per member", loc="left")
    memory.set_title("memory beyond weights and optimiser", loc="left")
    handles = [
        Line2D(
            [], [], color=style.colour(i), marker=marks[i % 6], markersize=4,
            label=f"{cost.model} ({_span(cost.seconds[-1, 0])})",
        )
        for i, cost in enumerate(costs)
    ]  # fmt: skip
    handles += [
        Line2D([], [], color=style.GREY, linestyle=":", label="weights and optimiser alone"),
    ]
    caption = (
        "Left: what one step of one member takes, relative to the same with the most members (how "
        "long that is: beside the model's name); bars are quartiles over samples, the grey "
        "band is ± 15 %. Right: peak memory beyond what the libraries take at rest and beyond "
        "weights and optimiser, which the dotted lines show by themselves. "
    )
    if waves:
        caption += (
            "Hollow: so many members train wave after wave; each sample is one wave, another each "
            "time, and the memory is that of one. "
        )
    caption += note
    return style.finish(figure, "What one more member costs", caption, command, handles)


def _span(seconds):
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} µs"
