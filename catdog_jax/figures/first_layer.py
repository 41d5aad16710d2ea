"""First-layer weights of several members as pictures."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from catdog_jax.figures import style

TILE = 0.55  # inches, side of one picture
LINE = 20  # pictures and gaps side by side before a new line of panels begins
GAP = 0.1  # between pictures, in sides


@style.look()
def first_layer(
    pictures: Mapping[str, Float[np.ndarray, "_ _ _ _ 3"]],
    *,
    num_members: int,
    command: str,
    note: str = "",
    max_members: int = 5,
    max_units: int = 5,
) -> Figure:
    """Draw what the first layer of several members looks for, models side by side.

    Args:
      pictures: entry of `--models` -> [members, units, h, w, 3] weights of the first layer, in any
        unit; a linear model of two classes has one unit, the difference of its two classes.
      num_members: members in the population.
      command: the command that computed the numbers.
      note: one more sentence for the caption.
      max_members, max_units: how many are drawn at most, the first ones.

    Returns:
      Figure: a row per member and a column per unit; all pictures of one size.
    """
    shown = {name: array[:max_members, :max_units] for name, array in pictures.items()}
    lines = _lines({name: _columns(array) for name, array in shown.items()})
    rows = max(array.shape[0] for array in shown.values())
    widest = max(sum(columns for _, columns in line) + len(line) - 1 for line in lines)
    height = len(lines) * (rows * TILE * (1 + GAP) + 0.75)
    figure = Figure(
        figsize=(max(6.5, widest * TILE * (1 + GAP) + 0.5), height), layout="constrained"
    )
    outer = figure.add_gridspec(len(lines), 1)
    for n, line in enumerate(lines):
        used = [columns for _, columns in line]
        spare = widest - sum(used)
        ratios = [*used, spare] if spare > len(line) - 1 else used
        inner = outer[n].subgridspec(1, len(ratios), width_ratios=ratios)
        for column, (name, columns) in enumerate(line):
            axes = figure.add_subplot(inner[column])
            _panel(axes, shown[name])
            axes.set_title(style.entry_title(name, columns * TILE + 0.3), loc="left")
            if column == 0:
                axes.set_ylabel("member")
    caption = (
        f"First-layer weights of the first {rows} of {style.members(num_members)} "
        if rows < num_members
        else f"First-layer weights of {style.members(num_members)} "
    ) + (
        f"(rows) and of up to {max_units} of their units (columns), as pictures in the colours of "
        "the inputs. Mid-grey is a weight of zero; a brighter red, green or blue asks for more of "
        "that colour there, a darker one for less. Each picture is scaled to its own largest "
        "absolute weight. A model with a single unit shows the difference of its two classes: "
        "bright speaks for the second class. "
    )
    return style.finish(figure, "What the first layer looks for", caption + note, command)


def normalised(weights: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    """Map weights to colours: zero to mid-grey, the largest absolute weight to 0 or 1.

    Args:
      weights: [h, w, 3]; what is not finite counts as zero.

    Returns:
      [h, w, 3] float64 in 0..1.
    """
    finite = np.where(np.isfinite(weights), weights, 0.0).astype(np.float64)
    largest = np.abs(finite).max()
    return 0.5 + 0.5 * finite / (largest if largest > 0 else 1.0)


def _columns(array):
    return max(array.shape[1], 2)  # a title needs the room of two pictures


def _lines(columns):
    """Put panels into lines of at most LINE pictures."""
    lines: list[list[tuple[str, int]]] = []
    line: list[tuple[str, int]] = []
    length = 0
    for name, count in columns.items():
        if line and length + count > LINE:
            lines.append(line)
            line, length = [], 0
        line.append((name, count))
        length += count + 1
    return [*lines, line]


def _panel(axes, array):
    style.tidy(axes)
    for m, units in enumerate(array):
        for u, weights in enumerate(units):
            left, top = u * (1 + GAP), m * (1 + GAP)
            axes.imshow(
                normalised(weights), extent=(left, left + 1, top + 1, top), interpolation="nearest"
            )
    for spine in axes.spines.values():
        spine.set_visible(False)
    rows, columns = array.shape[:2]
    axes.set_xlim(0, _columns(array) * (1 + GAP) - GAP)
    axes.set_ylim(rows * (1 + GAP) - GAP, 0)
    axes.set_aspect("equal", anchor="NW")
    axes.set_yticks([m * (1 + GAP) + 0.5 for m in range(rows)], [str(m) for m in range(rows)])
    names = [str(u) for u in range(columns)] if columns > 1 else ["difference"]
    axes.set_xticks([u * (1 + GAP) + 0.5 for u in range(columns)], names)
    if columns > 1:
        axes.set_xlabel("unit")
    axes.tick_params(length=0)
