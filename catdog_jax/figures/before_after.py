"""First-layer weights of several members before and after training."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from catdog_jax.figures import style, tiles

TILE = 0.5  # inches
MAX_MEMBERS, MAX_UNITS = 4, 6  # drawn at most, the first ones
BETWEEN = 0.45  # between before and after, in sides


@style.look()
def before_after(
    before: Mapping[str, Float[np.ndarray, "M U _ _ 3"]],
    after: Mapping[str, Float[np.ndarray, "M U _ _ 3"]],
    *,
    members: Sequence[int],
    command: str,
    note: str = "",
) -> Figure:
    """Draw the first-layer weights that members began with, beside those they ended with.

    Args:
      before: entry of `--models` -> [M, U, h, w, 3] starting weights of the first layer.
      after: the same entries -> the same members' and units' final weights.
      members: M numbers of the members.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure: a panel per model, a row per member; on the left before, on the right after.
    """
    names = [str(m) for m in members[:MAX_MEMBERS]]
    units = [tiles.centres(min(MAX_UNITS, array.shape[1])) for array in before.values()]
    halves = [max(tiles.span(len(columns)), 1.6) for columns in units]
    height = tiles.span(len(names))
    across = max(6.5, (2 * max(halves) + BETWEEN) * TILE + 0.6)
    figure = style.sheet(across, len(before) * (height * TILE + 0.75))
    panels = style.subplots(figure, len(before), 1)
    for axes, model, columns, half in zip(panels, before, units, halves, strict=True):
        second = half + BETWEEN
        for left, word, arrays in ((0.0, "before", before), (second, "after", after)):
            axes.text(left, -0.12, word, va="bottom", size=8, color=style.GREY)
            for m, middle in enumerate(tiles.centres(len(names))):
                for u, centre in enumerate(columns):
                    picture = tiles.normalised(arrays[model][m, u])
                    tiles.tile(axes, left + centre - 0.5, middle - 0.5, picture)
        tiles.frame(axes, second + half, height)
        axes.set_xticks([])
        axes.set_yticks(tiles.centres(len(names)), names)
        axes.set_ylabel("member")
        axes.set_title(style.entry_title(model, across - 0.7), loc="left", pad=16)
    caption = (
        "First-layer weights of the same members and units before (left) and after training "
        "(right), as pictures in the colours of the inputs: mid-grey is a weight of zero, a "
        "brighter red, green or blue asks for more of that colour there. Each picture is scaled to "
        "its own largest absolute weight. A model with a single unit shows the difference of its "
        "two classes. "
    )
    return style.finish(
        figure, "The first layer before and after training", caption + note, command
    )
