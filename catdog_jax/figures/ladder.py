"""From the lowest rung to the highest: the accuracy of every classifier, by origin of its weights.

Origins differ in colour and in the form of their marks.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Num
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
      origins: R of 'programmed', 'estimated', 'learned'; groups stand in the order of first
        appearance, the first at the bottom.
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
    mean, mean_train = style.mean(test_accuracy), style.mean(train_accuracy)
    labels = [_label(name) for name in names]
    rows, headings, height = _places(origins, labels, mean)
    figure = style.sheet(9.0, height + 0.75)
    axes = figure.subplots()
    beside = axes.get_yaxis_transform()

    def column(y: float, name: str, text: str, colour: str = style.INK) -> None:
        axes.annotate(
            text, (1, y), xycoords=beside, xytext=(72 * COLUMNS[name], 0), color=colour,
            textcoords="offset points", ha="right", va="center",
        )  # fmt: skip

    for origin, y in headings.items():
        _, colour, words = ORIGINS[origin]
        axes.annotate(
            origin, (0, y), xycoords=beside, xytext=(-4, 0), color=colour,
            textcoords="offset points", ha="right", va="center", weight="bold",
        )  # fmt: skip
        ground = {"facecolor": "white", "linewidth": 0, "pad": 1.5}
        axes.text(0.01, y, words, transform=beside, va="center", color=colour, bbox=ground)
    for y in list(headings.values())[:-1]:
        axes.axhline(y + HEADER / 2 + 0.03, color=style.GREY, linewidth=0.7, zorder=0)
    for r, y in enumerate(rows):
        marker, colour, _ = ORIGINS[origins[r]]
        axes.axhline(y, color=style.PALE, linewidth=0.6, zorder=0)
        members = test_accuracy[r, np.isfinite(test_accuracy[r])]
        if 1 < members.size <= MAX_DOTS:
            axes.plot(
                members, y - 0.03 - 0.05 * strip.spread(members.size), "o", color=colour, mew=0,
                markersize=2.2, alpha=max(0.25, style.thin(members.size)), zorder=2,
            )  # fmt: skip
        axes.plot([mean_train[r], mean[r]], [y, y], color=colour, lw=0.6, alpha=0.45, zorder=1)
        hollow = style.hollow(colour, 4.2, marker, markeredgewidth=0.9, zorder=3)
        axes.plot([mean_train[r]], [y], **hollow)
        axes.plot([low[r], high[r]], [y, y], color=colour, lw=2, solid_capstyle="butt", zorder=4)
        axes.plot([mean[r]], [y], marker, color=colour, markersize=5.4, mew=0, zorder=5)
        column(y, "test", f"{mean[r]:.3f}".replace("nan", "–"))
        column(y, "parameters", _count(num_params[r]))
        column(y, "seconds", _duration(seconds[r]))
    for name in COLUMNS:
        column(height + 0.08, name, name, style.GREY)
    axes.axvline(chance, **style.DOTTED)
    style.name_rows(axes, rows, labels, 8.5)
    drawn = np.concatenate([train_accuracy.ravel(), test_accuracy.ravel(), low, high, [chance]])
    first, last = np.nanmin(drawn), np.nanmax(drawn)
    room = max(0.03 * (last - first), 0.005)
    axes.set(xlim=(first - room, last + room), ylim=(0, height), xlabel="accuracy (fraction right)")
    many = bool((np.isfinite(test_accuracy).sum(1) > 1).any())
    caption = (
        "One rung for each classifier, grouped by where its numbers come from; in a group the best "
        "on the test examples is on top. Filled marks: accuracy on the test examples"
        + ", the mean over members where there are several (small dots)"
        * many
        + ". Hollow marks: on the training examples. Thick line: 95 % interval of the test "
        "accuracy, by drawing the test examples again and again (bootstrap). "
        "Columns: test accuracy, the numbers that a classifier holds, and the seconds to get them"
        + " for all members together" * many
        + ". "
    )
    handles = [
        *(
            style.handle(origin, marker=ORIGINS[origin][0], color=ORIGINS[origin][1], mew=0)
            for origin in headings
        ),
        style.handle("on training data", **style.hollow(style.GREY, 4.5)),
    ]
    if many:
        handles.append(style.handle("member", marker="o", color=style.GREY, mew=0, markersize=2.5))
    handles += [
        style.handle("95 % interval", color=style.GREY, linewidth=2.0),
        style.handle("guessing", **style.DOTTED),
    ]
    title = "The ladder: programmed, estimated, learned"
    return style.finish(figure, title, caption + note, command, handles)


def _label(name):
    """Write a name and its settings, on up to three lines."""
    lines = style.wrap(name.replace(":", " ", 1).replace(":", ", "), NAME_WIDTH)
    return "\n".join(lines if len(lines) < 4 else [*lines[:2], lines[2][:-1] + "…"])


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
    if np.isnan(number):
        return "–"
    return f"{number:,.0f}" if number < 1e7 else f"{number / 1e6:,.1f} M"


def _duration(seconds):
    if np.isnan(seconds):
        return "–"
    if seconds < 0.0005:
        return "< 0.001"
    digits = 3 if seconds < 0.1 else 2 if seconds < 1 else 1 if seconds < 100 else 0
    return f"{seconds:,.{digits}f}"
