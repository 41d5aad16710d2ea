"""One look for all figures: colours, panels, wrapped text, and the caption at the bottom."""

import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Any

import matplotlib.style
import numpy as np
import xarray as xr
from matplotlib import font_manager, rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

# Okabe and Ito 2008, dark colours first: they differ for the colour-blind, and mostly in grey.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#B8860B", "#3A8FBF")
# The same, for text on white: dark enough to be read (a contrast of 4.5, WCAG 2.2).
INKS = dict(
    zip(PALETTE, ("#0072B2", "#C05500", "#008561", "#AA4499", "#966D09", "#327BA5"), strict=True)
)
INK, GREY, PALE = "#222222", "#737373", "#DDDDDD"
MARGIN = 0.12  # inches around the text
SIZE, SMALL = 8.5, 8.0  # points, of running text and of the smallest
WIDEST = 10.2  # inches, of a figure: the smallest text is 9 pixels high on a page of 830
LETTERS = 120  # of one point in an inch, of the wider lines of DejaVu Sans
DOTTED: Any = {"color": INK, "linewidth": 0.8, "linestyle": ":", "zorder": 1}
CENTRED: Any = {"ha": "center", "va": "center"}
GUESSING: Any = {**DOTTED, "label": "guessing"}
TICKS = {"color": GREY, "labelcolor": INK, "labelsize": SMALL, "major.width": 0.7, "major.size": 3}
SETTINGS: dict[str, dict[str, Any]] = {
    "axes": {"edgecolor": GREY, "labelcolor": INK, "labelsize": SIZE, "linewidth": 0.7},
    "axes.spines": {"right": False, "top": False},
    "font": {"size": SIZE},
    "legend": {"fontsize": SIZE, "frameon": False, "handlelength": 1.6},
    "text": {"color": INK, "parse_math": False},  # a $ in a command or in a name is a $
    "xtick": TICKS,
    "ytick": TICKS,
}
LOOK: Any = {f"{of}.{name}": value for of, own in SETTINGS.items() for name, value in own.items()}
LOOK |= {"axes.titlesize": 9.5, "axes.titlelocation": "left"}
# Draws in the look of this project, and leaves the caller's settings as they were.
look = partial(matplotlib.style.context, LOOK, after_reset=True)


class Sheet(Figure):
    """A figure that has the look of this project whenever it is drawn."""

    def savefig(self, *args: Any, **settings: Any) -> None:
        """Write it, whatever a person has set."""
        with look():
            super().savefig(*args, **settings)

    def get_tightbbox(self, *args: Any, **settings: Any) -> Bbox:
        """Say what a notebook may crop it to: nothing of title, legend, caption and command."""
        return self.bbox_inches.padded(-rcParams["savefig.pad_inches"])  # it is added again

    def draw(self, renderer: RendererBase) -> None:
        """Draw with settings of its own: ticks are made late, and read them."""
        with look():
            super().draw(renderer)


def drawable(data: xr.Dataset) -> tuple[xr.Dataset, str]:
    """Write letters that the fonts lack as code points, in all texts of what is to be drawn.

    Args:
      data: names along its axes, and attributes.

    Returns:
      The same with such texts, and the letters.
    """
    fonts = (font_manager.findfont(f"DejaVu {kind}") for kind in ("Sans", "Sans Mono"))
    known = set.intersection(*(set(FT2Font(font).get_charmap()) for font in fonts)) | {ord("\n")}
    lacking: dict[str, str] = {}

    def written(text: Any) -> Any:
        if not isinstance(text, str):
            return text
        lacking.update({x: ascii(x)[1:-1] for x in text if ord(x) not in known})
        return "".join(lacking.get(x, x) for x in text)

    names = {
        name: (values.dims, np.array([*map(written, values.values.flat)], object), values.attrs)
        for name, values in data.coords.items()
        if values.dtype.kind in "OU" and values.ndim == 1
    }
    attributes = {name: written(value) for name, value in data.attrs.items()}
    return data.assign_coords(names).assign_attrs(attributes), "".join(lacking)


def sheet(
    width: float, height: float, rows: int = 1, columns: int = 1, **settings: Any
) -> tuple[Sheet, Any]:
    """Return a figure whose panels together have a width and a height, in inches.

    Args:
      width, height: of the panels.
      rows, columns: of panels; 0 rows: none yet.
      settings: of `Figure.subplots`.

    Returns:
      The figure and its panels [rows, columns].
    """
    figure = Sheet(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **settings) if rows else None


