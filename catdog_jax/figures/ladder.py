"""From the lowest rung to the highest: the accuracy of every classifier, by origin of its weights.

Origins differ in colour and in the form of their marks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from catdog_jax.figures import strip, style

LINE = 0.2  # inches, height of a rung whose name takes one line
MORE = 0.145  # inches, of each further line of a name
HEADER = 0.27  # inches, of a group's heading
NAME_WIDTH = 2.6  # inches
COLUMNS = (("test", 0.5), ("parameters", 1.3), ("seconds", 1.95))  # right edges, inches
ORIGINS = {
    "programmed": ("s", "typed in by a person, who saw no data"),
    "estimated": ("D", "computed from the training data in one step"),
    "learned": ("o", "found in many small steps that lower the loss"),
}
OTHER_MARKS = ("^", "v", "P", "X")
MAX_DOTS = 200


class Group(NamedTuple):
    """The rungs of one origin.

    Attributes:
      name: the origin.
      colour, marker: of its rungs.
      rungs: indices, lowest accuracy first.
    """

    name: str
    colour: str
    marker: str
    rungs: list[int]


@style.look()
def ladder(
    names: Sequence[str],
    origins: Sequence[str],
    train_accuracy: Float[np.ndarray, "R M"],
    test_accuracy: Float[np.ndarray, "R M"],
    low: Float[np.ndarray, " R"],
    high: Float[np.ndarray, " R"],
    num_params: Num[np.ndarray, " R"],
    seconds: Float[np.ndarray, " R"],
    *,
    chance: float,
    command: str,
    note: str = "",
) -> Figure:
    """Draw the ladder: a rung per classifier, grouped by origin, the best of each group on top.

    Args:
      names: R entries, for instance 'polynomial:degree=3'.
      origins: R of 'programmed', 'estimated', 'learned'; other words make further groups. Groups
        stand in the order of first appearance, the first at the bottom.
      train_accuracy, test_accuracy: [R, M], fraction in 0..1; NaN where a rung has fewer members,
        or for a member that diverged.
      low, high: [R], 95 % interval of the mean test accuracy; NaN: none is drawn.
      num_params: [R], numbers that a classifier holds; NaN: unknown.
      seconds: [R], to get the weights of all members; NaN: unknown.
      chance: accuracy of guessing, 0..1.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure.
    """
    groups = _groups(origins, _mean(test_accuracy))
    labels = [_label(name) for name in names]
    rows, headings, height = _places(groups, labels)
    figure = Figure(figsize=(9.0, height + 0.75), layout="constrained")
    axes = figure.subplots()
    style.tidy(axes)
    axes.set_ylim(0, height)
    for group in groups:
        _heading(axes, group, headings[group.name], height)
        for r in group.rungs:
            scores = (train_accuracy[r], test_accuracy[r], float(low[r]), float(high[r]))
            _rung(axes, rows[r], group, *scores)
            texts = (
                _fraction(test_accuracy[r]),
                _count(float(num_params[r])),
                _duration(float(seconds[r])),
            )
            for text, (_, right) in zip(texts, COLUMNS, strict=True):
                _column(axes, rows[r], text, right)
    for name, right in COLUMNS:
        _column(axes, height + 0.08, name, right, color=style.GREY)
    axes.axvline(chance, color=style.INK, linewidth=0.8, linestyle=":", zorder=1)
    axes.set_yticks([rows[r] for r in range(len(names))], labels)
    axes.tick_params(axis="y", length=0, labelsize=8.5)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(*_range(train_accuracy, test_accuracy, low, high, chance))
    axes.set_xlabel("accuracy (fraction right)")
    num_members = int(np.isfinite(test_accuracy).sum(1).max(initial=0))
    caption = _caption(num_members, low, high)
    return style.finish(
        figure,
        "The ladder: programmed, estimated, learned",
        caption + note,
        command,
        _legend(groups, num_members, train_accuracy),
    )


def _groups(origins, accuracy):
    """Sort the rungs of each origin by accuracy; one without accuracy is the lowest."""
    known, groups = list(ORIGINS), []
    order = np.argsort(np.where(np.isfinite(accuracy), accuracy, -1.0), kind="stable")
    for name in dict.fromkeys(origins):
        others = [o for o in dict.fromkeys(origins) if o not in known]
        place = known.index(name) if name in known else len(known) + others.index(name)
        marks = [mark for mark, _ in ORIGINS.values()]
        marker = [*marks, *OTHER_MARKS][place % (len(marks) + len(OTHER_MARKS))]
        rungs = [int(r) for r in order if origins[r] == name]
        groups.append(Group(name, style.colour(place), marker, rungs))
    return groups


def _label(name):
    """Write a name and its settings, on up to three lines."""
    entry, _, settings = name.partition(":")
    lines = style.wrap(f"{entry} {settings.replace(':', ', ')}", NAME_WIDTH)
    return "\n".join(lines if len(lines) < 4 else [*lines[:2], lines[2][:-1] + "…"])


def _places(groups, labels):
    """Stack the rungs, the first group lowest.

    Returns:
      Height of each rung's line and of each group's heading, and of all: inches from the bottom.
    """
    rows: dict[int, float] = {}
    headings: dict[str, float] = {}
    top = 0.05
    for group in groups:
        for r in group.rungs:
            tall = LINE + MORE * labels[r].count("\n")
            rows[r] = top + tall / 2
            top += tall
        headings[group.name] = top + HEADER / 2
        top += HEADER + 0.06
    return rows, headings, top


def _heading(axes: Axes, group, y, height):
    words = ORIGINS.get(group.name, ("", ""))[1]
    lowest = y - HEADER / 2
    axes.annotate(
        group.name, (0, y), xycoords=axes.get_yaxis_transform(), xytext=(-4, 0),
        textcoords="offset points", ha="right", va="center", weight="bold", color=group.colour,
    )  # fmt: skip
    axes.text(
        0.01, y, words, transform=axes.get_yaxis_transform(), va="center", color=group.colour,
        bbox={"facecolor": "white", "linewidth": 0, "pad": 1.5},
    )  # fmt: skip
    if lowest + HEADER + 0.1 < height:
        axes.axhline(lowest + HEADER + 0.03, color=style.GREY, linewidth=0.7, zorder=0)


def _rung(axes: Axes, y, group, train, test, low, high):
    """Draw one rung: line, interval, members, mean of test and of train."""
    axes.axhline(y, color=style.PALE, linewidth=0.6, zorder=0)
    members = test[np.isfinite(test)].astype(np.float64)
    mean, mean_train = _mean(test[None])[0], _mean(train[None])[0]
    if 1 < members.size <= MAX_DOTS:
        axes.plot(
            members, y - 0.03 - 0.05 * strip.spread(members.size), "o", color=group.colour,
            markersize=2.2, alpha=max(0.25, style.thin(members.size)), markeredgewidth=0,
            zorder=2,
        )  # fmt: skip
    if np.isfinite([mean, mean_train]).all():
        axes.plot([mean_train, mean], [y, y], color=group.colour, lw=0.6, alpha=0.45, zorder=1)
    axes.plot(
        [mean_train], [y], group.marker, color="white", markeredgecolor=group.colour,
        markeredgewidth=0.9, markersize=4.2, zorder=3,
    )  # fmt: skip
    if np.isfinite([low, high]).all():
        axes.plot([low, high], [y, y], color=group.colour, lw=2.0, solid_capstyle="butt", zorder=4)
    axes.plot([mean], [y], group.marker, color=group.colour, markersize=5.4, mew=0, zorder=5)


def _column(axes: Axes, y, text, right, **look):
    axes.annotate(
        text, (1, y), xycoords=axes.get_yaxis_transform(), xytext=(72 * right, 0),
        textcoords="offset points", ha="right", va="center", **look,
    )  # fmt: skip


def _mean(accuracy):
    """Average the members that there are; NaN where there is none."""
    there = np.isfinite(accuracy)
    total = np.where(there, accuracy, 0.0).sum(1, dtype=np.float64)
    return np.where(there.any(1), total / np.maximum(there.sum(1), 1), np.nan)


def _fraction(accuracy):
    mean = _mean(accuracy[None])[0]
    return f"{mean:.3f}" if np.isfinite(mean) else "–"


def _count(number):
    if not np.isfinite(number):
        return "–"
    return f"{number:,.0f}" if number < 1e7 else f"{number / 1e6:,.1f} M"


def _duration(seconds):
    if not np.isfinite(seconds):
        return "–"
    if seconds < 0.0005:
        return "< 0.001"
    digits = 3 if seconds < 0.1 else 2 if seconds < 1 else 1 if seconds < 100 else 0
    return f"{seconds:,.{digits}f}"


def _range(*arrays):
    """Return the accuracies that the axis spans."""
    values = np.concatenate([np.ravel(array) for array in arrays])
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    room = max(0.03 * (high - low), 0.005)
    return low - room, high + room


def _caption(num_members, low, high):
    text = (
        "One rung for each classifier, grouped by where its numbers come from; in a group the best "
        "on the test examples is on top. Filled marks: accuracy on the test examples"
        + ", the mean over members where there are several (small dots)" * (num_members > 1)
        + ". Hollow marks: on the training examples. "
    )
    if np.isfinite([low, high]).any():
        text += (
            "Thick line: 95 % interval of the test accuracy, by drawing the test examples again "
            "and again (bootstrap). "
        )
    return text + (
        "Columns: test accuracy, the numbers that a classifier holds, and the seconds to get them"
        + (" for all members together" if num_members > 1 else "")
        + ". "
    )


def _legend(groups, num_members, train_accuracy):
    handles = [
        Line2D([], [], ls="none", marker=g.marker, color=g.colour, mew=0, ms=6, label=g.name)
        for g in groups
    ]
    if np.isfinite(train_accuracy).any():
        handles.append(
            Line2D(
                [], [], ls="none", marker="o", color="white", mec=style.GREY, ms=4.5,
                label="on training data",
            )
        )  # fmt: skip
    if num_members > 1:
        handles.append(
            Line2D([], [], ls="none", marker="o", color=style.GREY, mew=0, ms=2.5, label="member")
        )
    return [
        *handles,
        Line2D([], [], color=style.GREY, linewidth=2.0, label="95 % interval"),
        Line2D([], [], color=style.INK, linewidth=0.8, linestyle=":", label="guessing"),
    ]
