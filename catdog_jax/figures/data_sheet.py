"""A sheet of test pictures with what the population says about each."""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from catdog_jax.figures import style

COUNT = 32  # pictures
BARS = ("#0072B2", "#F0C75E", "#AA4499", "#009E73", "#56B4E9", "#D55E00")


@style.look()
def data_sheet(data: xr.Dataset) -> Figure | None:
    """Draw 32 test pictures with their class and the votes of the members of the last model.

    Args:
      data: `picture` (shown, row, column, channel), 0..255; `picture_example` (shown), its index
        along example; `label` (example); `logits` (model, member, example, class), nats;
        `diverged_step` (model, member), -1 for a member that never diverged.

    Returns:
      Figure; None where the data set has no pictures.
    """
    if "picture" not in data:
        return None
    one = data.isel(model=-1, example=data["picture_example"].values)
    labels, names = one["label"].values, [style.short(name) for name in data["class"].values]
    logits = one["logits"].values[one["diverged_step"].values < 0]
    # Nobody votes where all members diverged.
    counts = (logits.argmax(-1)[..., None] == np.arange(len(names))).sum(axis=0)
    votes = counts / max(1, len(logits))
    chosen = choose(votes, COUNT)
    figure, panels = style.panels(chosen.size, 1.28, 1.78, 8)
    figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.06)
    for axes, n in zip(panels, chosen, strict=True):
        axes.imshow(one["picture"].values[n], interpolation="nearest")
        _judge(axes, labels[n], counts[n], names)
    model, num_contested = one["model"].values, int((votes[chosen].max(axis=1) < 1).sum())
    first = f"first the {num_contested} most contested (smallest lead of the winner), then "
    caption = (
        f"{chosen.size} of {len(labels):,} test pictures that the run keeps. Above each its true "
        f"class, below it the votes of {style.members(len(logits))} of {model}. A thick frame and "
        "✗: another class has more votes than the true one; a dashed frame and =: a tied vote. "
        f"Chosen by a rule: {first * (num_contested > 0)}unanimous ones, evenly spaced through the "
        f"test set. {style.source(data)}"
    )
    handles = [
        Patch(color=colour, lw=0, label=f"votes for {name}")
        for name, colour in zip(names, BARS, strict=False)
    ]
    title = f"Test pictures and the votes of the population: {model}"
    return style.finish(figure, title, caption, data, *handles)


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
    contested = np.flatnonzero(top[:, -1] < 1)
    contested = contested[np.argsort(lead[contested], kind="stable")]
    unanimous = np.flatnonzero(top[:, -1] >= 1)
    num_unanimous = min(unanimous.size, max(count - contested.size, count // 2))
    places = np.arange(num_unanimous) * unanimous.size // max(1, num_unanimous)
    return np.concatenate([contested[: count - num_unanimous], unanimous[places]])


def _judge(axes, label, counts, names):
    """Write the true class above a picture and the votes below, and frame it."""
    others = np.delete(counts, label).max()
    wrong, tied = others > counts[label], others == counts[label]
    mark, width, hue, line = ("", 0.5, style.PALE, "-")
    if wrong:
        mark, width, hue = "  ✗", 3.0, style.PALETTE[1]
    elif tied:
        mark, width, hue, line = "  =", 2.5, style.INK, "--"
    bold = {"weight": "bold", "color": hue} if wrong else {}
    axes.set_title(names[label] + mark, size=8.5, pad=3, **bold)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, linewidth=width, color=hue, linestyle=line)
    shares = counts / max(counts.sum(), 1)
    below = {"transform": axes.transAxes, "clip_on": False, "linewidth": 0}
    for k, (left, share) in enumerate(zip(np.cumsum(shares) - shares, shares, strict=True)):
        bar = Rectangle((left, -0.15), share, 0.07, facecolor=BARS[k % len(BARS)], **below)
        axes.add_patch(bar)
    # Of two classes in their order, of many the two that lead.
    one, two = (0, 1) if len(counts) == 2 else np.argsort(-counts, kind="stable")[:2]
    text = f"{names[one]} {counts[one]} : {counts[two]} {names[two]}"
    axes.set_xlabel(text, size=7.5, labelpad=14)
