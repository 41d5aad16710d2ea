"""A sheet of test pictures with what the population says about each."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from catdog_jax.figures import style

COLUMNS = 8
BARS = ("#0072B2", "#F0C75E", "#AA4499", "#009E73", "#56B4E9", "#D55E00")


@style.look()
def data_sheet(
    images: UInt8[np.ndarray, "N H W 3"],
    labels: Int[np.ndarray, " N"],
    votes: Float[np.ndarray, "N K"],
    class_names: Sequence[str],
    *,
    model: str,
    num_members: int,
    command: str,
    note: str = "",
    count: int = 32,
) -> Figure:
    """Draw test pictures with their class and the votes of all members of one model.

    Args:
      images: [N, H, W, 3], 0..255.
      labels: [N] in 0..K-1.
      votes: [N, K], fraction of the members that vote for each class, 0..1.
      class_names: K names.
      model: the entry of `--models`.
      num_members: members that voted.
      command: the command that computed the numbers.
      note: one more sentence for the caption.
      count: pictures to draw, chosen by `choose`.

    Returns:
      Figure.
    """
    chosen = choose(votes, count)
    rows = max(1, -(-chosen.size // COLUMNS))
    layout = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.06)
    figure = Figure(figsize=(1.28 * COLUMNS, 1.78 * rows), layout=layout)
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for empty in grid.flat[chosen.size :]:
        empty.set_axis_off()
    counts = np.rint(votes * num_members).astype(int)
    for axes, n in zip(grid.flat, chosen, strict=False):
        _picture(axes, images[n], int(labels[n]), counts[n], class_names)
    num_contested = int((votes[chosen].max(axis=1) < 1).sum())
    caption = (
        f"{chosen.size} of {len(labels):,} test pictures. Above each picture its true class, below "
        f"it the votes of {style.members(num_members)} of {model}. A thick frame and ✗: another "
        "class has more votes than the true one; a dashed frame and =: a tied vote. Chosen by a "
        "rule: "
        + f"first the {num_contested} most contested (smallest lead of the winner), then "
        * (num_contested > 0)
        + "unanimous ones, evenly spaced through the test set. "
        + note
    )
    handles: list[Patch | Line2D] = [
        Patch(color=BARS[k % len(BARS)], lw=0, label=f"votes for {_short(name)}")
        for k, name in enumerate(class_names[: len(BARS)])
    ]
    title = f"Test pictures and the votes of the population: {model}"
    return style.finish(figure, title, caption, command, handles)


def choose(votes: Float[np.ndarray, "N K"], count: int) -> Int[np.ndarray, " n"]:
    """Choose pictures to show: half of them contested, half unanimous.

    The contested half is that with the smallest lead of the winning class over the next; the
    unanimous half is evenly spaced through the data. Where one kind is short the other fills up.

    Args:
      votes: [N, K], fraction of the members, 0..1, K ≥ 2.
      count: how many, ≥ 0.

    Returns:
      [n] int64, n = min(count, N): contested ones first, by their lead, then the others in order.
    """
    top = np.sort(votes, axis=1)
    lead = top[:, -1] - top[:, -2]
    contested = np.flatnonzero(votes.max(axis=1) < 1)
    contested = contested[np.argsort(lead[contested], kind="stable")]
    unanimous = np.flatnonzero(votes.max(axis=1) >= 1)
    num_unanimous = min(unanimous.size, max(count - contested.size, count // 2))
    contested = contested[: count - num_unanimous]
    places = np.arange(num_unanimous) * unanimous.size // max(1, num_unanimous)
    return np.concatenate([contested, unanimous[places]])


def _picture(axes, image, label, counts, class_names):
    axes.imshow(image, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    others = np.delete(counts, label).max()
    wrong, tied = others > counts[label], others == counts[label]
    mark = "  ✗" if wrong else "  =" if tied else ""
    axes.set_title(
        _short(class_names[label]) + mark, size=8.5, pad=3, weight="bold" if wrong else "normal",
        color=style.WRONG if wrong else style.INK,
    )  # fmt: skip
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(3.0 if wrong else 2.5 if tied else 0.5)
        spine.set_color(style.WRONG if wrong else style.INK if tied else style.PALE)
        spine.set_linestyle("--" if tied else "-")
    left = 0.0
    for k, votes in enumerate(counts):
        share = votes / max(1, counts.sum())
        axes.add_patch(
            Rectangle(
                (left, -0.15), share, 0.07, transform=axes.transAxes, clip_on=False,
                facecolor=BARS[k % len(BARS)], linewidth=0,
            )
        )  # fmt: skip
        left += share
    axes.set_xlabel(_tally(counts, class_names), size=7.5, labelpad=14)


def _tally(counts, class_names):
    """Write the votes: 'cat 28 : 4 dog', or the two leading classes of many."""
    names = [_short(name) for name in class_names]
    if len(counts) == 2:
        return f"{names[0]} {counts[0]} : {counts[1]} {names[1]}"
    first, second = np.argsort(-counts, kind="stable")[:2]
    return f"{names[first]} {counts[first]} : {counts[second]} {names[second]}"


def _short(name, length=12):
    """Return a class name on one line, cut to fit."""
    name = " ".join(str(name).split())
    return name if len(name) <= length else name[: length - 1] + "…"