def panels(
    names: Sequence[str],
    widths: float | Sequence[float],
    height: float,
    columns: int = 0,
    **more: Any,
) -> tuple[Sheet, list[Any]]:
    """Lay out panels with titles, line by line.

    Args:
      names: titles, as `model_title` takes them.
      widths, height: of one panel, or of each, inches; panels in several lines are all as wide as
        the widest, and all are narrower where they would not fit a page.
      columns: panels side by side; 0: up to four, more in lines of nearly equal length.
      more: `xlabel` of every panel, `ylabel` of the first of each line, and those of
        `Figure.subplots`.

    Returns:
      The figure and its panels.
    """
    count = len(names)
    columns = min(columns or num_columns(count), count)
    wide, rows = np.broadcast_to(widths, count), -(-count // columns)
    if rows > 1:
        wide = np.full(columns, wide.max())
    xlabel, ylabel = (more.pop(name, "") for name in ("xlabel", "ylabel"))
    wide = wide * min(1.0, WIDEST / wide.sum())
    whole = max(6.0, wide.sum()), rows * height
    figure, grid = sheet(*whole, rows, columns, width_ratios=wide, **more)
    for axes in grid.flat[count:]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel(ylabel)
    found = list(grid.flat)[:count]
    for axes, name, inches in zip(found, names, np.resize(wide, count), strict=True):
        axes.set_xlabel(xlabel)
        axes.set_title(model_title(name, inches - 0.4))
    return figure, found


def num_columns(count: int) -> int:
    """Return how many of `count` panels stand side by side, at most four."""
    return -(-count // -(-count // 4))


def colour(index: int) -> str:
    """Return the colour of the model at this place."""
    return PALETTE[index % len(PALETTE)]


def ink(hue: str) -> str:
    """Return the colour of text on white that goes with a colour of marks."""
    return INKS.get(hue, hue)


def ink_on(ground: Any) -> str:
    """Return black or white, whichever is read better on a ground (a contrast of 4.5 and more).

    Source:
      W3C 2023, "Web Content Accessibility Guidelines 2.2", relative luminance.
    """
    rgb = np.array(to_rgb(ground))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "white"


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


def pairs(matrix: np.ndarray) -> np.ndarray:
    """Return the finite values above the diagonal of [M, M], float64."""
    above = matrix[np.triu_indices(len(matrix), k=1)].astype(np.float64)
    return above[np.isfinite(above)]


def name_rows(axes: Axes, places: ArrayLike, names: Sequence[str], size: float = SMALL) -> None:
    """Turn the vertical axis into rows with names, `size` points high."""
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0, labelsize=size)
    axes.spines["left"].set_visible(False)


def hollow(edge: str, size: float = 5.0, marker: str = "o", **settings: Any) -> dict[str, Any]:
    """Return the settings of a white mark of `size` points with a coloured edge, without a line."""
    mark = {"marker": marker, "linestyle": "none", "color": "white", "markersize": size}
    return {**mark, "markeredgecolor": edge, **settings}


def short(name: str, length: int = 12) -> str:
    """Return a class name on one line, cut to so many letters."""
    name = " ".join(name.split())
    return name if len(name) <= length else name[: length - 1] + "…"


def wrap(text: str, width: float, size: float = SIZE, most: int | None = None) -> list[str]:
    """Break text into lines `width` inches wide, of letters of so many points; `most` end in …."""
    settings: Any = {"break_on_hyphens": False, "max_lines": most, "placeholder": "…"}
    return textwrap.wrap(text, max(1, int(width * LETTERS / size)), **settings)


def model_title(model: str, width: float, size: float = 9.5, most: int = 3) -> str:
    """Write the name of a model, and below it its settings, in lines `width` inches wide."""
    name, _, settings = model.partition(":")
    return "\n".join(
        [*wrap(name, width, size), *wrap(settings.replace(":", ", "), width, size, most)]
    )


def finish(figure: Sheet, title: str, caption: str, data: xr.Dataset, *more: Artist) -> Figure:
    """Add title and legend above the panels, caption and command below, and grow to hold them.

    Args:
      figure: its present size is that of the panels; what is labelled in them makes the legend.
      title: one line.
      caption: what the figure shows, one paragraph; what was tested on is added.
      data: what is drawn; its attribute `command` is the command line that computed it.
      more: labelled artists of the legend.

    Returns:
      The figure.
    """
    width, height = map(float, figure.get_size_inches())
    inner, left = width - 2 * MARGIN, MARGIN / width
    heading, paragraph = wrap(title, inner, 11.5), wrap(f"{caption.strip()} {_source(data)}", inner)
    command = wrap(data.attrs["command"], inner, 8.2)  # of one width, a little wider
    drawn = [artist for axes in figure.axes for artist in axes.get_legend_handles_labels()[0]]
    handles: dict[str, Any] = {}
    for artist in (*drawn, *more):
        handles.setdefault(str(artist.get_label()), artist)
    rooms = [len(label) * SIZE / LETTERS + 0.45 for label in handles]
    columns = len(rooms) if sum(rooms) <= inner else max(1, int(inner / max(rooms)))
    top = MARGIN + 0.225 * len(heading)  # where the legend begins
    above = top + 0.2 * -(-len(rooms) // max(1, columns)) + 0.04
    below = 0.1 + 0.175 * len(paragraph) + 0.165 * len(command) + MARGIN
    total = above + height + below
    figure.set_size_inches(width, total)
    grey: Any = {"size": SMALL, "family": "DejaVu Sans Mono", "color": GREY, "va": "bottom"}
    for lines, y, settings in (
        (heading, total - MARGIN, {"size": 11.5, "weight": "bold", "va": "top"}),
        (paragraph, below - 0.1, {"va": "top", "linespacing": 1.25}),
        (command, MARGIN, grey | {"linespacing": 1.25}),
    ):
        figure.text(left, y / total, "\n".join(lines), in_layout=False, **settings)
    if handles:
        place: Any = {"loc": "upper left", "bbox_to_anchor": (left, 1 - top / total)}
        place |= {"borderaxespad": 0.0, "borderpad": 0.2, "columnspacing": 1.4}
        key: Any = figure.legend(handles.values(), list(handles), ncols=columns, **place)
        key.set_in_layout(False)
        for artist in key.legend_handles:  # some lie thin in the panels, for there are many
            artist.set_alpha(artist.get_alpha() and max(artist.get_alpha(), 0.45))
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(left, below / total, 1.0 - 2 * left, height / total))
    return figure


def _source(data):
    """Say in a sentence what was tested on, going by attributes and the axis `example`."""
    if "run" in data.attrs:
        return f"Run: {data.attrs['run']} ({data.attrs['dataset']})."
    if "dataset" not in data.attrs:
        return ""
    noun = {"images": "pictures", "tokens": "sentences"}.get(data.attrs["kind"], "examples")
    tested = f", {data.sizes['example']:,} test {noun}" if "example" in data.sizes else ""
    return f"Data: {data.attrs['dataset']}{tested}."
