"""Bias and variance of networks against their width, depth, and number of training examples."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import style

PARTS: dict[str, Any] = {
    "error": {"color": style.INK, "linestyle": "--", "marker": "D"},
    "bias²": {"color": style.PALETTE[0], "linestyle": "-", "marker": "o"},
    "variance from training sets": {"color": style.PALETTE[1], "linestyle": "-", "marker": "s"},
    "variance from starts": {"color": style.PALETTE[2], "linestyle": "-", "marker": "^"},
}
SWEEPS = {
    "width": ("units of each hidden layer", "width {}"),
    "depth": ("hidden layers", "depth {}"),
    "num_examples": ("training examples", "{:,} examples"),
}
ROWS = ("squared error of probabilities", "share of wrong answers", "accuracy of every member")
HUES = {"train": style.GREY, "test": style.colour(3)}


@style.look()
def bias_variance(data: xr.Dataset) -> Figure:
    """Draw error, bias and variances of networks that differ in one thing, and their accuracies.

    Args:
      data: `width`, `depth`, `num_examples` (network); `error_part` (network, loss, shown_part,
        estimate), squared and zero-one loss, in the order of `PARTS`, value and standard error, nan
        where unknown; `train_accuracy`, `test_accuracy` (network, training_set, member), fractions
        right; `diverged_step` likewise, -1 = never; attributes `middle_width`, `middle_depth`,
        `middle_num_examples`, of the network that is in every column, and `disjoint`, whether no
        example is in two training sets.

    Returns:
      Figure: a column for each thing that differs.
    """
    grid = {"sharex": "col", "sharey": "row"}
    figure, panels = style.sheet(3.1 * len(SWEEPS), 6.6, 3, len(SWEEPS), **grid)
    middle = {name: int(data.attrs[f"middle_{name}"]) for name in SWEEPS}
    for column, (name, (label, _)) in zip(panels.T, SWEEPS.items(), strict=True):
        same = [other for other in SWEEPS if other != name]
        chosen = np.all([data[other] == middle[other] for other in same], axis=0)
        one = data.isel(network=chosen).sortby(name)
        x, parts = one[name].values, one["error_part"].values
        for row, axes in enumerate(column[:2]):
            for line, (part, look) in enumerate(PARTS.items()):
                value, error = parts[:, row, line].T
                own = {"elinewidth": 0.8, "linewidth": 1.4, "markersize": 4, "label": part, **look}
                axes.errorbar(x, value, np.nan_to_num(error), **own)
            axes.axhline(0.0, color=style.PALE, linewidth=0.8, zorder=0)
        for kind, hue in HUES.items():
            every = one[f"{kind}_accuracy"].where(one["diverged_step"] < 0).astype(float)
            every = every.stack(each=("training_set", "member"))
            column[2].plot(x, every, "_", color=hue, markersize=6, alpha=0.35, mew=0.8)
            mean = {"color": hue, "markersize": 11, "mew": 2.2, "label": f"{kind} accuracy"}
            column[2].plot(x, every.mean("each"), "_-", **mean)
        column[2].set(xscale="linear" if name == "depth" else "log", xlabel=label)
        column[2].set_xticks(x, x)
        column[2].minorticks_off()
        column[0].set_title(", ".join(SWEEPS[other][1].format(middle[other]) for other in same))
    for axes, text in zip(panels[:, 0], ROWS, strict=True):
        axes.set_ylabel(text)
    apart = ("that overlap, so their variance is too small", "that share no example")
    caption = (
        f"MLPs from {data.sizes['member']} random starts, the same on each of "
        f"{data.sizes['training_set']} training sets {apart[int(data.attrs['disjoint'])]}. Error = "
        "bias² + variance from sets + variance from starts (on a given set), unbiased estimates, "
        "averaged over the test examples; noise in the labels counts as bias. Above, of class "
        "probabilities (Brier score); in the middle, of votes (Kohavi and Wolpert 1996). Bars, "
        "where they are known: one standard error over training sets (jackknife). Below, thick "
        "dashes are means."
    )
    title = "What an error is made of: the formula, the examples, the start"
    return style.finish(figure, title, caption, data)
