"""From a finished ladder to its figures: picks the arrays, `catdog_jax.figures` draws them."""

import math

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
    data = run.data
    names = [str(name) for name in data["rung"].values]
    seconds = run.manifest["rung_seconds"]
    return rungs.ladder(
        names,
        [str(origin) for origin in data["origin"].values],
        data["train_accuracy"].values,
        data["test_accuracy"].values,
        data["test_low"].values,
        data["test_high"].values,
        data["num_parameters"].values,
        np.array([seconds.get(name, math.nan) for name in names]),
        chance=chance(run),
        command=command(run),
        note=" ".join([*(REMARKS[name] for name in names if name in REMARKS), source(run)]),
    )


def average_animals(run: Run) -> Figure:
    """Average cat, average dog, their difference, and the weights of other linear rungs."""
    data = run.data
    found = [str(name) for name in data["linear_rung"].values] if "linear_rung" in data else []
    told = ("constant", "centroid", "diagonal_centroid")  # nothing, or nearly that difference
    names = [name for name in found if name not in told][:SHOWN]
    weights = [data["weights"].sel(linear_rung=name).values for name in names]
    shape = data["class_mean"].shape[1:]
    return animals.average_animals(
        data["class_mean"].values,
        data["projection"].values,
        data["label"].values,
        np.array([w[1] - w[0] for w in weights]).reshape(-1, *shape),
        names,
        [float(data["test_accuracy"].sel(rung=name).mean()) for name in names],
        [str(name) for name in data["class"].values],
        command=command(run),
        note=source(run),
    )
