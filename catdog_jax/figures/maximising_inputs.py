"""The inputs that members find most typical of each class."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from catdog_jax.figures import style
from catdog_jax.figures.attribution import GAP, _frame, _short, _tile

TILE = 0.85  # inches


@style.look()
def maximising_inputs(
    images: Mapping[str, Float[np.ndarray, "M K H W 3"]],
    scores: Mapping[str, Float[np.ndarray, "M K"]],
    class_names: Sequence[str],
    *,
    members: Sequence[int],
    command: str = "",
    note: str = "",
    max_members: int = 5,
    max_classes: int = 4,
) -> Figure:
    """Draw, for every model, the input of the largest score of each class and member.

    Args:
      images: entry of `--models` -> [M, K, H, W, 3] in 0..1.
      scores: likewise -> [M, K], logit of the class against the others.
      class_names: K names.
      members: M numbers of the members.
      command: the command that computed the numbers.
      note: one more sentence for the caption.
      max_members, max_classes: drawn at most, the first ones.

    Returns:
      Figure: a panel per model, a row per class, a column per member.
    """
    names = [str(m) for m in members[:max_members]]
    classes = [_short(name) for name in class_names[:max_classes]]
    width, height = len(names) * (1 + GAP) - GAP, len(classes) * (1.28 + GAP) - GAP
    across = min(2, len(images))
    down = -(-len(images) // across)
    figure = Figure(
        figsize=(max(6.0, across * (width + 0.9) * TILE), down * (height + 1.1) * TILE),
        layout="constrained",
    )
    panels = figure.subplots(down, across, squeeze=False).flat
    for empty in panels[len(images) :]:
        empty.remove()
    for axes, entry in zip(panels, images, strict=False):
        for k in range(len(classes)):
            for m in range(len(names)):
                left, top = m * (1 + GAP), k * (1.28 + GAP)
                _tile(axes, left, top, np.clip(images[entry][m, k], 0, 1))
                axes.text(
                    left + 0.5, top + 1.03, f"{scores[entry][m, k]:+.1f}", ha="center", va="top",
                    size=7.5, color=style.GREY,
                )  # fmt: skip
        _frame(axes, width, height)
        axes.set_xticks([m * (1 + GAP) + 0.5 for m in range(len(names))], names)
        axes.set_yticks([k * (1.28 + GAP) + 0.5 for k in range(len(classes))], classes)
        axes.tick_params(length=0)
        axes.set_xlabel("member")
        axes.set_title(style.entry_title(entry, width * TILE), loc="left")
    caption = (
        f"The input of the largest score for {', '.join(classes)}, found by gradient ascent on "
        "the pixels from faint noise, another for each member. The total variation is held down "
        "and the contrast held at that of the pictures. Below each input its score, the logit of "
        "its class against the others. "
    )
    return style.finish(figure, "What each member would most like to see", caption + note, command)
