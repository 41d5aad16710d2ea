"""What several members see in the same pictures: their maps side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from catdog_jax.figures import style, tiles
from catdog_jax.figures.tiles import GAP, tile

TILE = 0.7  # inches, side of one map
BLOCK = 0.3  # between blocks of maps, in sides
MAX_MEMBERS, MAX_PICTURES = 4, 6  # drawn at most
SATURATED = 99.0  # percentile of the sizes that is drawn in full colour
# Dark is against and light is for, so that it is read in grey as well.
FOR_AND_AGAINST = LinearSegmentedColormap.from_list(
    "for_and_against", ["#08306B", "#3A78B5", "#9A9A9A", "#F6B44A", "#FFF3C4"]
)


@style.look()
def maps_side_by_side(
    pictures: UInt8[np.ndarray, "P H W 3"],
    labels: Int[np.ndarray, " P"],
    class_names: Sequence[str],
    saliency: Float[np.ndarray, "M P H W"],
    signed: Mapping[str, Float[np.ndarray, "M P _ _"]],
    *,
    model: str,
    members: Sequence[int],
    reach: Mapping[str, float],
    command: str,
    note: str = "",
) -> Figure:
    """Draw maps of several members of one model on the same pictures.

    Args:
      pictures: [P, H, W, 3], 0..255.
      labels: [P] in 0..K-1.
      class_names: K names.
      saliency: [M, P, H, W] ≥ 0, drawn white (none) to black.
      signed: name -> [M, P, h, w] maps, above zero where a place speaks for the true class.
      model: the entry of `--models`.
      members: M numbers of the members.
      reach: name -> share of the picture's side that the centres of that map's places span, 0..1;
        the whole side where it is not given.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure: a row per picture, at most six, evenly spaced; a block of columns per kind of map, a
      column per member, at most the first four.
    """
    count = min(MAX_PICTURES, len(pictures))
    rows = np.linspace(0, len(pictures) - 1, count).round().astype(int)
    names = [str(m) for m in members[:MAX_MEMBERS]]
    blocks = ["saliency", *signed]
    block_width = tiles.span(len(names))
    starts = [1 + BLOCK + i * (block_width + BLOCK) for i in range(len(blocks))]
    width, height = starts[-1] + block_width, tiles.span(count)
    figure = style.sheet(max(6.5, (width + 0.75) * TILE), (height + 0.75) * TILE)
    axes = figure.subplots()
    for line, p in enumerate(rows):
        top = line * (1 + GAP)
        tile(axes, 0.0, top, pictures[p])
        for m in range(len(names)):
            corners = [left + m * (1 + GAP) for left in starts]
            dark = tiles.scaled(saliency[m, p], SATURATED)
            tile(axes, corners[0], top, dark, cmap="Greys", vmin=0, vmax=1)
            for (block, maps), corner in zip(signed.items(), corners[1:], strict=True):
                share = reach.get(block, 1.0)
                if share < 1:  # the ground of what no place of the map stands for
                    tile(axes, corner, top, np.full((1, 1, 3), 0.93))
                values = tiles.scaled(maps[m, p], SATURATED)
                tile(axes, corner, top, values, share, cmap=FOR_AND_AGAINST, vmin=-1, vmax=1)
    for block, left in zip(["picture", *blocks], [0.0, *starts], strict=True):
        axes.text(left, -0.34, block, weight="bold", va="bottom", size=9.0)
    tiles.frame(axes, width, height)
    places = [left + centre for left in starts for centre in tiles.centres(len(names))]
    axes.xaxis.tick_top()
    axes.set_xticks(places, names * len(blocks))
    axes.set_yticks(tiles.centres(count), [style.short(class_names[labels[p]]) for p in rows])
    caption = (
        f"Members {', '.join(names)} of {model} on the same test pictures; the number above a "
        "column is the member. The score is the logit of the true class against the other "
        "classes. Saliency: how much the score changes with each pixel (its largest absolute "
        "gradient over the colours; dark is much). The others: light (yellow) speaks for the true "
        "class, dark (blue) against it, grey for nothing. Integrated gradients share the score "
        "out among the pixels, on the way from a picture of the mean colour; occlusion is the drop "
        "of the score when a square around the place is covered with that colour. Each map is "
        "scaled by its own 99th percentile. "
    )
    return style.finish(figure, f"What {model} looks at", caption + note, command)
