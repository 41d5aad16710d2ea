"""The inputs that members find most typical of each class."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from catdog_jax.figures import style, tiles
from catdog_jax.figures.tiles import GAP

TILE = 0.85  # inches
TALL = 1.28  # a tile and its score, in sides
MAX_MEMBERS, MAX_CLASSES = 5, 4  # drawn at most, the first ones


@style.look()
def maximising_inputs(
    images: Mapping[str, Float[np.ndarray, "M K H W 3"]],
    scores: Mapping[str, Float[np.ndarray, "M K"]],
    class_names: Sequence[str],
    *,
    members: Sequence[int],
    command: str,
    note: str = "",
) -> Figure:
    """Draw, for every model, the input of the largest score of each class and member.

    Args:
      images: entry of `--models` -> [M, K, H, W, 3] in 0..1.
      scores: likewise -> [M, K], logit of the class against the others.
      class_names: K names.
      members: M numbers of the members.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure: a panel per model, a row per class, a column per member.
    """
    names = [str(m) for m in members[:MAX_MEMBERS]]
    classes = [style.short(name) for name in class_names[:MAX_CLASSES]]
    tops = [k * (TALL + GAP) for k in range(len(classes))]
    width, height = tiles.span(len(names)), tops[-1] + TALL
    across = min(2, len(images))
    down = -(-len(images) // across)
    figure = style.sheet(max(6.0, across * (width + 0.9) * TILE), down * (height + 1.1) * TILE)
    panels = style.subplots(figure, len(images), across)
    for axes, (model, pictures) in zip(panels, images.items(), strict=True):
        for k, top in enumerate(tops):
            for m, centre in enumerate(tiles.centres(len(names))):
                tiles.tile(axes, centre - 0.5, top, np.clip(pictures[m, k], 0, 1))
                score = f"{scores[model][m, k]:+.1f}"
                axes.text(
                    centre, top + 1.03, score, ha="center", va="top", size=7.5, color=style.GREY
                )
        tiles.frame(axes, width, height)
        axes.set_xticks(tiles.centres(len(names)), names)
        axes.set_yticks([top + 0.5 for top in tops], classes)
        axes.set_xlabel("member")
        axes.set_title(style.entry_title(model, width * TILE), loc="left")
    caption = (
        f"The input of the largest score for {', '.join(classes)}, found by gradient ascent on "
        "the pixels from faint noise, another for each member. The total variation is held down "
        "and the contrast held at that of the pictures. Below each input its score, the logit of "
        "its class against the others. "
    )
    return style.finish(figure, "What each member would most like to see", caption + note, command)
