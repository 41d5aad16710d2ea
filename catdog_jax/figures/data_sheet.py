"""A sheet of test pictures with what the population says about each."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from catdog_jax.figures import style

COLUMNS = 8
COUNT = 32  # pictures
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
) -> Figure:
    """Draw 32 test pictures with their class and the votes of all members of one model.

    Args:
      images: [N, H, W, 3], 0..255.
      labels: [N] in 0..K-1.
      votes: [N, K], fraction of the members that vote for each class, 0..1.
      class_names: K names.
      model: the entry of `--models`.
      num_members: members that voted.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure.
    """
    chosen = choose(votes, COUNT)
    rows = max(1, -(-chosen.size // COLUMNS))
    figure = style.sheet(1.28 * COLUMNS, 1.78 * rows)
    figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.06)
    grid = figure.subplots(rows, COLUMNS, squeeze=False).flat
    for empty in grid[chosen.size :]:
        empty.set_axis_off()
    counts = np.rint(votes * num_members).astype(int)
    names = [style.short(name) for name in class_names]
    for axes, n in zip(grid, chosen, strict=False):
        _picture(axes, images[n], labels[n], counts[n], names)
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
    handles = [
        Patch(color=colour, lw=0, label=f"votes for {name}")
        for name, colour in zip(names, BARS, strict=False)
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


def _picture(axes, image, label, counts, names):
    axes.imshow(image, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    others = np.delete(counts, label).max()
    wrong, tied = others > counts[label], others == counts[label]
    mark = "  ✗" if wrong else "  =" if tied else ""
    axes.set_title(
        names[label] + mark, size=8.5, pad=3, weight="bold" if wrong else "normal",
        color=style.WRONG if wrong else style.INK,
    )  # fmt: skip
    axes.spines[:].set(
        visible=True, linewidth=3.0 if wrong else 2.5 if tied else 0.5,
        color=style.WRONG if wrong else style.INK if tied else style.PALE,
        linestyle="--" if tied else "-",
    )  # fmt: skip
    shares = counts / max(counts.sum(), 1)  # nobody votes where all members diverged
    for k, (left, share) in enumerate(zip(np.cumsum(shares) - shares, shares, strict=True)):
        axes.add_patch(
            Rectangle(
                (left, -0.15), share, 0.07, transform=axes.transAxes, clip_on=False,
                facecolor=BARS[k % len(BARS)], linewidth=0,
            )
        )  # fmt: skip
    # Of two classes in their order, of many the two that lead.
    one, two = (0, 1) if len(counts) == 2 else np.argsort(-counts, kind="stable")[:2]
    axes.set_xlabel(
        f"{names[one]} {counts[one]} : {counts[two]} {names[two]}", size=7.5, labelpad=14
    )
