"""What every trained run holds and prints: the labelled results of populations, and a table."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from catdog_jax.analysis import agreement
from catdog_jax.analysis.distance import flatten_members, way_moved, weight_distances
from catdog_jax.analysis.first_layer import first_layer
from catdog_jax.analysis.labelled import described, readable
from catdog_jax.analysis.trajectory import principal_plane
from catdog_jax.run import Population, Run
from catdog_jax.run.summary import aligned, folded
from catdog_jax.types import Dataset

if TYPE_CHECKING:
    import xarray as xr


NUM_PICTURES = 256  # test pictures kept in the results, so that a sheet of them needs no data
PICTURE_BYTES = 4 * 2**20  # and what they may take
FIRST_LAYERS = (5, 8)  # of so many members and units are kept, the first ones
LEGEND = (
    "accuracy: on the test set, mean over members; ± starts: its standard deviation over members; "
    "± test set: how far a test set of this size may mislead, sqrt(a (1 - a) / n), alike for all "
    "members; disagree: share of the test set that two members classify differently; apart: "
    "distance between two members' weights over their mean length (1.41: a right angle), as they "
    "started and as they ended, neurons taken as they are numbered; moved: the way from start to "
    "end over the length of the start; seconds: all of a model's work; steps/s: of its training "
    "alone, all members together."
)


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
      relative_start_distance: the same of their starting weights
      way_moved: distance of a member's final from its starting weights, over the norm of these
      picture: test pictures kept for a sheet [grey level]
      picture_example: index of each kept picture among the test examples
      tokens: token ids of the test sentences, 0 where one has ended
      step: training steps done at each evaluation; the last is the final one [step]
    """
    trained = list(populations.values())
    dataset = trained[0].data
    labels = dataset.test.labels
    num_evals = max(len(t.steps) for t in trained)

    def to_end(values: np.ndarray, axis: int = 1) -> np.ndarray:
        places = np.minimum(np.arange(num_evals), values.shape[axis] - 1)
        return np.take(values, places, axis)

    def over_evals(name: str) -> np.ndarray:
        return np.stack([to_end(t.arrays[name]) for t in trained])

    curves = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
    logits = np.stack([t.arrays["test_logits"] for t in trained])
    balanced = [agreement.balanced_accuracy(agreement.predictions(x), labels) for x in logits]
    alive = [x[t.alive] for x, t in zip(logits, trained, strict=True)]
    sketches = over_evals("observed")
    planes, explained = zip(*map(principal_plane, sketches), strict=True)
    ends = [flatten_members(t.params) for t in trained]
    starts = [_starts(t, x) for t, x in zip(trained, ends, strict=True)]
    apart, relative = zip(*map(weight_distances, ends), strict=True)
    began = [weight_distances(x)[1] for x in starts]
    ways = [way_moved(*both) for both in zip(starts, ends, strict=True)]
    members, pairs = ("model", "member"), ("model", "member", "other_member")
    evals = (*members, "eval")
    variables = {
        **{name: (evals, over_evals(name)) for name in curves},
        "test_balanced_accuracy": (members, np.stack(balanced)),
        "logits": ((*members, "example", "class"), logits),
        "label": ("example", labels),
        "example_id": ("example", readable(dataset.test.ids)),
        "ensemble_accuracy": ("model", [agreement.ensemble_accuracy(x, labels) for x in alive]),
        "diverged_step": (members, np.stack([t.diverged_step for t in trained])),
        "num_parameters": ("model", [t.num_params for t in trained]),
        "sketch": ((*evals, "bucket"), sketches),
        "trajectory": ((*evals, "axis"), np.stack(planes).astype(np.float32)),
        "trajectory_explained": (("model", "axis"), np.stack(explained).astype(np.float32)),
        "disagreement": (pairs, np.stack([agreement.pairwise_disagreement(x) for x in logits])),
        "weight_distance": (pairs, np.stack(apart)),
        "relative_weight_distance": (pairs, np.stack(relative)),
        "relative_start_distance": (pairs, np.stack(began)),
        "way_moved": (members, np.stack(ways)),
        **shown_inputs(dataset),
        **_first_layers(dataset, trained),
    }
    coordinates = {
        "model": np.array(list(populations), dtype=object),
        "member": np.arange(logits.shape[1]),
        "class": np.array(dataset.class_names, dtype=object),
        "step": (("model", "eval"), np.stack([to_end(t.steps, 0) for t in trained])),
    }
    import xarray as xr  # takes most of a second to import

    data = xr.Dataset(variables, coordinates, {"dataset": dataset.name})
    return described(data, training_results)


