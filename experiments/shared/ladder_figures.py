"""From a finished ladder to its figures: picks the arrays, `catdog_jax.figures` draws them."""

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from catdog_jax.figures import average_animals as animals
from catdog_jax.figures import ladder as rungs
from catdog_jax.store import Run
from experiments.shared.figures import chance, command, source

SHOWN = 5  # linear rungs beside the average animals
REMARKS = {
    "generating_rule": "generating_rule is the ceiling: it is told how each picture was drawn, and "
    "does not look at pixels.",
    "drawn_rule": "Whoever wrote drawn_rule knew the drawing program.",
}


def ladder(run: Run) -> Figure:
    """Every rung, from the lowest to the highest, by origin."""
    data, seconds = run.data, run.manifest["rung_seconds"]
    names = data["rung"].values.tolist()
    numbers = ("train_accuracy", "test_accuracy", "test_low", "test_high", "num_parameters")
    values: list[Any] = [names, data["origin"].values.tolist()]
    values += [data[name].values for name in numbers]
    values.append(np.array([seconds.get(name, math.nan) for name in names]))
    note = " ".join([*(REMARKS[name] for name in names if name in REMARKS), source(run)])
    return rungs.ladder(*values, chance=chance(run), command=command(run), note=note)


def average_animals(run: Run) -> Figure:
    """Average cat, average dog, their difference, and the weights of other linear rungs."""
    data = run.data
    found = data["linear_rung"].values.tolist() if "linear_rung" in data else []
    told = ("constant", "centroid", "diagonal_centroid")  # nothing, or nearly that difference
    names = [name for name in found if name not in told][:SHOWN]
    weights = [data["weights"].sel(linear_rung=name).values for name in names]
    return animals.average_animals(
        data["class_mean"].values,
        data["projection"].values,
        data["label"].values,
        np.reshape([w[1] - w[0] for w in weights], (-1, *data["class_mean"].shape[1:])),
        names,
        [float(data["test_accuracy"].sel(rung=name).mean()) for name in names],
        data["class"].values.tolist(),
        command=command(run),
        note=source(run),
    )
