"""What every layer of every member makes of examples, before and after training, and probes."""

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from catdog_jax.analysis import probe, similarity
from catdog_jax.estimators import centroid, knn
from catdog_jax.models import linear
from catdog_jax.population import member_keys
from catdog_jax.types import Dataset, Model, Params, Split
from experiments.shared.config import TrainConfig
from experiments.shared.jobs import Job, members_of, seeds_of
from experiments.shared.progress import Progress
from experiments.shared.results import Trained, described

WHEN = ("before", "after")
CIRCULAR = {"light_angle": 2 * np.pi, "background_hue": 1.0}  # their ends meet: no straight line
UNORDERED = ("pattern",)  # numbers that are only names
EXAMPLES_AT_ONCE = 250
LAST_FEATURES = 2048  # of what a head reads, before it is mixed down
CKA_EXAMPLES = 500  # similarities of all pairs of these
CKA_MEMBERS = 4  # members compared with one another, at most
_NETWORK = ("model", "when", "member")
_LAYER = (*_NETWORK, "layer")
_DIMENSIONS = {
    **dict.fromkeys(("head_accuracy", "ridge_accuracy", "ridge_agreement"), _NETWORK),
    **dict.fromkeys(("probe_accuracy", "probe_penalty", "head_agreement"), _LAYER),
    **dict.fromkeys(("centroid_accuracy", "neighbour_accuracy"), _LAYER),
    "factor_r2": (*_LAYER, "factor"),
}
_OTHERS = ("other_when", "other_cka_member", "other_layer")


class Examples(NamedTuple):
    """Examples that probes see: labels [n], factors [n, F]."""

    inputs: np.ndarray
    labels: np.ndarray
    factors: np.ndarray


def named_features(model: Model, params: Params, inputs: Any) -> tuple[tuple[str, Any], ...]:
    """Give the layers of a formula; of one of a person's own, which names none, the two ends."""
    if model.features is not None:
        return tuple(model.features(params, inputs))
    return (("input", inputs), ("logits", model.apply(params, inputs)))


def layer_shapes(job: Job) -> list[tuple[str, tuple[int, ...]]]:
    """Name the layers, with the shape of what each makes of one example, computing none."""
    found: list[tuple[str, tuple[int, ...]]] = []

    def note(params: Params, inputs: Any) -> None:
        layers = named_features(job.model, params, inputs)
        found.extend((name, x.shape[1:]) for name, x in layers)

    train = job.dataset.train.inputs
    inputs = jax.ShapeDtypeStruct((1, *train.shape[1:]), train.dtype)
    jax.eval_shape(note, jax.eval_shape(job.model.init, jax.random.key(0)), inputs)
    return found


def layer_reader(
    job: Job, chosen: Callable[[list[Any]], list[Any]] = list
) -> Callable[[Params, np.ndarray], list[np.ndarray]]:
    """Make a function (params of one member, examples) -> layers, each [N, numbers] float32.

    Args:
      job: the model and its data.
      chosen: what is kept of the layers [B, size], in order, the logits last; a pure function.
    """

    @jax.jit
    def layers(params: Params, inputs: Any) -> list[Any]:
        with jax.default_matmul_precision("highest"):
            named = named_features(job.model, params, inputs)
        return chosen([x.reshape(x.shape[0], -1).astype(jnp.float32) for _, x in named])

    def read(params: Params, inputs: np.ndarray) -> list[np.ndarray]:
        # Equal parts, so that one program serves all; the last one is filled up.
        size = min(EXAMPLES_AT_ONCE, len(inputs))
        parts = []
        for start in range(0, len(inputs), size):
            part = inputs[start : start + size]
            padding = ((0, size - len(part)),) + ((0, 0),) * (inputs.ndim - 1)
            outputs = jax.device_get(layers(params, np.pad(part, padding)))
            parts.append([layer[: len(part)] for layer in outputs])
        return [np.concatenate(same) for same in zip(*parts, strict=True)]

    return read


def networks(
    config: TrainConfig, model: Model, params: Params
) -> Iterator[tuple[int, int, Params]]:
    """Give each member's weights before training, drawn again from its key, and after.

    The first are those of the engine: a member is a function of its keys.

    Args:
      config: of the run.
      model: the formula.
      params: final weights, stacked [M, ...].

    Returns:
      (member, 0 before or 1 after, weights), in this order.
    """
    num_members = len(jax.tree.leaves(params)[0])
    keys = member_keys(seeds_of(config), members_of(config).rows(0, num_members)).init
    for member in range(num_members):
        yield member, 0, model.init(keys if keys.ndim == 0 else keys[member])
        yield member, 1, jax.tree.map(operator.itemgetter(member), params)


