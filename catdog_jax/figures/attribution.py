"""What several members see in the same pictures: their maps side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from catdog_jax.figures import style

TILE = 0.7  # inches, side of one map
GAP = 0.08  # between maps, in sides
BLOCK = 0.3  # between blocks of maps, in sides
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
    reach: Mapping[str, float] | None = None,
    command: str = "",
    note: str = "",
    max_members: int = 4,
    max_pictures: int = 6,
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
      max_members: drawn at most, the first ones.
      max_pictures: likewise; evenly spaced.

    Returns:
      Figure: a row per picture, a block of columns per kind of map, a column per member.
    """
    rows = np.unique(np.linspace(0, len(pictures) - 1, min(max_pictures, len(pictures))).round())
    rows = rows.astype(int)
    names = [str(m) for m in members[:max_members]]
    blocks = ["saliency", *signed]
    starts = [1 + BLOCK + i * (len(names) * (1 + GAP) - GAP + BLOCK) for i in range(len(blocks))]
    width = starts[-1] + len(names) * (1 + GAP) - GAP
    height = len(rows) * (1 + GAP) - GAP
    figure = Figure(
        figsize=(max(6.5, (width + 0.75) * TILE), (height + 0.75) * TILE), layout="constrained"
    )
    axes = figure.subplots()
    for line, p in enumerate(rows):
        top = line * (1 + GAP)
        _tile(axes, 0.0, top, pictures[p])
        for block, left in zip(blocks, starts, strict=True):
            for m in range(len(names)):
                corner = left + m * (1 + GAP)
                if block == "saliency":
                    _tile(axes, corner, top, _scaled(saliency[m, p]), cmap="Greys", vmin=0, vmax=1)
                    continue
                share = (reach or {}).get(block, 1.0)
                values = _scaled(signed[block][m, p])
                if share < 1:  # the ground of what no place of the map stands for
                    _tile(axes, corner, top, np.full((1, 1, 3), 0.93))
                _tile(axes, corner, top, values, share, cmap=FOR_AND_AGAINST, vmin=-1, vmax=1)
    for block, left in zip(blocks, starts, strict=True):
        axes.text(left, -0.34, block, weight="bold", va="bottom", size=9.0)
    axes.text(0, -0.34, "picture", weight="bold", va="bottom", size=9.0)
    _frame(axes, width, height)
    places = [left + m * (1 + GAP) + 0.5 for left in starts for m in range(len(names))]
    axes.xaxis.tick_top()
    axes.set_xticks([0.5, *places], ["", *names * len(blocks)])
    axes.set_yticks(
        [line * (1 + GAP) + 0.5 for line in range(len(rows))],
        [_short(class_names[labels[p]]) for p in rows],
    )
    axes.tick_params(length=0)
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


def _scaled(values):
    """Scale a map so that all but its largest places lie in −1..1."""
    finite = np.where(np.isfinite(values), values, 0.0).astype(np.float64)
    most = np.percentile(np.abs(finite), SATURATED) or np.abs(finite).max()
    return np.clip(finite / (most if most > 0 else 1.0), -1, 1)


def _tile(axes: Axes, left, top, values, share=1.0, **colours):
    inset = (1 - share) / 2
    extent = (left + inset, left + 1 - inset, top + 1 - inset, top + inset)
    axes.imshow(values, extent=extent, interpolation="nearest", **colours)


def _frame(axes: Axes, width, height):
    style.tidy(axes)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_aspect("equal", anchor="NW")


def _short(name, length=12):
    """Return a class name on one line, cut to fit."""
    name = " ".join(str(name).split())
    return name if len(name) <= length else name[: length - 1] + "…"
