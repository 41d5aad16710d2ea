"""Test pictures with what the population says of each, and first-layer weights as pictures."""

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from catdog_jax.figures import parts, style

COUNT = 32  # pictures
ACROSS = 7  # of two members that differ
BARS = ("#0072B2", "#F0C75E", "#AA4499", "#009E73", "#56B4E9", "#D55E00")
FIRST = 5  # members, and units of a layer, drawn at most
BETWEEN = 0.45  # before and after, in sides of a tile


@style.look()
def data_sheet(data: xr.Dataset) -> Figure | None:
    """Draw 32 test pictures with their class and the votes of the members of the best model.

    Args:
      data: `picture` (shown, row, column, channel), 0..255; `picture_example` (shown), its index
        along example; `label` (example); `logits` (model, member, example, class), nats;
        `diverged_step` (model, member), -1 for a member that never diverged.

    Returns:
      Figure; None where the data set has no pictures.
    """
    if "picture" not in data:
        return None
    right = data["logits"].values.argmax(-1) == data["label"].values
    best = right.mean(axis=(1, 2)).argmax()
    one = data.isel(model=int(best), example=data["picture_example"].values)
    labels, names = one["label"].values, [style.short(name) for name in data["class"].values]
    logits = one["logits"].values[one["diverged_step"].values < 0]
    # Nobody votes where all members diverged.
    counts = (logits.argmax(-1)[..., None] == np.arange(len(names))).sum(axis=0)
    votes = counts / max(1, len(logits))
    chosen = choose(votes, COUNT)
    figure, panels = style.panels([""] * chosen.size, 1.275, 1.78, 8)
    figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.06)
    for axes, n in zip(panels, chosen, strict=True):
        axes.imshow(one["picture"].values[n], interpolation="nearest")
        _judge(axes, labels[n], counts[n], names)
    model, num_contested = one["model"].values, int((votes[chosen].max(axis=1) < 1).sum())
    caption = (
        f"{chosen.size} of {len(labels):,} test pictures that the run keeps. Above each its true "
        f"class, below it the votes of {style.members(len(logits))} of {model}. A thick frame and "
        "✗: another class has more votes than the true one; a dashed frame and =: a tied vote. "
        f"Chosen by a rule: first the {num_contested} most contested (smallest lead of the winner),"
        " then unanimous ones, evenly spaced through the test set."
    )
    hues = zip(names, BARS, strict=False)
    handles = [Patch(color=hue, label=f"votes for {name}") for name, hue in hues]
    title = f"Test pictures and the votes of the population: {model}"
    return style.finish(figure, title, caption, data, *handles)


