"""What every trained run holds and prints: the labelled results of populations, and a table."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from catdog_jax.analysis import agreement, distance
from catdog_jax.analysis.convergence import Summary, summary
from catdog_jax.analysis.first_layer import first_layer
from catdog_jax.analysis.labelled import described
from catdog_jax.analysis.trajectory import principal_plane
from catdog_jax.run import Population, Run
from catdog_jax.run.summary import aligned
from catdog_jax.types import Dataset

if TYPE_CHECKING:
    import xarray as xr


NUM_PICTURES = 256  # test pictures kept in the results, so that a sheet of them needs no data
PICTURE_BYTES = 4 * 2**20  # and what they may take
FIRST_LAYERS = (5, 8)  # of so many members and units are kept, the first ones


def training_results(populations: Mapping[str, Population]) -> "xr.Dataset":
    """Lay what was trained out along `model, member, eval, example, class`.

    A model with fewer evaluations than another repeats its last one, so that index -1 is the final
    one for all.

    Args:
      populations: label -> members, of one data set and as many for each model.

    Variables:
      train_loss: cross-entropy on a fixed part of the training examples [nats]
      train_accuracy: accuracy on a fixed part of the training examples
      test_loss: cross-entropy on all test examples [nats]
      test_accuracy: accuracy on all test examples
      test_balanced_accuracy: mean recall of the classes, final weights
      logits: of the final weights on the test examples [nats]
      label: class index of the test examples
      ensemble_accuracy: test accuracy of the mean probability over members
      diverged_step: step whose loss or gradient was not finite; -1 = never [step]
      num_parameters: weights of one member
      sketch: count sketch of the weights at each evaluation [weight]
      trajectory: the sketches in the plane in which those of a model vary most [weight]
      trajectory_explained: share of the sketches' variance along each axis of the plane
      disagreement: share of test examples two members classify differently
      weight_distance: Euclidean distance of the final weights of two members [weight]
      relative_weight_distance: weight_distance over the mean norm of the two members
      picture: test pictures kept for a sheet [grey level]
      picture_example: index of each kept picture among the test examples
      tokens: token ids of the test sentences, 0 where one has ended
      step: training steps done at each evaluation; the last is the final one [step]
    """
    trained = list(populations.values())
    dataset = trained[0].data
    num_evals = max(len(t.steps) for t in trained)

    def over_evals(name: str) -> tuple[tuple[str, ...], np.ndarray]:
        padded = [_repeat_last(t.arrays[name], num_evals, axis=1) for t in trained]
        return ("model", "member", "eval"), np.stack(padded)

    logits = np.stack([t.arrays["test_logits"] for t in trained])
    labels = dataset.test.labels
    diverged = np.stack([t.arrays["diverged_step"] for t in trained])
    sketches = [_repeat_last(t.arrays["observed"], num_evals, axis=1) for t in trained]
    planes = [principal_plane(sketch) for sketch in sketches]
    pairs = ("model", "member", "other_member")
    distances, relatives = zip(*(_distances(t.params) for t in trained), strict=True)
    per_member = ("model", "member")
    variables = {
        "train_loss": over_evals("train_loss"),
        "train_accuracy": over_evals("train_accuracy"),
        "test_loss": over_evals("test_loss"),
        "test_accuracy": over_evals("test_accuracy"),
        "test_balanced_accuracy": (
            per_member,
            np.stack(
                [agreement.balanced_accuracy(agreement.predictions(x), labels) for x in logits]
            ),
        ),
        "logits": (("model", "member", "example", "class"), logits),
        "label": (("example",), labels),
        "example_id": (("example",), _text(dataset.test.ids)),
        "ensemble_accuracy": (("model",), _ensembles(logits, labels, diverged)),
        "diverged_step": (per_member, diverged),
        "num_parameters": (("model",), np.array([t.num_params for t in trained])),
        "sketch": (("model", "member", "eval", "bucket"), np.stack(sketches)),
        "trajectory": (
            ("model", "member", "eval", "axis"),
            np.stack([plane.coordinates for plane in planes]).astype(np.float32),
        ),
        "trajectory_explained": (
            ("model", "axis"),
            np.stack([plane.explained for plane in planes]).astype(np.float32),
        ),
        "disagreement": (pairs, np.stack([agreement.pairwise_disagreement(x) for x in logits])),
        "weight_distance": (pairs, np.stack(distances)),
        "relative_weight_distance": (pairs, np.stack(relatives)),
        **shown_inputs(dataset),
        **_first_layers(dataset, trained),
    }
    coordinates = {
        "model": np.array(list(populations), dtype=object),
        "member": np.arange(logits.shape[1]),
        "class": np.array(dataset.class_names, dtype=object),
        "step": (
            ("model", "eval"),
            np.stack([_repeat_last(t.steps, num_evals, 0) for t in trained]),
        ),
    }
    import xarray as xr  # takes most of a second to import

    data = xr.Dataset(variables, coordinates, {"dataset": dataset.name})
    return described(data, training_results)


def shown_inputs(dataset: Dataset) -> dict[str, Any]:
    """Keep test examples to look at: some pictures, or all sentences."""
    inputs = dataset.test.inputs
    if dataset.kind == "tokens":
        return {"tokens": (("example", "position"), inputs)}
    if dataset.kind != "images":
        return {}
    shown = picture_rows(dataset.test.labels, inputs[0].nbytes)
    return {
        "picture": (("shown", "row", "column", "channel"), inputs[shown]),
        "picture_example": (("shown",), shown.astype(np.int32)),
    }


def picture_rows(labels: np.ndarray, picture_bytes: int) -> np.ndarray:
    """Choose the test pictures that the results keep: the first few of each class."""
    classes = np.unique(labels)
    each = min(NUM_PICTURES, PICTURE_BYTES // picture_bytes) // len(classes)
    rows = [np.flatnonzero(labels == c)[: max(each, 1)] for c in classes]
    return np.sort(np.concatenate(rows))


def _first_layers(dataset: Dataset, trained: Sequence[Population]) -> dict[str, Any]:
    """Keep the first layers of the first members of each model that reads pixels in one."""
    found = {}
    members, units = FIRST_LAYERS
    for index, one in enumerate(trained if dataset.kind == "images" else ()):
        shape, num_classes = dataset.train.inputs.shape[1:], len(dataset.class_names)
        with np.errstate(over="ignore", invalid="ignore"):  # weights of members that diverged
            pictures = first_layer(one.params, shape, num_classes)
        if pictures is not None:
            own = (f"{name}_{index}" for name in ("unit", "kernel_row", "kernel_column"))
            axes = ("first_member", *own, "channel")
            text = {"units": "weight", "long_name": "of the first layer, final weights"}
            found[f"first_layer_{index}"] = (axes, pictures[:members, :units], text)
    return found


def _ensembles(logits: np.ndarray, labels: np.ndarray, diverged: np.ndarray) -> np.ndarray:
    """Judge the ensemble of each model's members that did not diverge; nan where all did."""
    alive = [x[step < 0] for x, step in zip(logits, diverged, strict=True)]
    return np.array([agreement.ensemble_accuracy(x, labels) if len(x) else np.nan for x in alive])


