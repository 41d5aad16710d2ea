"""One look for all figures: colours, panels, wrapped text, and the caption at the bottom."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

# Okabe and Ito 2008, dark colours first: they differ for the colour-blind, and mostly in grey.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#B8860B", "#3A8FBF")
INK, GREY, PALE = "#222222", "#777777", "#DDDDDD"
WRONG = "#D55E00"
MARGIN = 0.12  # inches around the text
MONO = "DejaVu Sans Mono"
SIZE = 8.5  # points, of running text
DOTTED: Any = {"color": INK, "linewidth": 0.8, "linestyle": ":", "zorder": 1}
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


class Sheet(Figure):
    """A figure whose panels keep their look when they are drawn later, outside of `look`."""

    def add_subplot(self, *args: Any, **settings: Any) -> Axes:
        """Add a panel whose ticks have the look of this project."""
        axes = super().add_subplot(*args, **settings)
        tidy(axes)
        return axes


def sheet(width: float, height: float) -> Sheet:
    """Return an empty figure.

    Args:
      width, height: of the panels together, inches.
    """
    return Sheet(figsize=(width, height), layout="constrained")


def subplots(figure: Figure, count: int, columns: int, **settings: Any) -> list[Axes]:
    """Lay out panels line by line, and leave the rest of the last line empty.

    Args:
      figure: where.
      count: number of panels, ≥ 0.
      columns: panels side by side.
      settings: of `Figure.subplots`.

    Returns:
      The panels.
    """
    grid = figure.subplots(max(1, -(-count // columns)), columns, squeeze=False, **settings).flat
    for empty in grid[count:]:
        empty.remove()
    return list(grid[:count])


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
    figure = sheet(max(6.0, columns * width), -(-count // columns) * height)
    return figure, subplots(figure, count, columns, sharey=share_y)


def tidy(axes: Axes) -> None:
    """Set what matplotlib would otherwise look up later, outside of `look`."""
    axes.tick_params(
        labelsize=8, colors=GREY, labelcolor=INK, width=0.7, length=3, pad=3, which="both"
    )


def name_rows(axes: Axes, places: ArrayLike, names: Sequence[str], size: float = 8.0) -> None:
    """Turn the vertical axis into named rows.

    Args:
      axes: where.
      places, names: of the rows.
      size: points.
    """
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0, labelsize=size)
    axes.spines["left"].set_visible(False)


def colour_bar(image: AxesImage, label: str, **settings: Any) -> Colorbar:
    """Explain the colours of an image.

    Args:
      image: drawn in panels of a figure.
      label: of the bar.
      settings: of `Figure.colorbar`.
    """
    bar = image.figure.colorbar(image, **settings)
    bar.set_label(label)
    bar.outline.set_visible(False)
    tidy(bar.ax)
    return bar


def handle(label: str, **settings: Any) -> Line2D:
    """Return a line, or where a marker is given a mark alone, for the legend.

    Args:
      label: what it means.
      settings: of `Line2D`.
    """
    alone = {"linestyle": "none"} if "marker" in settings else {}
    return Line2D([], [], label=label, **alone | settings)


def hollow(edge: str, size: float = 5.0, marker: str = "o", **settings: Any) -> dict[str, Any]:
    """Return the settings of a white mark without a line.

    Args:
      edge: its colour.
      size: points.
      marker: its form.
      settings: further ones of `Line2D`.
    """
    look = {"marker": marker, "linestyle": "none", "color": "white", "markersize": size}
    return {**look, "markeredgecolor": edge, **settings}


def mean(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Average the last axis over what is finite.

    Args:
      values: [..., n].

    Returns:
      [...] float64; nan where nothing is finite.
    """
    return np.ma.filled(np.ma.masked_invalid(values).mean(-1, dtype=np.float64), np.nan)


def median(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Take the median of the last axis over what is finite; see `mean`."""
    return np.ma.filled(np.ma.median(np.ma.masked_invalid(values), axis=-1), np.nan)


def short(name: str, length: int = 12) -> str:
    """Return a class name on one line, cut to so many letters."""
    name = " ".join(name.split())
    return name if len(name) <= length else name[: length - 1] + "…"


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
    widths = [text_width(str(handle.get_label())) + 0.45 for handle in handles]
    columns = len(handles) if sum(widths) <= inner else max(1, int(inner / max(widths)))
    legend_rows = -(-len(handles) // max(1, columns))
    above = MARGIN + 0.225 * len(heading) + 0.2 * legend_rows + 0.04
    paragraph = wrap(caption, inner)
    typed = wrap(command, inner, 7.5, MONO) if command else []
    below = 0.1 + 0.175 * len(paragraph) + 0.155 * len(typed) + MARGIN
    total = height + above + below
    figure.set_size_inches(width, total)
    left = MARGIN / width

    def write(lines: Sequence[str], inches: float, va: str, **look: Any) -> None:
        text = figure.text(left, inches / total, "\n".join(lines), va=va, **look)
        text.set_in_layout(False)

    write(heading, total - MARGIN, "top", size=11.5, weight="bold")
    write(paragraph, below - 0.1, "top", linespacing=1.25)
    write(typed, MARGIN, "bottom", size=7.5, family=MONO, color=GREY, linespacing=1.25)
    if handles:
        figure.legend(
            handles=handles, loc="upper left", ncols=columns,
            bbox_to_anchor=(left, 1 - (MARGIN + 0.225 * len(heading)) / total),
            borderaxespad=0.0, borderpad=0.2, handlelength=1.6, columnspacing=1.4,
        ).set_in_layout(False)  # fmt: skip
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(left, below / total, 1.0 - 2 * left, height / total))
    return figure
