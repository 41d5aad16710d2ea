"""One look for all figures: colours, panels, wrapped text, and the caption at the bottom."""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

# Okabe and Ito 2008, dark colours first: they differ for the colour-blind, and mostly in grey.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#B8860B", "#3A8FBF")
INK, GREY, PALE = "#222222", "#777777", "#DDDDDD"
MARGIN = 0.12  # inches around the text
SIZE = 8.5  # points, of running text
LETTERS = 120  # of one point in an inch, of the wider lines of DejaVu Sans
DOTTED: Any = {"color": INK, "linewidth": 0.8, "linestyle": ":", "zorder": 1}
CENTRED: Any = {"ha": "center", "va": "center"}
GUESSING: Any = {**DOTTED, "label": "guessing"}
TICKS = {"color": GREY, "labelcolor": INK, "labelsize": 8, "major.width": 0.7, "major.size": 3}
LOOK: dict[Any, Any] = {
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.labelsize": SIZE,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9.5,
    "font.size": SIZE,
    "legend.fontsize": SIZE,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a command or in a name is a $
    **{f"{axis}tick.{name}": value for axis in "xy" for name, value in TICKS.items()},
}


@contextmanager
def look() -> Iterator[None]:
    """Draw in the look of this project, and leave the caller's settings as they were."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(LOOK)
        yield


class Sheet(Figure):
    """A figure that has the look of this project whenever it is drawn."""

    def draw(self, renderer: RendererBase) -> None:
        """Draw with settings of its own: ticks are made late, and read them."""
        with look():
            super().draw(renderer)


def sheet(width: float, height: float) -> Sheet:
    """Return an empty figure whose panels together have a width and a height, in inches."""
    return Sheet(figsize=(width, height), layout="constrained")


def panels(
    count: int, width: float, height: float, columns: int = 0, **settings: Any
) -> tuple[Sheet, list[Any]]:
    """Lay out panels line by line.

    Args:
      count: number of panels, ≥ 1.
      width, height: of one panel, inches.
      columns: panels side by side; 0: up to four, more in lines of nearly equal length.
      settings: of `Figure.subplots`.

    Returns:
      The figure and its panels.
    """
    columns = columns or num_columns(count)
    rows = -(-count // columns)
    figure = sheet(max(6.0, columns * width), rows * height)
    grid = figure.subplots(rows, columns, squeeze=False, **settings).flat
    for empty in grid[count:]:
        empty.remove()
    return figure, list(grid[:count])


def num_columns(count: int) -> int:
    """Return how many of `count` panels stand side by side, at most four."""
    return -(-count // -(-count // 4))


def colour(index: int) -> str:
    """Return the colour of the model at this place."""
    return PALETTE[index % len(PALETTE)]


def thin(num_members: int) -> float:
    """Return the opacity at which so many lines still let one another through."""
    return min(0.9, 4.0 / max(1, num_members) ** 0.75)


def members(num_members: int) -> str:
    """Count members in words: '1 member', '1,000 members'."""
    return f"{num_members:,} member" + "s" * (num_members != 1)


def chance(data: xr.Dataset) -> float:
    """Return the accuracy of always giving the most frequent class of `label` (example)."""
    counts = np.bincount(data["label"].values)
    return float(counts.max() / counts.sum())


def source(data: xr.Dataset) -> str:
    """Say in a sentence what was tested on, going by attributes and the axis `example`."""
    if "run" in data.attrs:
        return f"Run: {data.attrs['run']} ({data.attrs['dataset']})."
    if "example" not in data.sizes:
        return f"Data: {data.attrs['dataset']}."
    noun = {"images": "pictures", "tokens": "sentences"}.get(data.attrs["kind"], "examples")
    return f"Data: {data.attrs['dataset']}, {data.sizes['example']:,} test {noun}."


def pairs(matrix: np.ndarray) -> np.ndarray:
    """Return the finite values above the diagonal of [M, M], float64."""
    above = matrix[np.triu_indices(len(matrix), k=1)].astype(np.float64)
    return above[np.isfinite(above)]


def name_rows(axes: Axes, places: ArrayLike, names: Sequence[str], size: float = 8.0) -> None:
    """Turn the vertical axis into rows with names, `size` points high."""
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0, labelsize=size)
    axes.spines["left"].set_visible(False)


def handle(label: str, **settings: Any) -> Line2D:
    """Return a line, or where a marker is given a mark alone, for the legend."""
    alone = {"linestyle": "none"} if "marker" in settings else {}
    return Line2D([], [], label=label, **alone | settings)


def hollow(edge: str, size: float = 5.0, marker: str = "o", **settings: Any) -> dict[str, Any]:
    """Return the settings of a white mark of `size` points with a coloured edge, without a line."""
    mark = {"marker": marker, "linestyle": "none", "color": "white", "markersize": size}
    return {**mark, "markeredgecolor": edge, **settings}


def short(name: str, length: int = 12) -> str:
    """Return a class name on one line, cut to so many letters."""
    name = " ".join(name.split())
    return name if len(name) <= length else name[: length - 1] + "…"


def wrap(text: str, width: float, size: float = SIZE) -> list[str]:
    """Break text into lines `width` inches wide, of letters of so many points."""
    letters = max(1, int(width * LETTERS / size))
    return textwrap.wrap(text, letters, break_on_hyphens=False)


def joined(lines: Sequence[str], most: int) -> str:
    """Join `most` lines at most; where there are more, the last ends in …."""
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][:-1] + "…"]
    return "\n".join(lines)


def model_title(model: str, width: float, size: float = 9.5, most: int = 4) -> str:
    """Write the name of a model, and below it its settings, in lines `width` inches wide."""
    name, _, settings = model.partition(":")
    return joined(wrap(name, width, size) + wrap(settings.replace(":", ", "), width, size), most)


def finish(figure: Sheet, title: str, caption: str, data: xr.Dataset, *more: Artist) -> Figure:
    """Add title and legend above the panels, caption and command below, and grow to hold them.

    Args:
      figure: its present size is that of the panels; what is labelled in them makes the legend.
      title: one line.
      caption: what the figure shows, one paragraph.
      data: what is drawn; its attribute `command` is the command line that computed it.
      more: labelled artists of the legend.

    Returns:
      The figure.
    """
    width, height = map(float, figure.get_size_inches())
    inner = width - 2 * MARGIN
    heading, paragraph = wrap(title, inner, 11.5), wrap(caption, inner)
    command = wrap(data.attrs["command"], inner, 8.2)  # of one width, a little wider
    drawn = [artist for axes in figure.axes for artist in axes.get_legend_handles_labels()[0]]
    labels = list(dict.fromkeys(str(artist.get_label()) for artist in (*drawn, *more)))
    handles = {str(artist.get_label()): artist for artist in reversed((*drawn, *more))}
    rooms = [len(label) * SIZE / LETTERS + 0.45 for label in labels]
    columns = len(rooms) if sum(rooms) <= inner else max(1, int(inner / max(rooms)))
    top = MARGIN + 0.225 * len(heading)  # where the legend begins
    above = top + 0.2 * -(-len(rooms) // max(1, columns)) + 0.04
    below = 0.1 + 0.175 * len(paragraph) + 0.155 * len(command) + MARGIN
    total = above + height + below
    figure.set_size_inches(width, total)
    left = MARGIN / width
    grey: Any = {"size": 7.5, "family": "DejaVu Sans Mono", "color": GREY, "va": "bottom"}
    for lines, y, settings in (
        (heading, total - MARGIN, {"size": 11.5, "weight": "bold", "va": "top"}),
        (paragraph, below - 0.1, {"va": "top", "linespacing": 1.25}),
        (command, MARGIN, grey | {"linespacing": 1.25}),
    ):
        figure.text(left, y / total, "\n".join(lines), **settings).set_in_layout(False)
    if labels:
        place: Any = {"loc": "upper left", "bbox_to_anchor": (left, 1 - top / total)}
        place |= {"borderaxespad": 0.0, "borderpad": 0.2, "columnspacing": 1.4}
        key: Any = figure.legend([handles[x] for x in labels], labels, ncols=columns, **place)
        key.set_in_layout(False)
        for artist in key.legend_handles:  # some lie thin in the panels, for there are many
            artist.set_alpha(artist.get_alpha() and max(artist.get_alpha(), 0.45))
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(left, below / total, 1.0 - 2 * left, height / total))
    return figure