def factors_of(split: Split) -> dict[str, np.ndarray]:
    """Give what is probed for besides the class; an angle becomes its cosine and its sine."""
    found: dict[str, np.ndarray] = {}
    for name, values in split.factors.items():
        if name in CIRCULAR:
            turn = 2 * np.pi * values.astype(np.float64) / CIRCULAR[name]
            found |= {f"{name} (cos)": np.cos(turn), f"{name} (sin)": np.sin(turn)}
        elif name not in UNORDERED:
            found[name] = values.astype(np.float64)
    return dict(sorted(found.items()))


def choose(split: Split, most: int) -> Examples:
    """Choose examples by a fixed seed: any number of them is a fair sample, no class is missing."""
    order = np.random.default_rng(0).permutation(len(split.labels))
    rows = order[:most]
    first = order[np.unique(split.labels[order], return_index=True)[1]]
    rows = np.concatenate([rows, np.setdiff1d(first, rows)])
    factors = [values[rows] for values in factors_of(split).values()]
    stacked = np.stack(factors, axis=1) if factors else np.zeros((len(rows), 0))
    return Examples(split.inputs[rows], split.labels[rows], stacked)


def probe_layers(
    config: TrainConfig,
    dataset: Dataset,
    probe_examples: int,
    probe_features: int,
    neighbours: int,
    jobs: Sequence[Job],
    trained: Sequence[Trained],
) -> xr.Dataset:
    """Probe the networks of a run.

    Args:
      config: of the run; the starting weights are drawn again from its seeds.
      dataset: the run's. Probes are fitted on training examples and scored on test examples.
      probe_examples: training examples that are used, and test examples, at most.
      probe_features: a layer of more numbers is mixed down to so many.
      neighbours: k of the k nearest neighbours; no more than there are examples.
      jobs, trained: the models and their members.

    Returns:
      Variables along `model, when, member, layer`, described in `_DESCRIPTIONS`. Deterministic.
    """
    train, test = (choose(split, probe_examples) for split in (dataset.train, dataset.test))
    one_hot = np.eye(len(dataset.class_names))[train.labels]
    layers = [[(n, int(np.prod(shape))) for n, shape in layer_shapes(job)] for job in jobs]
    depth, num_members = max(map(len, layers)), len(trained[0].arrays["diverged_step"])
    compared, num_pictures = min(num_members, CKA_MEMBERS), min(len(test.labels), CKA_EXAMPLES)
    names = list(factors_of(dataset.train))
    extents = (len(jobs), len(WHEN), num_members, depth, len(names))
    columns = {name: np.full(extents[: len(d)], np.nan) for name, d in _DIMENSIONS.items()}
    alignments = []
    pixels: Any = None  # the input and what was read off it: the same for all networks

    with Progress("probing", 2 * len(jobs) * num_members, "networks") as progress:
        for m, (job, members) in enumerate(zip(jobs, trained, strict=True)):
            whole = layer_reader(job)
            mixed = layer_reader(
                job, lambda x: [*(probe.reduced(layer, probe_features) for layer in x[:-1]), x[-1]]
            )
            last = layer_reader(job, lambda x: [probe.reduced(x[-2], LAST_FEATURES)])
            grams = np.full((len(WHEN), compared, depth, num_pictures**2), np.nan, np.float32)
            ridge = None
            for i, w, params in networks(config, job.model, members.params):
                progress.to(2 * (m * num_members + i) + w, job.label)
                if w and members.arrays["diverged_step"][i] >= 0:
                    continue
                seen, asked = mixed(params, train.inputs), mixed(params, test.inputs)
                head = asked[-1].argmax(axis=1)
                if not np.isfinite(asked[-1]).all():
                    head[:] = -1
                found = pixels
                for n, (x, y) in enumerate(zip(seen, asked, strict=True)):
                    # A layer may be the one before it, laid out anew.
                    if found is None or not np.array_equal(x, found[0]):
                        found = (x, *probe_layer(x, y, train, test, one_hot, neighbours))
                    pixels = pixels or found
                    _, answers, scores = found
                    for name, score in scores.items():
                        columns[name][m, w, i, n] = score
                    columns["head_agreement"][m, w, i, n] = share(answers, head)
                    if n == len(seen) - 2:
                        instead = answers
                # In the head's place: a regression on all that it reads, not mixed down.
                if seen[-2].shape[1] < layers[m][-2][1] and (instead >= 0).all():
                    if ridge is None or len(seen) > 2:
                        fit = _fit(last(params, train.inputs)[0], one_hot)
                        ridge = fit.predict(last(params, test.inputs)[0]).argmax(axis=1)
                    instead = ridge
                columns["head_accuracy"][m, w, i] = share(head, test.labels)
                columns["ridge_accuracy"][m, w, i] = share(instead, test.labels)
                columns["ridge_agreement"][m, w, i] = share(instead, head)
                if i < compared:
                    for n, x in enumerate(whole(params, test.inputs[:num_pictures])):
                        gram = similarity.centred_gram(x, debiased=True)
                        # Scaled in float64, so that no large feature overflows its products.
                        grams[w, i, n] = (gram / (np.linalg.norm(gram) or 1.0)).ravel()
            flat = similarity.gram_cka(grams.reshape(-1, grams.shape[-1]))
            alignments.append(flat.reshape(*grams.shape[:3], *grams.shape[:3]).astype(np.float32))
        progress.to(2 * len(jobs) * num_members)
    columns["cka"] = np.stack(alignments)
    dimensions = _DIMENSIONS | {"cka": ("model", "when", "cka_member", "layer", *_OTHERS)}
    padded = [[*one, *[("", 0)] * (depth - len(one))] for one in layers]
    counts = np.maximum(one_hot.sum(axis=0), 1)
    means = (one_hot.T @ train.factors) / counts[:, None]
    variables = {
        **{name: (dimensions[name], values) for name, values in columns.items()},
        "layer_name": (("model", "layer"), np.array([[n for n, _ in p] for p in padded], object)),
        "layer_size": (("model", "layer"), np.array([[size for _, size in p] for p in padded])),
        "num_layers": (("model",), np.array([len(one) for one in layers])),
        "label_r2": (("factor",), probe.r_squared(means[test.labels], test.factors)),
    }
    attrs = {
        "probe_train_examples": len(train.labels),
        "probe_test_examples": len(test.labels),
        "cka_examples": num_pictures,
        "probe_features": probe_features,
        "neighbours": neighbours,
    }
    coordinates = {"when": list(WHEN), "factor": np.array(names, dtype=object)}
    return described(xr.Dataset(variables, coordinates, attrs), _DESCRIPTIONS)