@style.look()
def twins(data: xr.Dataset) -> Figure | None:
    """Draw what two members of one accuracy answer differently, a line of pictures per model.

    Args:
      data: as of `data_sheet`, and `disagreement` (model, member, other_member), a fraction.

    Returns:
      Figure; None where the data set has no pictures, or no model has two members.
    """
    if "picture" not in data or data.sizes["member"] < 2:
        return None
    names = [style.short(name) for name in data["class"].values]
    found: dict[str, Any] = {}
    kept = data["picture_example"].values
    for model in data["model"].values.tolist():
        one = data.sel(model=model)
        alive = np.flatnonzero(one["diverged_step"].values < 0)
        if len(alive) > 1:
            answers = one["logits"].values[alive].argmax(-1)
            right = (answers == one["label"].values).sum(-1)
            pair = closest(right, one["disagreement"].values[np.ix_(alive, alive)])
            found[model] = [(alive[m], answers[m], right[m]) for m in pair]
    if not found:
        return None
    heights = [1.62 if (one[1] != two[1]).any() else 1.0 for one, two in found.values()]
    figure, _ = style.sheet(9.0, sum(heights), 0)
    ratios: Any = {"height_ratios": heights, "width_ratios": [2.2] + [1.0] * ACROSS}
    grid = figure.add_gridspec(len(found), 1 + ACROSS, **ratios)
    for p, (model, pair) in enumerate(found.items()):
        apart = pair[0][1] != pair[1][1]
        axes = figure.add_subplot(grid[p, 0])
        axes.set_axis_off()
        ends = [f"member {member}: {right:,} right" for member, _, right in pair]
        said = [style.model_title(model, 2.2), *ends, f"{apart.sum():,} answered differently"]
        axes.text(0, 0.5, "\n".join(said), color=style.ink(style.colour(p)), va="center")
        if not apart.any():
            same = "the same answer to every picture"
            axes.text(1.08, 0.5, same, va="center", in_layout=False)
        shown = np.flatnonzero(apart[kept])
        places = np.unique(np.arange(ACROSS) * len(shown) // ACROSS)[: len(shown)]
        for place, n in enumerate(shown[places]):
            axes = figure.add_subplot(grid[p, 1 + place])
            axes.imshow(data["picture"].values[n], interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.set_title(names[int(data["label"].values[kept[n]])], size=8.5, loc="center", pad=3)
            both = " / ".join(names[answers[kept[n]]] for _, answers, _ in pair)
            axes.set_xlabel("\n".join(style.wrap(both, 0.95)))
    caption = (
        "For each model the two members whose numbers of right answers are closest; where several "
        "pairs are, those that differ most. Beside them test pictures that they answer differently "
        "(evenly spaced among those the run keeps): above each what it is, below it what the one "
        "and the other member say."
    )
    title = "Two members of one accuracy: which pictures do they see differently?"
    return style.finish(figure, title, caption, data)


def closest(right: Int[np.ndarray, " M"], apart: Float[np.ndarray, "M M"]) -> tuple[int, int]:
    """Choose the two members closest in accuracy; of several pairs, the one that differs most."""
    one, two = np.triu_indices(len(right), k=1)
    best = np.lexsort((-apart[one, two], np.abs(right[one] - right[two])))[0]
    return int(one[best]), int(two[best])


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
    order = np.argsort(top[:, -1] - top[:, -2], kind="stable")
    contested, unanimous = order[top[order, -1] < 1], np.flatnonzero(top[:, -1] >= 1)
    num_unanimous = min(unanimous.size, max(count - contested.size, count // 2))
    places = np.arange(num_unanimous) * unanimous.size // max(1, num_unanimous)
    return np.concatenate([contested[: count - num_unanimous], unanimous[places]])


def _judge(axes, label, counts, names):
    """Write the true class above a picture and the votes below, and frame it."""
    others = np.delete(counts, label).max()
    ink, mark, frame = style.INK, "", {"linewidth": 0.5, "color": style.PALE}
    if others > counts[label]:
        ink, mark = style.PALETTE[1], "  ✗"
        frame = {"linewidth": 3.0, "color": ink}
    elif others == counts[label]:
        mark, frame = "  =", {"linewidth": 2.5, "color": ink, "linestyle": "--"}
    axes.set_title(names[label] + mark, size=8.5, pad=3, loc="center", color=style.ink(ink))
    axes.spines[:].set(visible=True, **frame)
    shares = counts / max(counts.sum(), 1)
    below = {"transform": axes.transAxes, "clip_on": False, "linewidth": 0}
    axes.barh(-0.115, shares, 0.07, np.cumsum(shares) - shares, color=BARS, **below)
    # Of two classes in their order, of many the two that lead.
    one, two = (0, 1) if len(counts) == 2 else np.argsort(-counts, kind="stable")[:2]
    axes.set(xticks=[], yticks=[])
    said = f"{names[one]} {counts[one]} : {counts[two]} {names[two]}"
    axes.set_xlabel("\n".join(style.wrap(said, 1.2, style.SMALL)), size=style.SMALL, labelpad=14)


@style.look()
def first_layer(data: xr.Dataset) -> Figure | None:
    """Draw what the first layer of several members looks for, a panel per model.

    Args:
      data: `first_layer_P` (moment, member, unit_P, kernel_row_P, kernel_column_P, channel),
        weights in any unit, of the first few members of the P-th model, trained, or where the axis
        `moment` is there at the start and trained; missing where it reads no pixels.

    Returns:
      Figure: a row per member and a column per unit, of both moments where they are known; None
      where no model has such a layer.
    """
    found = {}
    for p, model in enumerate(data["model"].values.tolist()):
        if f"first_layer_{p}" in data:
            weights = data[f"first_layer_{p}"].values
            layer = weights.reshape(-1, *weights.shape[-5:])[:, :FIRST, :FIRST]
            found[model] = np.concatenate([layer, layer[1:] - layer[:1]][: len(layer)])
    if not found:
        return None
    moments, rows = next(iter(found.values())).shape[:2]
    blocks = [x.shape[2] * (1 + parts.GAP) + BETWEEN for x in found.values()]  # sides wide
    widths = [max(1.5, 0.52 * moments * block + 0.5) for block in blocks]
    when = ", before (left), after training (middle), and the change" * (moments > 1)
    labels: Any = {"xlabel": "unit", "ylabel": "member"}
    size = widths, 0.6 * rows + 0.7, int(moments > 1)
    figure, panels = style.panels(list(found), *size, **labels)
    for axes, layer, block in zip(panels, found.values(), blocks, strict=True):
        starts, units = block * np.arange(moments), range(layer.shape[2])
        for left, pictures in zip(starts, parts.normalised(layer), strict=True):
            parts.draw_tiles(axes, pictures, left)
        axes.set_yticks(parts.centres(rows), range(rows))
        columns = np.add.outer(starts, parts.centres(len(units))).ravel()
        names = units if len(units) > 1 else ["difference"]
        axes.set_xticks(columns, [*names] * moments)
    caption = (
        f"First-layer weights of {rows} of {style.members(data.sizes['member'])} (rows) and of up "
        f"to {FIRST} of their units (columns){when}, as pictures in the colours of the inputs: "
        "mid-grey is a weight of zero, a brighter red, green or blue asks for more of that colour "
        "there. Each is scaled to its own largest weight. A model with a single unit shows the "
        "second class minus the first."
    )
    return style.finish(figure, f"The weights of the first layer{when}", caption, data)
