"""From the rungs of a ladder to its one labelled data set, and to the table that ends it."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from catdog_jax.analysis.intervals import bootstrap_interval, members_interval
from catdog_jax.estimators.centroid import centroid_distances, class_means, linear_from_means
from catdog_jax.models import linear
from catdog_jax.types import Dataset
from experiments.shared.progress import Progress
from experiments.shared.report import aligned
from experiments.shared.results import described, shown_inputs
from experiments.shared.rungs import Rung, chunks, pixels, predictions

LEVEL = 0.95  # of every interval


def assemble_ladder(
    dataset: Dataset, rungs: Sequence[Rung], facts: Mapping[str, Any]
) -> xr.Dataset:
    """Ask every rung about every picture, and lay all answers out along `rung, member, example`.

    Args:
      dataset: what the rungs were made from.
      rungs: from the lowest to the highest.
      facts: the recipe, kept as the attribute `recipe`.

    Returns:
      The results; a rung with fewer members than another is filled with -1 or nan.
    """
    most = max(max(rung.num_members, 1) for rung in rungs)
    answers: dict[str, np.ndarray] = {}
    total = 2 * len(rungs)
    with Progress("asking every rung", total, "answers") as progress:
        for s, part in enumerate(("train", "test")):
            split = getattr(dataset, part)
            filled = np.full((len(rungs), most, len(split.labels)), -1, np.int16)
            for r, rung in enumerate(rungs):
                progress.to(s * len(rungs) + r, rung.name)
                given = predictions(rung, split)
                filled[r, : len(given)] = given
            answers[part] = filled
        progress.to(total)
    test = _accuracies(answers["test"], dataset.test.labels)
    train = _accuracies(answers["train"], dataset.train.labels)
    over_examples = [_over_examples(a, dataset.test.labels) for a in answers["test"]]
    over_members = [_over_members(rung, values) for rung, values in zip(rungs, test, strict=True)]
    names = [rung.name for rung in rungs]
    per_member = ("rung", "member")
    variables: dict[str, Any] = {
        "origin": (("rung",), np.array([rung.origin for rung in rungs], dtype=object)),
        "num_parameters": (("rung",), np.array([rung.num_params for rung in rungs], np.int64)),
        "num_members": (("rung",), np.array([rung.num_members for rung in rungs], np.int32)),
        "train_accuracy": (per_member, train),
        "test_accuracy": (per_member, test),
        "test_low": (("rung",), np.array([low for low, _ in over_examples])),
        "test_high": (("rung",), np.array([high for _, high in over_examples])),
        "members_low": (("rung",), np.array([low for low, _ in over_members])),
        "members_high": (("rung",), np.array([high for _, high in over_members])),
        "from_optimum": (per_member, _from_optimum(rungs, most)),
        "train_prediction": (("rung", "member", "train_example"), answers["train"]),
        "prediction": (("rung", "member", "example"), answers["test"]),
        "label": (("example",), dataset.test.labels),
        "train_label": (("train_example",), dataset.train.labels),
        **_averages(dataset),
        **_weights(rungs, dataset),
        **shown_inputs(dataset),
    }
    coordinates = {
        "rung": np.array(names, dtype=object),
        "class": np.array(dataset.class_names, dtype=object),
    }
    data = xr.Dataset(variables, coordinates)
    data.attrs = {"dataset": dataset.name, "recipe": json.dumps(dict(facts), sort_keys=True)}
    return described(data, _DESCRIPTIONS)


def _from_optimum(rungs: Sequence[Rung], most: int) -> np.ndarray:
    distances = np.full((len(rungs), most), np.nan)
    for row, rung in zip(distances, rungs, strict=True):
        if rung.from_optimum is not None:
            row[: rung.num_members] = rung.from_optimum
    return distances


def linear_rungs(rungs: Sequence[Rung]) -> list[Rung]:
    """Pick the rungs that are one set of weights on the pixels, or a population of such."""
    return [rung for rung in rungs if rung.is_linear and not rung.diverged.all()]


def _accuracies(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Accuracy of each member, [R, M]; nan where there is none."""
    missing = (answers < 0).all(axis=2)
    accuracy = (answers == labels[None, None]).mean(axis=2)
    return np.where(missing, np.nan, accuracy)


