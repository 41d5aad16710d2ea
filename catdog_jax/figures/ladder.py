"""From the lowest rung to the highest: the accuracy of every classifier, by origin of its weights.

Origins differ in colour and in the form of their marks.
"""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import strip, style

LINE = 0.2  # inches, height of a rung whose name takes one line
MORE = 0.145  # inches, of each further line of a name
HEADER = 0.27  # inches, of a group's heading
NAME_WIDTH = 2.6  # inches
COLUMNS = {"test": 0.5, "parameters": 1.3, "seconds": 1.95}  # right edges, inches
ORIGINS = {
    "programmed": ("s", style.colour(0), "typed in by a person, who saw no data"),
    "estimated": ("D", style.colour(1), "computed from the training data in one step"),
    "learned": ("o", style.colour(2), "found in many small steps that lower the loss"),
}
MAX_DOTS = 200
REMARKS = {
    "generating_rule": "generating_rule is the ceiling: it is told how each picture was drawn, and "
    "does not look at pixels. ",
    "drawn_rule": "Whoever wrote drawn_rule knew the drawing program. ",
}


@style.look()
def ladder(data: xr.Dataset) -> Figure:
    """Draw the ladder: a rung per classifier, grouped by origin, the best of each group on top.

    Args:
      data: `origin` (rung), 'programmed', 'estimated' or 'learned', groups in the order of first
        appearance, the first at the bottom; `train_accuracy`, `test_accuracy` (rung, member),
        fractions right, nan where a rung has fewer members or one diverged; `test_low`,
        `test_high` (rung), 95 % interval of the mean test accuracy; `num_parameters` (rung);
        `rung_seconds` (rung), seconds to get the weights of all members, nan where unknown;
        `label` (example).

    Returns:
      Figure.
    """
    train, test = (data[f"{name}_accuracy"].astype(float) for name in ("train", "test"))
    middle, hollow = test.mean("member").values, train.mean("member").values
    low, high = data["test_low"].values, data["test_high"].values
    names, origins = data["rung"].values.tolist(), data["origin"].values.tolist()
    words = [name.replace(":", " ", 1).replace(":", ", ") for name in names]
    labels = [style.joined(style.wrap(text, NAME_WIDTH, 8.5), 3) for text in words]
    rows, headings, height = _places(origins, labels, middle)
    figure = style.sheet(9.0, height + 0.75)
    axes: Any = figure.subplots()
    beside = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    for origin, y in headings.items():
        _, colour, text = ORIGINS[origin]
        right = {"ha": "right", "va": "center", "weight": "bold", "color": colour}
        axes.annotate(origin, (0, y), (-4, 0), **beside, **right)
        ground = {"facecolor": "white", "linewidth": 0, "pad": 1.5}
        own = {"transform": axes.get_yaxis_transform(), "va": "center", "color": colour}
        axes.text(0.01, y, text, bbox=ground, **own)
    for y in list(headings.values())[:-1]:
        axes.axhline(y + HEADER / 2 + 0.03, color=style.GREY, linewidth=0.7, zorder=0)
    columns = {height + 0.08: list(COLUMNS)}
    for r, y in enumerate(rows):
        marker, colour, _ = ORIGINS[origins[r]]
        axes.axhline(y, color=style.PALE, linewidth=0.6, zorder=0)
        members = test[r].dropna("member").values
        if 1 < members.size <= MAX_DOTS:
            heights, alpha = y - 0.03 - 0.05 * strip.spread(members.size), style.thin(members.size)
            dots = {"color": colour, "mew": 0, "markersize": 2.2, "alpha": max(0.25, alpha)}
            axes.plot(members, heights, "o", zorder=2, label="member", **dots)
        axes.plot([hollow[r], middle[r]], [y, y], color=colour, lw=0.6, alpha=0.45, zorder=1)
        edge = style.hollow(colour, 4.2, marker, mew=0.9, zorder=3, label="on training data")
        axes.plot([hollow[r]], [y], **edge)
        thick = {"linewidth": 2.0, "solid_capstyle": "butt", "zorder": 4, "label": "95 % interval"}
        axes.plot([low[r], high[r]], [y, y], color=colour, **thick)
        filled = {"markersize": 5.4, "mew": 0, "zorder": 5, "label": origins[r]}
        axes.plot([middle[r]], [y], marker, color=colour, **filled)
        numbers = float(data["num_parameters"][r]), float(data["rung_seconds"][r])
        columns[y] = [f"{middle[r]:.3f}".replace("nan", "–"), _count(numbers[0])]
        columns[y] += [_duration(numbers[1])]
    for y, cells in columns.items():
        for inches, text in zip(COLUMNS.values(), cells, strict=True):
            axes.annotate(text, (1, y), (72 * inches, 0), ha="right", va="center", **beside)
    chance = style.chance(data)
    axes.axvline(chance, **style.GUESSING)
    style.name_rows(axes, rows, labels, 8.5)
    drawn = np.concatenate([train.values.ravel(), test.values.ravel(), low, high, [chance]])
    first, last = np.nanmin(drawn), np.nanmax(drawn)
    room = max(0.03 * (last - first), 0.005)
    axes.set(xlim=(first - room, last + room), ylim=(0, height), xlabel="accuracy (fraction right)")
    many = bool((test.count("member") > 1).any())
    caption = (
        "One rung for each classifier, grouped by where its numbers come from; in a group the best "
        "on the test examples is on top. Filled marks: on the test examples"
        + ", the mean over members where there are several (small dots)"
        * many
        + ". Thick line: 95 % interval by drawing the test examples again and again (bootstrap). "
        "Columns: test accuracy, the numbers that a classifier holds, and the seconds to get them"
        + " for all members together" * many
        + f". {''.join(REMARKS[name] for name in names if name in REMARKS)}{style.source(data)}"
    )
    title = "The ladder: programmed, estimated, learned"
    return style.finish(figure, title, caption, data)


def _places(origins, labels, accuracy):
    """Stack the rungs, the first origin lowest, in each the best on top.

    Returns:
      Height of each rung's line and of each origin's heading, and of all: inches from the bottom.
    """
    order = np.argsort(np.nan_to_num(accuracy, nan=-1.0), kind="stable")
    rows, headings, top = np.zeros(len(labels)), {}, 0.05
    for origin in dict.fromkeys(origins):
        for r in order:
            if origins[r] == origin:
                tall = LINE + MORE * labels[r].count("\n")
                rows[r] = top + tall / 2
                top += tall
        headings[origin] = top + HEADER / 2
        top += HEADER + 0.06
    return rows, headings, top


def _count(number):
    return f"{number:,.0f}" if number < 1e7 else f"{number / 1e6:,.1f} M"


def _duration(seconds):
    if np.isnan(seconds):
        return "–"
    digits = 3 if seconds < 0.1 else 2 if seconds < 1 else 1 if seconds < 100 else 0
    return "< 0.001" if seconds < 0.0005 else f"{seconds:,.{digits}f}"
