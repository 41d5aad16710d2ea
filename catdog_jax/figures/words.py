"""Words as points: the plane of each member's vectors, and the nearest words in a table."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Integer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from catdog_jax.figures import style

LETTER = 6.5  # points, of the words in a plane
MARKS = ("o", "s", "^", "D", "v", "P")
_OFFSETS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


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
    place = {word: index for index, word in enumerate(words)}
    for m, (member, ax) in enumerate(zip(members, axes, strict=True)):
        points = coordinates[m]
        reach = 1.15 * max(float(np.abs(points).max()), 1e-9)
        ax.set_xlim(-reach, reach)
        ax.set_ylim(-reach, reach)
        ax.set_aspect("equal")
        grouped = [word for group in groups.values() for word in group]
        others = [place[word] for word in words if word not in grouped]
        ax.plot(*points[others].T, "o", color=style.GREY, alpha=0.6, markersize=2.5, linestyle="")
        labels = _Labels(points, reach, 3.3)
        for number, group in enumerate(groups.values()):
            rows = [place[word] for word in group]
            ax.plot(
                *points[rows].T, MARKS[number % len(MARKS)], color=style.colour(number),
                markersize=5, markeredgecolor="white", markeredgewidth=0.4, linestyle="",
            )  # fmt: skip
            for row in rows:
                where = labels.room_for(words[row], points[row])
                if where is not None:
                    ax.text(
                        where[0], where[1], words[row], size=LETTER, color=style.colour(number),
                        ha="center", va="center",
                    )  # fmt: skip
        shares = " and ".join(f"{100 * share:.0f} %" for share in explained[m])
        ax.set_title(f"member {member}: {shares} of the variance", loc="left", size=style.SIZE)
        ax.set_xlabel("first component")
        ax.set_ylabel("second component" if m == 0 else "")
    caption = (
        f"The vectors of all {len(words)} words that {_which(members, num_members)} of "
        f"{model} learned, each member in the plane of its own two principal components, turned "
        "so that the planes match. Every member began with random vectors. Labels that would "
        "cover others are left out. "
    )
    handles = [
        Line2D([], [], marker=MARKS[n % len(MARKS)], color=style.colour(n), ls="", label=name)
        for n, name in enumerate(groups)
    ]
    handles.append(Line2D([], [], marker="o", color=style.GREY, ls="", ms=3, label="other words"))
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
    lists = [[[words[i] for i in nearest[m, words.index(w)]] for m in range(num_columns)]
             for w in shown]  # fmt: skip
    longest = max(style.text_width(", ".join(names)) for row in lists for names in row)
    first, column = 1.0, longest + 0.35
    row_height = 0.21
    width, height = first + num_columns * column, row_height * (len(shown) + 1.2)
    figure = Figure(figsize=(max(6.0, width), height), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(0, max(6.0, width))
    axes.set_ylim(len(shown) + 0.2, -1.0)
    for m in range(num_columns):
        axes.text(first + m * column, -0.6, f"member {members[m]}", weight="bold", va="center")
    axes.text(0, -0.6, "word", weight="bold", va="center")
    for row, word in enumerate(shown):
        axes.axhline(row - 0.1, color=style.PALE, linewidth=0.5)
        axes.text(0, row + 0.4, word, color=colours.get(word, style.GREY), va="center")
        for m in range(num_columns):
            x = first + m * column
            for number, name in enumerate(lists[row][m]):
                written = name + (", " if number + 1 < len(lists[row][m]) else "")
                axes.text(x, row + 0.4, written, color=colours.get(name, style.GREY), va="center")
                x += style.text_width(written) * 0.96
    caption = (
        f"The words whose vectors point most nearly the same way (cosine), the nearest first, in "
        f"{_which(members, num_members)} of {model}, after training. "
    )
    handles = [
        Line2D([], [], marker="s", color=style.colour(n), ls="", label=name)
        for n, name in enumerate(groups)
    ]
    handles.append(Line2D([], [], marker="s", color=style.GREY, ls="", label="other words"))
    return style.finish(figure, "Which words lie together", caption + note, command, handles)


def _which(members, num_members):
    if len(members) == num_members:
        return style.members(num_members)
    first = "the first " if list(members) == list(range(len(members))) else ""
    return f"{first}{len(members)} of {style.members(num_members)}"


class _Labels:
    """Finds room for labels, as rectangles in the units of a square panel."""

    def __init__(self, points, reach, inches):
        """Start with the points in the way; the panel is 2 · reach units and `inches` wide."""
        self._unit = 2 * reach / inches
        self._reach = reach
        self._points = points
        self._boxes = []

    def room_for(self, word, point):
        """Return the centre of a free place beside a point; None where there is none."""
        half = np.array([style.text_width(word, LETTER) / 2, LETTER / 72 / 2]) * self._unit
        gap = 0.05 * self._unit
        for across, up in _OFFSETS:
            centre = point + np.array([across, up]) * (half + gap * (1 if across * up == 0 else 0))
            if self._free(centre, half):
                self._boxes.append((centre, half))
                return centre
        return None

    def _free(self, centre, half):
        if (np.abs(centre) + half > self._reach).any():
            return False
        covered = np.all(np.abs(self._points - centre) < half, axis=1).any()
        return not covered and all(
            (np.abs(centre - other) >= half + size).any() for other, size in self._boxes
        )