def _text(names: Sequence[str]) -> np.ndarray:
    """Make an array of names; a byte in a file name that is no UTF-8 becomes an escape."""
    plain = [name.encode("utf-8", "backslashreplace").decode("utf-8") for name in names]
    return np.array(plain, dtype=object)


def _distances(params: Any) -> tuple[np.ndarray, np.ndarray]:
    weights = distance.flatten_members(params)
    apart = distance.pairwise_weight_distance(weights)
    return apart, distance.relative_weight_distance(apart, distance.weight_norms(weights))


def _repeat_last(values: np.ndarray, length: int, axis: int) -> np.ndarray:
    missing = length - values.shape[axis]
    if missing == 0:
        return values
    last = np.take(values, [-1], axis=axis)
    return np.concatenate([values, np.repeat(last, missing, axis=axis)], axis=axis)


def summaries(data: "xr.Dataset") -> list[Summary]:
    """Make one row per model of a finished run's data set."""
    rows = []
    for entry in data["model"].values:
        one = data.sel(model=entry)
        rows.append(
            summary(
                str(entry),
                int(one["num_parameters"]),
                test_accuracy=one["test_accuracy"].values[:, -1],
                logits=one["logits"].values,
                labels=one["label"].values,
                diverged_step=one["diverged_step"].values,
                disagreement=one["disagreement"].values,
                weight_distance=one["weight_distance"].values,
                relative_weight_distance=one["relative_weight_distance"].values,
            )
        )
    return rows


def table(run: Run) -> str:
    """Write the table that ends a run."""
    data, timings = run.data, run.manifest.get("timings", {})
    rows = summaries(data)
    unbalanced = _unbalanced(data)
    head = ["model", "parameters", "test accuracy", "min", "max"]
    head += ["balanced"] if unbalanced else []
    head += [
        "ensemble",
        "disagreement",
        "weight distance",
        "(relative)",
        "seconds",
        "member-steps/s",
    ]
    body = []
    for row in rows:
        spent = timings.get(row.model, {})
        seconds = spent.get("seconds", math.nan)
        cells = [
            row.model,
            f"{row.num_parameters:,}",
            f"{number(row.mean_accuracy)} ± {number(row.sd_accuracy)}",
            number(row.min_accuracy),
            number(row.max_accuracy),
        ]
        cells += [number(row.balanced_accuracy)] if unbalanced else []
        cells += [
            number(row.ensemble_accuracy),
            number(row.disagreement),
            number(row.weight_distance, 2),
            number(row.relative_weight_distance),
            number(seconds, 1),
            number(spent.get("rate", math.nan), 1),
        ]
        body.append(cells)
    diverged = [
        f"{row.model}: {row.num_diverged} of {row.num_members} members diverged (a loss that was "
        f"not finite) and left out, diverged_step says when"
        for row in rows
        if row.num_diverged
    ]
    members = (
        f"{data.sizes['member']} members each; ± is one standard deviation over members; "
        "seconds count all of a model's work, member-steps/s its training steps alone"
    )
    return "\n".join([*aligned([head, *body]), members, *diverged])


def number(value: float, digits: int = 3) -> str:
    """Write a number for a person; nan is a dash."""
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"


def _unbalanced(data: "xr.Dataset") -> bool:
    counts = [int((data["label"] == k).sum()) for k in range(data.sizes["class"])]
    return max(counts) > 1.05 * max(min(counts), 1)
