"""Words as points: the plane of each member's vectors, and the nearest words in a table."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import style

MEMBERS = 3  # shown at most, the first that did not diverge
SHOWN = ("cat", "tabbies", "dog", "puppies", "chased", "slept", "by", "that", "was", "the",
         "small", "suddenly", "Paris")  # fmt: skip
PANEL = 3.3  # inches, side of a plane
LETTER = 6.5  # points, of the words in a plane
MARKS = {"cats": "o", "dogs": "s", "running after": "^", "grammatical words": "D"}
OFFSETS = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)])


@style.look()
def embeddings(data: xr.Dataset) -> Figure | None:
    """Draw the words of a few members of the last model that has vectors, each in its own plane.

    Args:
      data: `word_plane` (embedded, member, word, axis), nan where a vector has less than two
        numbers or the member diverged; `word_plane_explained` (embedded, member, axis), fraction
        of the variance; `word_group` (word), one of `MARKS` or "other words".

    Returns:
      Figure, a panel per member; None where there is no such plane.
    """
    if "word_plane" not in data:
        return None
    one = data.isel(embedded=-1)
    one = one.isel(member=one["word_plane"].notnull().all(["word", "axis"]).values)
    if not one.sizes["member"]:
        return None
    shown, words = one.isel(member=slice(MEMBERS)), data["word"].values
    indices = [np.flatnonzero(data["word_group"] == group) for group in MARKS]
    figure, panels = style.panels(shown.sizes["member"], 3.7, 3.6)
    for m, axes in enumerate(panels):
        points = shown["word_plane"].values[m]
        reach = 1.15 * float(np.abs(points).max())
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        others = np.flatnonzero(data["word_group"] == "other words")
        axes.plot(*points[others].T, "o", color=style.GREY, alpha=0.6, markersize=2.5)
        boxes: list[tuple[np.ndarray, np.ndarray]] = []
        for number, (mark, rows) in enumerate(zip(MARKS.values(), indices, strict=True)):
            hue = style.colour(number)
            dots = {"markersize": 5, "markeredgecolor": "white", "markeredgewidth": 0.4}
            axes.plot(*points[rows].T, mark, color=hue, **dots)
            for row in rows:
                place = _room(words[row], points[row], points, boxes, reach)
                if place is not None:
                    middle = {"ha": "center", "va": "center"}
                    axes.text(*place, words[row], size=LETTER, color=hue, **middle)
        shares = " and ".join(f"{x:.0%}" for x in shown["word_plane_explained"].values[m])
        member = shown["member"].values[m]
        axes.set_title(f"member {member}: {shares} of the variance", loc="left", size=style.SIZE)
        axes.set(xlabel="first component", ylabel="second component" if m == 0 else "")
    caption = (
        f"The vectors of all {len(words)} words that {_which(shown, data)} learned, each member in "
        "the plane of its own two principal components, turned so that the planes match. Every "
        f"member began with random vectors. Labels that would cover others are left out. "
        f"{style.source(data)}"
    )
    marks = [*MARKS.values(), "o"]
    return style.finish(figure, "Words become points", caption, data, _legend(marks))


@style.look()
def neighbours(data: xr.Dataset) -> Figure | None:
    """Write the nearest words of some words, for a few members of the last model with vectors.

    Args:
      data: `nearest_word` (embedded, when, member, word, rank), indices of words, the nearest
        first; `neighbour_overlap` (embedded, when, member, other_member), share of a word's
        nearest words that two members have in common; `word_group` (word), one of `MARKS` or
        "other words"; `diverged_step` (model, member), -1 = never.

    Returns:
      Figure; None where no member has vectors.
    """
    if "nearest_word" not in data:
        return None
    one = data.isel(embedded=-1).sel(model=data["embedded"].values[-1])
    alive = np.flatnonzero(one["diverged_step"].values < 0)
    if not alive.size:
        return None
    one, words = one.isel(member=alive, other_member=alive), data["word"].values
    shown = one.isel(member=slice(MEMBERS))
    hues = {group: style.colour(n) for n, group in enumerate(MARKS)}
    colours = [hues.get(group, style.GREY) for group in data["word_group"].values]
    nearest = shown["nearest_word"].sel(when="trained", word=list(SHOWN)).values
    # A column for each rank, as wide as its longest word.
    letter = style.SIZE / style.LETTERS
    longest = [max(len(words[i]) for i in column) for own in nearest for column in own.T]
    gaps = [0.35 if n % nearest.shape[2] == 0 else 0.12 for n in range(1, len(longest) + 1)]
    starts = 0.9 + np.cumsum([0.0, *(letter * n + g for n, g in zip(longest, gaps, strict=True))])
    width = max(6.0, starts[-1])
    figure = style.sheet(width, 0.21 * (len(SHOWN) + 1.2))
    axes: Any = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(len(SHOWN) + 0.2, -1.0))
    titles = ["word", *(f"member {m}" for m in shown["member"].values)]
    for left, text in zip([0, *starts[:: nearest.shape[2]]], titles, strict=False):
        axes.text(left, -0.6, text, weight="bold", va="center")
    for row, word in enumerate(SHOWN):
        axes.axhline(row - 0.1, color=style.PALE, linewidth=0.5)
        axes.text(0, row + 0.4, word, va="center")
        for left, i in zip(starts, nearest[:, row].ravel(), strict=False):
            axes.text(left, row + 0.4, words[i], color=colours[i], va="center")
    shared = [
        style.pairs(one["neighbour_overlap"].sel(when=w).values) for w in ("trained", "start")
    ]
    by_chance = data.sizes["rank"] / (len(words) - 1)
    caption = (
        "The words whose vectors point most nearly the same way (cosine), the nearest first, in "
        f"{_which(shown, data)}, after training. "
        + (
            f"Two members have {shared[0].mean():.2f} of a word's neighbours in common on average "
            f"({shared[1].mean():.2f} at the random start; {by_chance:.2f} by chance). "
            if shared[0].size
            else ""
        )
        + style.source(data)
    )
    legend = _legend("s" * (len(MARKS) + 1))
    return style.finish(figure, "Which words lie together", caption, data, legend)


def _legend(marks):
    hues = [*(style.colour(n) for n in range(len(MARKS))), style.GREY]
    looks = zip((*MARKS, "other words"), marks, hues, strict=True)
    return [style.handle(name, marker=mark, color=hue) for name, mark, hue in looks]


def _which(shown, data):
    """Say which members are shown, of which model."""
    found, every = shown["member"].values, style.members(data.sizes["member"])
    if len(found) < data.sizes["member"]:
        every = f"{'the first ' * bool(found[-1] < len(found))}{len(found)} of {every}"
    return f"{every} of {data['embedded'].values[-1]}"


def _room(word, point, points, boxes, reach):
    """Return the centre of a free place for a word beside its point; None where there is none.

    A place is free of points, and of boxes of words placed before (centre and half the size), to
    which it is added; the panel is a square of 2 · reach units and `PANEL` inches.
    """
    unit = 2 * reach / PANEL
    half = np.array([len(word) / style.LETTERS, 1 / 72]) * LETTER / 2 * unit
    for offset in OFFSETS:
        centre = point + offset * (half + 0.05 * unit * (0 in offset))
        if (
            (np.abs(centre) + half <= reach).all()
            and (np.abs(points - centre) >= half).any(axis=1).all()
            and all((np.abs(centre - other) >= half + size).any() for other, size in boxes)
        ):
            boxes.append((centre, half))
            return centre
    return None
