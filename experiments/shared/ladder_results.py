"""From the rungs of a ladder to its one labelled data set and its table."""

import functools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from catdog_jax.analysis.intervals import bootstrap_interval, members_interval
from catdog_jax.estimators.centroid import centroid_distances, class_means, linear_from_means
from catdog_jax.models import linear
from catdog_jax.models.build import on_pixels
from catdog_jax.types import Dataset
from experiments.shared.classifiers import LadderClassifier, in_parts, linear_weights, predictions
from experiments.shared.progress import Progress
from experiments.shared.report import aligned
from experiments.shared.results import described, shown_inputs


def assemble_ladder(
    dataset: Dataset, classifiers: Sequence[LadderClassifier], settings: Mapping[str, Any]
) -> xr.Dataset:
    """Ask every classifier about every picture; lay all out along `rung, member, example`.

    Args:
      dataset: what they were made from.
      classifiers: from the lowest to the highest.
      settings: the recipe, kept as the attribute `recipe`.

    Returns:
      The results; one with fewer members than another is filled with -1 or nan.
    """
    most, answers = max(len(one.diverged) for one in classifiers), []
    with Progress("asking every classifier", len(classifiers), "classifiers") as progress:
        for index, one in enumerate(classifiers):
            progress.to(index, one.name)
            answers.append([predictions(one, s, most) for s in (dataset.train, dataset.test)])
        progress.to(len(classifiers))
    train, test = np.stack([a for a, _ in answers]), np.stack([a for _, a in answers])
    labels, train_labels = dataset.test.labels, dataset.train.labels
    alive = np.all(test >= 0, axis=2)
    accuracy = np.where(alive, np.mean(test == labels, axis=2), np.nan)
    intervals = np.full((4, len(classifiers)), np.nan)
    from_optimum = np.full(alive.shape, np.nan)
    for r, one in enumerate(classifiers):
        from_optimum[r, : len(one.diverged)] = one.from_optimum
        if alive[r].any():
            intervals[:2, r] = bootstrap_interval(test[r][alive[r]] == labels)
            intervals[2:, r] = members_interval(accuracy[r][alive[r]])
    ends = ("test_low", "test_high", "members_low", "members_high")
    over = ("rung", "member")
    variables: dict[str, Any] = {
        "origin": ("rung", [one.origin for one in classifiers]),
        "num_parameters": ("rung", [one.num_params for one in classifiers]),
        "num_members": ("rung", np.array([one.num_members for one in classifiers], np.int32)),
        "train_accuracy": (over, np.where(alive, np.mean(train == train_labels, axis=2), np.nan)),
        "test_accuracy": (over, accuracy),
        **{name: ("rung", values) for name, values in zip(ends, intervals, strict=True)},
        "from_optimum": (over, from_optimum),
        "train_prediction": ((*over, "train_example"), train),
        "prediction": ((*over, "example"), test),
        "label": ("example", labels),
        "train_label": ("train_example", train_labels),
        **_averages(dataset),
        **_weights(classifiers, dataset),
        **shown_inputs(dataset),
    }
    coordinates = {
        "rung": np.array([one.name for one in classifiers], dtype=object),
        "class": np.array(dataset.class_names, dtype=object),
    }
    attrs = {"dataset": dataset.name, "recipe": json.dumps(dict(settings), sort_keys=True)}
    return described(xr.Dataset(variables, coordinates, attrs), _DESCRIPTIONS)


def _averages(dataset: Dataset) -> dict[str, Any]:
    """The average picture of each class, and what the nearest of them says of each test picture."""
    num_classes, images = len(dataset.class_names), dataset.test.inputs
    means = class_means(dataset.train.inputs, dataset.train.labels, num_classes)
    difference = linear_from_means(means[:2].reshape(2, -1) / 255.0)
    distances = in_parts(functools.partial(centroid_distances, means), images)
    logits = in_parts(functools.partial(on_pixels(linear.apply), difference), images)
    return {
        "class_mean": (("class", "row", "column", "channel"), (means / 255.0).astype(np.float32)),
        "nearest_mean": ("example", distances.argmin(axis=1).astype(np.int16)),
        "projection": ("example", logits[:, 1] - logits[:, 0]),
    }


