"""Words as points: the plane of each member's vectors, and the nearest words in a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Integer
from matplotlib.figure import Figure

from catdog_jax.figures import style

PANEL = 3.3  # inches, side of a plane
LETTER = 6.5  # points, of the words in a plane
MARKS = ("o", "s", "^", "D", "v", "P")
OFFSETS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


@style.look()
def embeddings(
    coordinates: Float[np.ndarray, "M V 2"],
    explained: Float[np.ndarray, "M 2"],
    words: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    *,
    model: str,
    members: Sequence[int],
    num_members: int,
    command: str,
    note: str = "",
) -> Figure:
    """Draw the words of several members, each in its own plane.

    Args:
      coordinates: [M, V, 2], for the M members that are drawn.
      explained: [M, 2], fraction of the variance along each axis, 0..1.
      words: V words.
      groups: what a colour and a mark mean -> its words; all other words are small and grey.
      model: entry of `--models`.
      members: M numbers of those that are drawn.
      num_members: members in the population.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure, one panel per member.
    """
    figure, axes = style.panels(len(coordinates), width=3.7, height=3.6)
    indices = [[words.index(word) for word in group] for group in groups.values()]
    others = np.setdiff1d(np.arange(len(words)), np.concatenate(indices))
    for m, (member, ax) in enumerate(zip(members, axes, strict=True)):
        points = coordinates[m]
        reach = 1.15 * float(np.abs(points).max())
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        ax.plot(*points[others].T, "o", color=style.GREY, alpha=0.6, markersize=2.5)
        boxes: list[tuple[np.ndarray, np.ndarray]] = []
        for number, rows in enumerate(indices):
            colour = style.colour(number)
            ax.plot(
                *points[rows].T, MARKS[number % len(MARKS)], color=colour,
                markersize=5, markeredgecolor="white", markeredgewidth=0.4,
            )  # fmt: skip
            for row in rows:
                where = _room(words[row], points[row], points, boxes, reach)
                if where is not None:
                    look: Any = {"size": LETTER, "color": colour, "ha": "center", "va": "center"}
                    ax.text(where[0], where[1], words[row], **look)
        shares = " and ".join(f"{100 * share:.0f} %" for share in explained[m])
        ax.set_title(f"member {member}: {shares} of the variance", loc="left", size=style.SIZE)
        ax.set(xlabel="first component", ylabel="second component" if m == 0 else "")
    caption = (
        f"The vectors of all {len(words)} words that {_which(members, num_members)} of "
        f"{model} learned, each member in the plane of its own two principal components, turned "
        "so that the planes match. Every member began with random vectors. Labels that would "
        "cover others are left out. "
    )
    handles = [
        style.handle(name, marker=MARKS[n % len(MARKS)], color=style.colour(n))
        for n, name in enumerate(groups)
    ]
    handles.append(style.handle("other words", marker="o", color=style.GREY, markersize=3))
    return style.finish(figure, "Words become points", caption + note, command, handles)


@style.look()
def neighbours(
    nearest: Integer[np.ndarray, "M V k"],
    shown: Sequence[str],
    words: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    *,
    model: str,
    members: Sequence[int],
    num_members: int,
    command: str,
    note: str = "",
) -> Figure:
    """Write the nearest words of some words for several members, in columns.

    Args:
      nearest: [M, V, k], indices of words, the nearest first, for the M members that are shown.
      shown: words to write a row for.
      words: V words.
      groups: what a colour means -> its words; all other words are grey.
      model: entry of `--models`.
      members: M numbers of those that are drawn.
      num_members: members in the population.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure.
    """
    num_columns = len(nearest)
    colours = {word: style.colour(n) for n, group in enumerate(groups.values()) for word in group}
    lists = [
        [[words[i] for i in member[words.index(word)]] for member in nearest] for word in shown
    ]
    longest = max(style.text_width(", ".join(names)) for row in lists for names in row)
    starts = 1.0 + (longest + 0.35) * np.arange(num_columns + 1)
    width = max(6.0, starts[-1])
    figure = style.sheet(width, 0.21 * (len(shown) + 1.2))
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(len(shown) + 0.2, -1.0))
    for left, text in zip([0, *starts], ["word", *(f"member {m}" for m in members)], strict=False):
        axes.text(left, -0.6, text, weight="bold", va="center")
    for row, word in enumerate(shown):
        axes.axhline(row - 0.1, color=style.PALE, linewidth=0.5)
        for left, names in zip([0, *starts], [[word], *lists[row]], strict=False):
            for number, name in enumerate(names):
                written = name + ", " * (number + 1 < len(names))
                hue = colours.get(name, style.GREY)
                axes.text(left, row + 0.4, written, color=hue, va="center")
                left += style.text_width(written) * 0.96
    caption = (
        f"The words whose vectors point most nearly the same way (cosine), the nearest first, in "
        f"{_which(members, num_members)} of {model}, after training. "
    )
    handles = [
        style.handle(name, marker="s", color=style.colour(n)) for n, name in enumerate(groups)
    ]
    handles.append(style.handle("other words", marker="s", color=style.GREY))
    return style.finish(figure, "Which words lie together", caption + note, command, handles)


def _which(members, num_members):
    if len(members) == num_members:
        return style.members(num_members)
    first = "the first " if list(members) == list(range(len(members))) else ""
    return f"{first}{len(members)} of {style.members(num_members)}"


def _room(word, point, points, boxes, reach):
    """Return the centre of a free place for a word beside its point; None where there is none.

    A place is free of points, and of boxes of words placed before (centre and half the size), to
    which it is added; the panel is a square of 2 · reach units and `PANEL` inches.
    """
    unit = 2 * reach / PANEL
    half = np.array([style.text_width(word, LETTER) / 2, LETTER / 72 / 2]) * unit
    for offset in np.array(OFFSETS):
        centre = point + offset * (half + 0.05 * unit * (0 in offset))
        if (
            (np.abs(centre) + half <= reach).all()
            and (np.abs(points - centre) >= half).any(axis=1).all()
            and all((np.abs(centre - other) >= half + size).any() for other, size in boxes)
        ):
            boxes.append((centre, half))
            return centre
    return None