def probe_layer(
    seen: np.ndarray,
    asked: np.ndarray,
    train: Examples,
    test: Examples,
    one_hot: np.ndarray,
    neighbours: int,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Read class and factors off one layer, fitted on `seen`, the training examples in it.

    Returns:
      The answers to the test examples (-1, without scores, where a feature is not finite), and
      scores by their names in the results.
    """
    if not (np.isfinite(seen).all() and np.isfinite(asked).all()):
        return np.full(len(asked), -1), {}
    num_classes, k = one_hot.shape[1], min(neighbours, len(seen))
    fit = _fit(seen, one_hot, train.factors)
    predicted = fit.predict(asked)
    answers = predicted[:, :num_classes].argmax(axis=1)
    means = centroid.centroid(seen, train.labels, num_classes).params
    nearest = knn.knn(seen, train.labels, num_classes, k=k).params
    points = jnp.asarray(asked)
    nearest_mean = np.asarray(linear.apply(means, points)).argmax(axis=1)
    votes = np.asarray(_votes(nearest, points, k, num_classes)).argmax(axis=1)
    return answers, {
        "probe_accuracy": share(answers, test.labels),
        "probe_penalty": fit.penalty[0],
        "centroid_accuracy": share(nearest_mean, test.labels),
        "neighbour_accuracy": share(votes, test.labels),
        "factor_r2": probe.r_squared(predicted[:, num_classes:], test.factors),
    }


_votes = jax.jit(knn.apply, static_argnums=(2, 3))


def _fit(features: np.ndarray, one_hot: np.ndarray, *factors: np.ndarray) -> probe.Probe:
    """Fit the class, with one penalty, and factors, each with its own."""
    targets = np.hstack([one_hot, *factors])
    groups = np.maximum(np.arange(targets.shape[1]) - one_hot.shape[1] + 1, 0)
    return probe.fit_probe(features, targets, groups=groups)


def share(answers: np.ndarray, labels: np.ndarray) -> float:
    """Give the share of answers that are right; nan where one has none, which is -1."""
    known = (answers >= 0).all() and (labels >= 0).all()
    return float(np.mean(answers == labels)) if known else np.nan


_DESCRIPTIONS = {
    "probe_accuracy": ("1", "of a ridge regression from a layer to the class, on test examples"),
    "probe_penalty": ("1", "chosen by leaving one out, in mean variances of a feature"),
    "head_agreement": ("1", "share of test examples on which probe and network's head agree"),
    "head_accuracy": ("1", "of the network itself on the test examples of the probes"),
    "ridge_accuracy": ("1", "of a ridge regression on all that the head reads, in its place"),
    "ridge_agreement": ("1", "share of test examples on which it and the head agree"),
    "centroid_accuracy": ("1", "of the nearest class mean in a layer, on test examples"),
    "neighbour_accuracy": ("1", "of the k nearest neighbours in a layer, on test examples"),
    "factor_r2": ("1", "share of a factor's variance that a ridge regression reads off a layer"),
    "label_r2": ("1", "share of a factor's variance that knowing the class explains"),
    "cka": ("1", "debiased linear centred kernel alignment of two layers, test examples"),
    "layer_name": ("1", "name of each layer; empty where a model has no more"),
    "layer_size": ("1", "numbers that a layer makes of one example"),
    "num_layers": ("1", "layers of each model, input and logits included"),
}