def _weights(classifiers: Sequence[LadderClassifier], dataset: Dataset) -> dict[str, Any]:
    """The weights of the linear formulas (of the first living member) and their logits."""
    shape = dataset.train.inputs.shape[1:]
    living = [one for one in classifiers if not one.diverged.all()]
    pairs = [(one, linear_weights(one, shape)) for one in living]
    found = [(one, weights) for one, weights in pairs if weights is not None]
    if not found:
        return {}
    asked = [functools.partial(c.apply, c.member(int(np.argmin(c.diverged)))) for c, _ in found]
    logits = [in_parts(ask, dataset.test.inputs) for ask in asked]
    return {
        "linear_rung": np.array([one.name for one, _ in found], dtype=object),
        "weights": (
            ("linear_rung", "class", "row", "column", "channel"),
            np.stack([weights for _, (weights, _) in found]),
        ),
        "bias": (("linear_rung", "class"), np.stack([bias for _, (_, bias) in found])),
        "linear_logits": (("linear_rung", "example", "class"), np.stack(logits)),
    }


def table(data: xr.Dataset, seconds: Mapping[str, float]) -> str:
    """Write the ladder, the lowest rung first.

    Args:
      data: of `results.nc`.
      seconds: rung -> what it took to get its params, from the manifest.
    """
    head = ["rung", "origin", "parameters", "train", "test", "95 %, pictures", "95 %, members"]
    rows, notes = [[*head, "seconds"]], []
    for name in map(str, data["rung"].values):
        one = data.sel(rung=name)
        spent, apart = seconds.get(name, math.nan), one["from_optimum"]
        rows.append(
            [
                name,
                str(one["origin"].values),
                f"{int(one['num_parameters']):,}",
                *(_number(float(one[f"{k}_accuracy"].mean())) for k in ("train", "test")),
                *(_interval(one[f"{k}_low"], one[f"{k}_high"]) for k in ("test", "members")),
                f"{spent:,.1f}" if spent >= 0.05 else f"{spent:,.3f}",
            ]
        )
        if apart.notnull().any():
            notes.append(
                f"{name}: its starts end {float(apart.min()):.3f} to {float(apart.max()):.3f} from "
                "the one lowest point of its loss, as a share of that point's length"
            )
    if "centroid" in data["rung"].values:
        same = int((data["nearest_mean"] == data["prediction"].sel(rung="centroid")[0]).sum())
        weights = "the weights μ₁ − μ₀" if data.sizes["class"] == 2 else "one linear formula"
        notes.insert(
            0,
            f"nearest average by distances, and by {weights}: the same answer to "
            f"{same:,} of {data.sizes['example']:,} test pictures",
        )
    most = int(data["num_members"].max())
    legend = (
        f"learned by gradient descent: {most} members each, their mean; an interval over pictures "
        "is a bootstrap of the test examples, one over members Student's; seconds are those of "
        "all members"
    )
    return "\n".join([*aligned(rows), legend, *notes])


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _interval(low: xr.DataArray, high: xr.DataArray) -> str:
    """Write an interval of accuracies; Student's may reach beyond what an accuracy can be."""
    return "–" if low.isnull() else f"{max(float(low), 0.0):.3f} to {min(float(high), 1.0):.3f}"


_DESCRIPTIONS = {
    "origin": ("1", "where the params came from: programmed, estimated or learned"),
    "num_parameters": ("1", "numbers that one member holds"),
    "num_members": ("1", "random starts; 0 where nothing is random"),
    "train_accuracy": ("1", "accuracy on all training examples"),
    "test_accuracy": ("1", "accuracy on all test examples"),
    "test_low": ("1", "lower end of the 95 % bootstrap interval over test examples"),
    "test_high": ("1", "upper end of the 95 % bootstrap interval over test examples"),
    "members_low": ("1", "lower end of Student's 95 % interval over members"),
    "members_high": ("1", "upper end of Student's 95 % interval over members"),
    "from_optimum": ("1", "‖w − w*‖ / ‖w*‖, w* the lowest point of a convex loss, by L-BFGS"),
    "prediction": ("1", "class index given to each test example; -1: no such member"),
    "train_prediction": ("1", "class index given to each training example; -1: no such member"),
    "label": ("1", "class index of the test examples"),
    "train_label": ("1", "class index of the training examples"),
    "class_mean": ("1", "average of the training pictures of each class, pixels in 0..1"),
    "nearest_mean": ("1", "class whose average picture is nearest by distance"),
    "projection": ("1", "w·x + b of each test picture, w the second average less the first"),
    "weights": (
        "1",
        "of linear rungs, on pixels in 0..1; of a population, its first living member",
    ),
    "bias": ("1", "of linear rungs"),
    "linear_logits": ("nats", "of linear rungs on the test examples"),
    "picture": ("grey level", "test pictures kept for a sheet"),
    "picture_example": ("1", "index of each kept picture among the test examples"),
}
