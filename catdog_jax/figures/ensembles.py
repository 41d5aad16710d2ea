"""What an ensemble gains with its size, how far it can be believed, and what else its cost buys."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import style

STARTS = "starts"
PANELS = {"accuracy": "accuracy (fraction right)", "nll": "NLL (nats)", "ece": "ECE"}
STATES = {"": "as they are", "_calibrated": "after temperature"}
AVERAGES = {"probabilities": ("-", "o"), "logits": ("--", "s")}


def _starts(data: xr.Dataset) -> list[int]:
    """Return the places of the populations whose ensembles are drawn."""
    return np.flatnonzero(data["kind"].values == STARTS).tolist()


@style.look()
def size(data: xr.Dataset) -> Figure:
    """Draw accuracy, NLL and calibration error against the size of the ensemble.

    Args:
      data: `kind` (model); `accuracy`, `nll`, `ece`, `nll_calibrated`, `ece_calibrated`, each with
        `_low` and `_high` (model, average, size).

    Returns:
      A row of panels for each population of starts.
    """
    models = _starts(data)
    figure, grid = style.sheet(9.6, 2.5 * len(models), len(models), len(PANELS))
    for row, m in zip(grid, models, strict=True):
        one = data.isel(model=m)
        for axes, (score, ylabel) in zip(row, PANELS.items(), strict=True):
            for a, (average, (line, mark)) in enumerate(AVERAGES.items()):
                for s, (state, said) in enumerate(STATES.items()):
                    if s and score == "accuracy":  # a temperature changes no answer
                        continue
                    at, name = one.sel(average=average), f"{score}{state}"
                    y, low, high = (at[f"{name}{end}"].values for end in ("", "_low", "_high"))
                    x = at["size"].values * 1.03 ** (2 * s + a - 1.5)
                    around = np.clip([y - low, high - y], 0, None)
                    look: Any = {"color": style.colour(s), "ls": line, "marker": mark, "ms": 4}
                    look |= {"lw": 1.2, "elinewidth": 0.8, "capsize": 2}
                    axes.errorbar(x, y, around, label=f"{average}, {said}", **look)
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.set(xlabel="networks asked together", ylabel=ylabel)
        row[0].set_title(style.model_title(str(one["model"].item()), 2.6))
    caption = (
        "Means over the ensembles of a size, whose probabilities or logits are averaged, as they "
        "are and after a temperature that is fitted on the validation examples (it changes no "
        "answer). Bars: 95 % intervals over members, by the jackknife, on these test examples. "
        "NLL: mean of -log p of the right class; ECE: expected calibration error, 15 equal bins."
    )
    return style.finish(figure, "What more members are worth", caption, data)


@style.look()
def sureness(data: xr.Dataset) -> Figure:
    """Draw how often answers are right: against how sure they are, and of the surest ones alone.

    Args:
      data: `kind`, `equal_size` (model); `bin_confidence`, `bin_accuracy` (model, case, bin);
        `coverage_accuracy` (model, score, coverage), `coverage_accuracy_single` (model, coverage).

    Returns:
      A row of two panels for each population of starts.
    """
    models = _starts(data)
    counts = " or ".join(map(str, np.unique(data["equal_size"].values[models])))
    figure, grid = style.sheet(8.4, 3.0 * len(models), len(models), 2)
    for (left, right), m in zip(grid, models, strict=True):
        one = data.isel(model=m)
        left.plot([0.5, 1], [0.5, 1], **style.DOTTED, label="calibrated")
        for i, case in enumerate(one["case"].values):
            x, y = one["bin_confidence"].values[i], one["bin_accuracy"].values[i]
            look: Any = {"color": style.colour(i % 2), "marker": "os"[i // 2], "ms": 4}
            left.plot(x, y, ("-", "--")[i // 2], label=str(case), **look)
        x, single = one["coverage"].values, one["coverage_accuracy_single"].values
        right.plot(x, single, "-", color=style.GREY, label="one member, by its confidence")
        for i, score in enumerate(one["score"].values):
            look = {"color": style.colour(2 + i), "marker": "^v"[i], "ms": 4}
            right.plot(x, one["coverage_accuracy"].values[i], label=f"together, by {score}", **look)
        left.set(xlabel="confidence", ylabel=PANELS["accuracy"])
        right.set(xlabel="examples answered (fraction)", ylabel="accuracy on these")
        left.set_title(style.model_title(str(one["model"].item()), 3.6))
    caption = (
        "Left: test examples by the probability of their answer, in 15 bins of equal width, and "
        f"how often it is right, of one member and of {counts} together; dashed: after a "
        "temperature that is fitted on the validation examples. Above the dotted line answers are "
        "right more often than they say. Right: accuracy on the surest examples alone: those of "
        "the highest confidence, or on which members disagree least (mutual information)."
    )
    return style.finish(figure, "Can it be believed, and does it know when?", caption, data)


@style.look()
def alternatives(data: xr.Dataset) -> Figure | None:
    """Draw what each alternative reaches at the cost of the ensemble.

    Args:
      data: `kind`, `equal`, `equal_size`, `trainings` (model); `accuracy`, `nll`, `nll_calibrated`,
        each with `_low` and `_high` (model, average, size).

    Returns:
      Figure; None where there is no alternative.
    """
    count = data.sizes["model"]
    if count == len(_starts(data)):
        return None
    figure, ((left, right),) = style.sheet(9.0, 0.7 + 0.4 * count, 1, 2, sharey=True)
    said = {"accuracy": (left, 0), "nll": (right, 0), "nll_calibrated": (right, 1)}
    found, names = data.sel(average="probabilities").sel(size=data["equal_size"]), []
    for m in range(count):
        one = found.isel(model=m)
        size, cost, kind = (one[x].item() for x in ("equal_size", "trainings", "kind"))
        name = style.short(one["model"].item() if kind == STARTS else kind, 34)
        networks = f"{size} network{'s' * (size > 1)}, {cost} trainings"
        names.append(f"{name}\n{networks}, equal {one['equal'].item()}")
    for name, (axes, state) in said.items():
        value, low, high = (found[f"{name}{end}"].values for end in ("", "_low", "_high"))
        bars: Any = {"color": style.colour(state), "fmt": "os"[state], "elinewidth": 1.0, "ms": 5}
        bars |= {"xerr": np.clip([value - low, high - value], 0, None), "capsize": 2.5}
        bars["label"] = [*STATES.values()][state]
        axes.errorbar(value, np.arange(count) + 0.2 * state, **bars)
        axes.axvline(value[0], **style.DOTTED)
    style.name_rows(left, np.arange(count), names)
    left.set(xlabel=PANELS["accuracy"], ylim=(count - 0.5, -0.5))
    right.set(xlabel=PANELS["nll"])
    caption = (
        "Test accuracy and mean of -log p of the right class, of what can be had for the cost of "
        "the ensemble in the first row (dotted), equal in what is named: training, parameters, or "
        "the network that answers. Bars: 95 % intervals over members, by the jackknife, or over "
        "runs, which are few."
    )
    return style.finish(figure, "What else the cost of an ensemble buys", caption, data)
