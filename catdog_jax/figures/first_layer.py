"""First-layer weights of several members as pictures."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from catdog_jax.figures import style, tiles

TILE = 0.55  # inches, side of one picture
LINE = 20  # pictures and gaps side by side before a new line of panels begins
MAX_UNITS = 5
GAP = 0.1  # between pictures, in sides


@style.look()
def first_layer(
    pictures: Mapping[str, Float[np.ndarray, "_ _ _ _ 3"]],
    *,
    num_members: int,
    command: str,
    note: str = "",
    max_members: int = 5,
) -> Figure:
    """Draw what the first layer of several members looks for, models side by side.

    Args:
      pictures: entry of `--models` -> [members, units, h, w, 3] weights of the first layer, in any
        unit; a linear model of two classes has one unit, the difference of its two classes.
      num_members: members in the population.
      command: the command that computed the numbers.
      note: one more sentence for the caption.
      max_members: how many are drawn at most, the first ones; of their units the first five.

    Returns:
      Figure: a row per member and a column per unit; all pictures of one size.
    """
    shown = {model: array[:max_members, :MAX_UNITS] for model, array in pictures.items()}
    # A title needs the room of two pictures.
    columns = {model: max(array.shape[1], 2) for model, array in shown.items()}
    lines = _lines(columns)
    rows = max(array.shape[0] for array in shown.values())
    widest = max(sum(columns[model] for model in line) + len(line) - 1 for line in lines)
    height = len(lines) * (rows * TILE * (1 + GAP) + 0.75)
    figure = style.sheet(max(6.5, widest * TILE * (1 + GAP) + 0.5), height)
    outer = figure.add_gridspec(len(lines), 1)
    for n, line in enumerate(lines):
        ratios = [columns[model] for model in line]
        spare = widest - sum(ratios)
        if spare > len(line) - 1:
            ratios.append(spare)
        inner = outer[n].subgridspec(1, len(ratios), width_ratios=ratios)
        for place, model in enumerate(line):
            axes = figure.add_subplot(inner[place])
            _panel(axes, shown[model], columns[model])
            axes.set_title(style.entry_title(model, columns[model] * TILE + 0.3), loc="left")
            if place == 0:
                axes.set_ylabel("member")
    caption = (
        f"First-layer weights of the first {rows} of {style.members(num_members)} "
        if rows < num_members
        else f"First-layer weights of {style.members(num_members)} "
    ) + (
        f"(rows) and of up to {MAX_UNITS} of their units (columns), as pictures in the colours of "
        "the inputs. Mid-grey is a weight of zero; a brighter red, green or blue asks for more of "
        "that colour there, a darker one for less. Each picture is scaled to its own largest "
        "absolute weight. A model with a single unit shows the difference of its two classes: "
        "bright speaks for the second class. "
    )
    return style.finish(figure, "What the first layer looks for", caption + note, command)


def _lines(columns):
    """Put models into lines of at most LINE pictures."""
    lines: list[list[str]] = []
    length = LINE
    for model, count in columns.items():
        if length + count > LINE:
            lines.append([])
            length = 0
        lines[-1].append(model)
        length += count + 1
    return lines


def _panel(axes, array, columns):
    members, units = (tiles.centres(count, GAP) for count in array.shape[:2])
    for middle, pictures in zip(members, array, strict=True):
        for centre, weights in zip(units, pictures, strict=True):
            tiles.tile(axes, centre - 0.5, middle - 0.5, tiles.normalised(weights))
    tiles.frame(axes, tiles.span(columns, GAP), tiles.span(len(members), GAP))
    axes.set_yticks(members, range(len(members)))
    axes.set_xticks(units, range(len(units)) if len(units) > 1 else ["difference"])
    if len(units) > 1:
        axes.set_xlabel("unit")
