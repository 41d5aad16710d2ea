"""First-layer weights of several members before and after training."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from catdog_jax.figures import style
from catdog_jax.figures.attribution import GAP, _frame, _tile
from catdog_jax.figures.first_layer import normalised

TILE = 0.5  # inches
BETWEEN = 0.45  # between before and after, in sides


@style.look()
def before_after(
    before: Mapping[str, Float[np.ndarray, "M U _ _ 3"]],
    after: Mapping[str, Float[np.ndarray, "M U _ _ 3"]],
    *,
    members: Sequence[int],
    command: str = "",
    note: str = "",
    max_members: int = 4,
    max_units: int = 6,
) -> Figure:
    """Draw the first-layer weights that members began with, beside those they ended with.

    Args:
      before: entry of `--models` -> [M, U, h, w, 3] starting weights of the first layer.
      after: the same entries -> the same members' and units' final weights.
      members: M numbers of the members.
      command: the command that computed the numbers.
      note: one more sentence for the caption.
      max_members, max_units: drawn at most, the first ones.

    Returns:
      Figure: a panel per model, a row per member; on the left before, on the right after.
    """
    names = [str(m) for m in members[:max_members]]
    columns = {entry: min(max_units, array.shape[1]) for entry, array in before.items()}
    widths = {e: 2 * max(n * (1 + GAP) - GAP, 1.6) + BETWEEN for e, n in columns.items()}
    height = len(names) * (1 + GAP) - GAP
    across = max(6.5, max(widths.values()) * TILE + 0.6)
    figure = Figure(figsize=(across, len(before) * (height * TILE + 0.75)), layout="constrained")
    for axes, entry in zip(
        figure.subplots(len(before), 1, squeeze=False).flat, before, strict=True
    ):
        second = widths[entry] / 2 + BETWEEN / 2
        for left, arrays in ((0.0, before), (second, after)):
            for m in range(len(names)):
                for u in range(columns[entry]):
                    picture = normalised(arrays[entry][m, u])
                    _tile(axes, left + u * (1 + GAP), m * (1 + GAP), picture)
        axes.text(0, -0.12, "before", va="bottom", size=8, color=style.GREY)
        axes.text(second, -0.12, "after", va="bottom", size=8, color=style.GREY)
        _frame(axes, widths[entry], height)
        axes.set_xticks([])
        axes.set_yticks([m * (1 + GAP) + 0.5 for m in range(len(names))], names)
        axes.tick_params(length=0)
        axes.set_ylabel("member")
        axes.set_title(style.entry_title(entry, across - 0.7), loc="left", pad=16)
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