def _over_examples(answers: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    there = answers[(answers >= 0).all(axis=1)]
    if not len(there):
        return math.nan, math.nan
    return bootstrap_interval(there == labels[None], level=LEVEL)


def _over_members(rung: Rung, accuracies: np.ndarray) -> tuple[float, float]:
    there = accuracies[np.isfinite(accuracies)]
    if rung.num_members < 2 or len(there) < 2:
        return math.nan, math.nan
    return members_interval(there, level=LEVEL)


def _averages(dataset: Dataset) -> dict[str, Any]:
    """The average picture of each class, and what the nearest of them says of each test picture."""
    num_classes = len(dataset.class_names)
    means = class_means(pixels(dataset.train.inputs), dataset.train.labels, num_classes)
    difference = linear_from_means(means[:2].reshape(2, -1))
    nearest = np.zeros(len(dataset.test.labels), np.int16)
    projection = np.zeros(len(dataset.test.labels), np.float32)
    for rows in chunks(len(nearest)):
        images = jnp.asarray(pixels(dataset.test.inputs[rows]))
        nearest[rows] = np.asarray(centroid_distances(means, images)).argmin(axis=1)
        logits = np.asarray(linear.apply(difference, images))
        projection[rows] = logits[:, 1] - logits[:, 0]
    return {
        "class_mean": (("class", "row", "column", "channel"), means.astype(np.float32)),
        "nearest_mean": (("example",), nearest),
        "projection": (("example",), projection),
    }


def _weights(rungs: Sequence[Rung], dataset: Dataset) -> dict[str, Any]:
    """The weights of the linear rungs (of populations, of the first member) and their logits."""
    found = linear_rungs(rungs)
    if not found:
        return {}
    chosen = [rung.member(rung.first_alive) for rung in found]
    shape = dataset.train.inputs.shape[1:]
    logits = [
        np.concatenate(
            [
                np.asarray(linear.apply(p, jnp.asarray(pixels(dataset.test.inputs[rows]))))
                for rows in chunks(len(dataset.test.labels))
            ]
        )
        for p in chosen
    ]
    weights = np.stack([np.asarray(p.weights).T.reshape(-1, *shape) for p in chosen])
    return {
        "linear_rung": (("linear_rung",), np.array([r.name for r in found], dtype=object)),
        "weights": (("linear_rung", "class", "row", "column", "channel"), weights),
        "bias": (("linear_rung", "class"), np.stack([np.asarray(p.bias) for p in chosen])),
        "linear_logits": (("linear_rung", "example", "class"), np.stack(logits)),
    }


def table(data: xr.Dataset, seconds: Mapping[str, float]) -> str:
    """Write the ladder, the lowest rung first.

    Args:
      data: of `results.nc`.
      seconds: rung -> what it took to get its params, from the manifest.
    """
    head = ["rung", "origin", "parameters", "train", "test", "95 %, pictures", "95 %, members"]
    rows = [[*head, "seconds"]]
    for name in data["rung"].values:
        one = data.sel(rung=name)
        spent = seconds.get(str(name), math.nan)
        rows.append(
            [
                str(name),
                str(one["origin"].values),
                f"{int(one['num_parameters']):,}",
                _number(_mean(one["train_accuracy"])),
                _number(_mean(one["test_accuracy"])),
                _interval(one["test_low"], one["test_high"]),
                _interval(one["members_low"], one["members_high"]),
                f"{spent:,.1f}" if spent >= 0.05 else f"{spent:,.3f}",
            ]
        )
    most = int(data["num_members"].max())
    same = int((data["nearest_mean"] == _centroid_answers(data)).sum()) if _has(data) else None
    lines = aligned(rows)
    lines.append(
        f"learned by gradient descent: {most} members each, their mean; an interval over pictures "
        "is a bootstrap of the test examples, one over members Student's; seconds are those of "
        "all members"
    )
    if same is not None:
        count = data.sizes["example"]
        weights = "the weights μ₁ − μ₀" if data.sizes["class"] == 2 else "one linear formula"
        lines.append(
            f"nearest average by distances, and by {weights}: the same answer to "
            f"{same:,} of {count:,} test pictures"
        )
    for name in data["rung"].values:
        apart = data["from_optimum"].sel(rung=name).values
        if np.isfinite(apart).any():
            lines.append(
                f"{name}: its starts end {np.nanmin(apart):.3f} to {np.nanmax(apart):.3f} from the "
                "one lowest point of its loss, as a share of that point's length"
            )
    return "\n".join(lines)


def _has(data: xr.Dataset) -> bool:
    return "centroid" in data["rung"].values


def _centroid_answers(data: xr.Dataset) -> np.ndarray:
    return data["prediction"].sel(rung="centroid").values[0]


def _mean(values: xr.DataArray) -> float:
    there = values.values[np.isfinite(values.values)]
    return float(there.mean()) if there.size else math.nan


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _interval(low: Any, high: Any) -> str:
    """Write an interval of accuracies; Student's may reach beyond what an accuracy can be."""
    if math.isnan(float(low)):
        return "–"
    return f"{max(float(low), 0.0):.3f} to {min(float(high), 1.0):.3f}"


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