def _starts(members: Population, ends: np.ndarray) -> np.ndarray:
    """Draw the starting weights again, [M, D]; nan where other versions of JAX draw others."""
    try:
        return flatten_members(members.starts(range(members.num_members)))
    except RuntimeError:
        return np.full_like(ends, np.nan)


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
        pictures = first_layer(one.params, shape, num_classes)
        if pictures is not None:
            own = (f"{name}_{index}" for name in ("unit", "kernel_row", "kernel_column"))
            axes = ("first_member", *own, "channel")
            text = {"units": "weight", "long_name": "of the first layer, final weights"}
            found[f"first_layer_{index}"] = (axes, pictures[:members, :units], text)
    return found


def table(run: Run) -> str:
    """Write the tables that end a run; diverged members are counted and left out."""
    data, timings = run.data, run.manifest.get("timings", {})
    counts = np.bincount(data["label"].values, minlength=data.sizes["class"]).tolist()
    unbalanced = max(counts) > 1.05 * max(min(counts), 1)
    rows = [["model", "accuracy", "± starts", "± test set", "range", "ensemble", "disagree"]]
    rows[0] += ["balanced"] * unbalanced
    rows[0] += ["parameters", "apart: start", "end", "moved", "seconds", "steps/s"]
    diverged = []
    for model in map(str, data["model"].values):
        one, spent = data.sel(model=model), timings.get(model, {})
        alive = np.flatnonzero(one["diverged_step"] < 0)
        left = one.isel(member=alive, other_member=alive)
        accuracy = left["test_accuracy"].values[:, -1].astype(np.float64)
        mean, lowest, highest, balanced = 4 * [math.nan]
        if accuracy.size:
            mean, lowest, highest = accuracy.mean(), accuracy.min(), accuracy.max()
            balanced = left["test_balanced_accuracy"].values.mean()
        spread = accuracy.std(ddof=1) if accuracy.size > 1 else math.nan
        apart = (left[f"relative_{name}_distance"].values for name in ("start", "weight"))
        rows.append(
            [
                model,
                *map(number, (mean, spread, standard_error(mean, sum(counts)))),
                f"{number(lowest)}-{number(highest)}",
                number(float(one["ensemble_accuracy"])),
                number(mean_over_pairs(left["disagreement"].values)),
                *[number(balanced)] * unbalanced,
                f"{int(one['num_parameters']):,}",
                *(number(mean_over_pairs(x)) for x in apart),
                number(float(left["way_moved"].mean())),
                number(spent.get("seconds", math.nan), 1),
                number(spent.get("rate", math.nan), 0),
            ]
        )
        if lost := data.sizes["member"] - alive.size:
            diverged.append(
                f"{model}: {lost} of {data.sizes['member']} members diverged (a loss that was not "
                "finite) and left out, diverged_step says when"
            )
    notes = (line for text in (LEGEND, *diverged, *_sentence(data)) for line in folded(text))
    return "\n".join([*aligned(rows), "", *notes])


def _sentence(data: "xr.Dataset") -> list[str]:
    """Say in one sentence what was found, where there is more than one member."""
    models = map(str, data["model"].values)
    apart = {m: mean_over_pairs(data["disagreement"].sel(model=m)) for m in models}
    apart = {model: share for model, share in apart.items() if not math.isnan(share)}
    if not apart:
        return []
    least, most = min(apart, key=apart.__getitem__), max(apart, key=apart.__getitem__)
    ends = [f"{100 * apart[model]:.1f} % in {model}" for model in dict.fromkeys((least, most))]
    return [f"Found: the start decides {', and '.join(ends)}, of the answers on the test set."]


def standard_error(accuracy: float, count: int) -> float:
    """Estimate how far an accuracy on so many test examples lies from that on all there could be.

    The standard deviation of a share of independent examples, sqrt(a (1 - a) / n).
    """
    return math.sqrt(accuracy * (1.0 - accuracy) / count)


def mean_over_pairs(values: Any) -> float:
    """Average a matrix [M, M] over pairs of different members; nan where there is none."""
    values = np.asarray(values)
    found = values[~np.eye(len(values), dtype=bool)].astype(np.float64)
    found = found[np.isfinite(found)]
    return float(found.mean()) if found.size else math.nan


def number(value: float, digits: int = 3) -> str:
    """Write a number for a person; nan is a dash."""
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"
