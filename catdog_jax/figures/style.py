"""One look for all figures: colours, panels, wrapped text, and the caption at the bottom."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe and Ito 2008, dark colours first: they differ for the colour-blind, and mostly in grey.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#B8860B", "#3A8FBF")
INK, GREY, PALE = "#222222", "#777777", "#DDDDDD"
WRONG = "#D55E00"
MARGIN = 0.12  # inches around the text
SIZE = 8.5  # points, of running text
LOOK: dict[Any, Any] = {
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.labelsize": SIZE,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9.5,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": SIZE,
    "legend.fontsize": SIZE,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a command or in a name is a $
}


@contextmanager
def look() -> Iterator[None]:
    """Draw in the look of this project, and leave the caller's settings as they were."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(LOOK)
        yield


def colour(index: int) -> str:
    """Return the colour of the model at this place."""
    return PALETTE[index % len(PALETTE)]


def thin(num_members: int) -> float:
    """Return the opacity at which so many lines still let one another through."""
    return min(0.9, 4.0 / max(1, num_members) ** 0.75)


def members(num_members: int) -> str:
    """Count members in words: '1 member', '1,000 members'."""
    return f"{num_members:,} member" + ("" if num_members == 1 else "s")


def num_columns(count: int) -> int:
    """Return how many of `count` panels stand side by side, at most four."""
    return -(-count // -(-count // 4))


def panels(
    count: int, *, width: float, height: float, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """Lay out one panel per model: up to four side by side, more in two or more rows.

    Args:
      count: number of panels, ≥ 1.
      width, height: of one panel, inches.
      share_y: whether all panels have the same vertical range.

    Returns:
      The figure and its panels.
    """
    columns = num_columns(count)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(6.0, columns * width), rows * height), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=share_y, squeeze=False)
    for empty in grid.flat[count:]:
        empty.remove()
    for axes in grid.flat[:count]:
        tidy(axes)
    return figure, list(grid.flat[:count])


def tidy(axes: Axes) -> None:
    """Set what matplotlib would otherwise look up later, outside of `look`."""
    axes.tick_params(
        labelsize=8, colors=GREY, labelcolor=INK, width=0.7, length=3, pad=3, which="both"
    )


def text_width(text: str, size: float = SIZE, family: str = "DejaVu Sans") -> float:
    """Add up the widths of the letters of one line.

    Args:
      text: one line.
      size: points.
      family: the font.

    Returns:
      Inches.
    """
    # Letters are fitted to the grid of pixels, and at 72 dots per inch come out up to 14 % wider.
    return 1.14 * sum(_advance(letter, family) for letter in text) * size / 72


@functools.cache
def _advance(letter, family):
    """Return the width of a letter in the size of its font."""
    font = get_font(findfont(FontProperties(family=family)))
    font.set_size(100.0, 72.0)
    return font.load_char(ord(letter)).linearHoriAdvance / 65536 / 100


def wrap(text: str, width: float, size: float = SIZE, family: str = "DejaVu Sans") -> list[str]:
    """Break text into lines by its measured width, between words or, in long ones, at a joint.

    Args:
      text: words; line breaks in it are spaces.
      width: inches.
      size: points.
      family: the font.

    Returns:
      Lines, at least one.
    """

    def fits(line: str) -> bool:
        return text_width(line, size, family) <= width

    lines, line = [], ""
    for word in text.split():
        if line and not fits(f"{line} {word}"):
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
        while len(line) > 1 and not fits(line):
            cut = max((n for n in range(1, len(line)) if fits(line[:n])), default=1)
            joint = max(line.rfind(mark, 0, cut) for mark in ".-_/=,:") + 1
            cut = joint if joint > 1 else cut
            lines.append(line[:cut])
            line = line[cut:]
    return [*lines, line]


def entry_title(entry: str, width: float, size: float = 9.5, max_lines: int = 4) -> str:
    """Write an entry of `--models` in lines: the name, then its settings.

    Args:
      entry: for instance 'mlp:width=256:depth=3'.
      width: inches.
      size: points.
      max_lines: the last line ends in … where there would be more.

    Returns:
      Lines joined by line breaks.
    """
    name, _, settings = entry.partition(":")
    lines = wrap(name, width, size)
    if settings:
        lines += wrap(settings.replace(":", ", "), width, size)
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], lines[max_lines - 1][:-1] + "…"]
    return "\n".join(lines)


def finish(
    figure: Figure, title: str, caption: str, command: str, handles: Sequence[Artist] = ()
) -> Figure:
    """Add title and legend above the panels, caption and command below, and grow to hold them.

    Args:
      figure: with constrained layout; its present size is that of the panels.
      title: one line.
      caption: what the figure shows, one paragraph.
      command: the command line that computed it; may be empty.
      handles: labelled artists of the legend.

    Returns:
      The figure.
    """
    width, height = map(float, figure.get_size_inches())
    inner = width - 2 * MARGIN
    heading = wrap(title, inner * 0.94, 11.5)  # bold letters are wider than those measured
    columns = _legend_columns(handles, inner)
    legend_rows = -(-len(handles) // columns) if handles else 0
    above = MARGIN + 0.225 * len(heading) + 0.2 * legend_rows + 0.04
    paragraph = wrap(caption, inner)
    typed = wrap(command, inner, 7.5, "DejaVu Sans Mono") if command else []
    below = 0.1 + 0.175 * len(paragraph) + 0.155 * len(typed) + MARGIN
    total = height + above + below
    figure.set_size_inches(width, total)
    left = MARGIN / width
    figure.text(
        left, 1 - MARGIN / total, "\n".join(heading), size=11.5, weight="bold", va="top"
    ).set_in_layout(False)
    if handles:
        figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(left, 1 - (MARGIN + 0.225 * len(heading)) / total),
            ncols=columns,
            borderaxespad=0.0,
            borderpad=0.2,
            handlelength=1.6,
            columnspacing=1.4,
        ).set_in_layout(False)
    figure.text(
        left, (below - 0.1) / total, "\n".join(paragraph), va="top", linespacing=1.25
    ).set_in_layout(False)
    figure.text(
        left,
        MARGIN / total,
        "\n".join(typed),
        size=7.5,
        family="DejaVu Sans Mono",
        color=GREY,
        va="bottom",
        linespacing=1.25,
    ).set_in_layout(False)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(left, below / total, 1.0 - 2 * left, height / total))
    return figure


def _legend_columns(handles, inner):
    """Return how many legend entries fit side by side."""
    widths = [text_width(str(handle.get_label())) + 0.45 for handle in handles]
    if sum(widths) <= inner:
        return len(handles)
    return max(1, int(inner / max(widths)))
