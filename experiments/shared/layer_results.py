"""Probes every layer of every member, before and after training, and lays the numbers out."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from catdog_jax.analysis import probe, similarity
from catdog_jax.estimators import centroid, knn
from catdog_jax.models import linear
from catdog_jax.types import Dataset, Params, Split
from experiments.shared.config import TrainConfig
from experiments.shared.jobs import Job
from experiments.shared.layer_features import Layer, Reader, one_member, starting_params
from experiments.shared.progress import Progress
from experiments.shared.results import Trained, described

WHEN = ("before", "after")
PER_NETWORK = ("head_accuracy", "ridge_accuracy", "ridge_agreement")
CKA_EXAMPLES = 500  # similarities of all pairs of these
CKA_MEMBERS = 4  # members compared with one another, at most
CIRCULAR = {"light_angle": 2 * np.pi, "background_hue": 1.0}  # their ends meet: no straight line
UNORDERED = ("pattern",)  # numbers that are only names


class _Part(NamedTuple):
    """The examples of one part that probes see: labels [n], a column of 0 and 1 per class."""

    inputs: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    factors: np.ndarray


class _Found(NamedTuple):
    """What was read off one layer, on the test examples."""

    answers: np.ndarray
    penalty: float
    centroid: float
    neighbours: float
    factors: np.ndarray


def probe_layers(
    config: TrainConfig,
    dataset: Dataset,
    jobs: Sequence[Job],
    trained: Sequence[Trained],
    *,
    probe_examples: int,
    probe_features: int,
    neighbours: int,
) -> xr.Dataset:
    """Probe the networks of a run.

    Args:
      config: of the run; the starting weights are drawn again from its seeds.
      dataset: the run's. Probes are fitted on training examples and scored on test examples.
      jobs, trained: the models and their members.
      probe_examples: training examples that are used, and test examples, at most.
      probe_features: a layer of more numbers is mixed down to so many.
      neighbours: k of the k nearest neighbours; no more than there are examples.

    Returns:
      Variables along `model, when, member, layer`, described in `_DESCRIPTIONS`. Deterministic.
    """
    names = factor_names(dataset.train)
    num_classes = len(dataset.class_names)
    train, test = (
        _part(split, num_classes, names, probe_examples) for split in (dataset.train, dataset.test)
    )
    readers = [Reader(job, probe_features) for job in jobs]
    num_members = len(trained[0].arrays["frozen_step"])
    depth = max(len(reader.layers) for reader in readers)
    columns = _empty(len(jobs), num_members, depth, len(names))
    inputs: dict[Any, Any] = {}  # what was read off the pictures themselves: the same for all

    with Progress("probing", 2 * len(jobs) * num_members, "networks") as progress:
        for m, (job, members, reader) in enumerate(zip(jobs, trained, readers, strict=True)):
            lost = members.arrays["frozen_step"] >= 0
            grams: dict[tuple[int, int], list[np.ndarray]] = {}
            starts = starting_params(config, job.model, num_members)
            for i, start in enumerate(starts):
                for w, params in enumerate((start, one_member(members.params, i))):
                    progress.to(2 * (m * num_members + i) + w, job.label)
                    if w and lost[i]:
                        continue
                    seen = reader.mixed(params, train.inputs)
                    asked = reader.mixed(params, test.inputs)
                    found: list[_Found] = []
                    for n, layer in enumerate(reader.layers):
                        if n and np.array_equal(seen[n], seen[n - 1]):  # only laid out anew
                            found.append(found[-1])
                            continue
                        found.append(
                            _probe(layer, seen[n], asked[n], train, test, neighbours, inputs)
                        )
                    head = asked[-1].argmax(axis=1)
                    ridge = _ridge(reader, params, seen[-2], found[-2], train, test, inputs)
                    _keep(columns, (m, w, i), found, head, ridge, test.labels)
                    if i < CKA_MEMBERS:
                        whole = reader.whole(params, test.inputs[:CKA_EXAMPLES])
                        grams[w, i] = [similarity.centred_gram(x, debiased=True) for x in whole]
            columns["cka"][m] = _cka(grams, min(num_members, CKA_MEMBERS), depth)
        progress.to(2 * len(jobs) * num_members)
    data = _laid_out(columns, [r.layers for r in readers], names, train, test)
    return data.assign_attrs(probe_features=probe_features, neighbours=neighbours)


def factor_names(split: Split) -> tuple[str, ...]:
    """Name what is probed for besides the class; an angle becomes its cosine and its sine."""
    names: list[str] = []
    for name in split.factors:
        if name in CIRCULAR:
            names += [f"{name} (cos)", f"{name} (sin)"]
        elif name not in UNORDERED:
            names.append(name)
    return tuple(sorted(names))


def _factor(split: Split, name: str) -> np.ndarray:
    plain, _, part = name.partition(" (")
    if not part:
        return split.factors[name].astype(np.float64)
    turn = 2 * np.pi * split.factors[plain].astype(np.float64) / CIRCULAR[plain]
    return np.cos(turn) if part == "cos)" else np.sin(turn)


def _part(split: Split, num_classes: int, names: Sequence[str], most: int) -> _Part:
    """Choose examples by a fixed seed: any number of them is a fair sample, no class is missing."""
    order = np.random.default_rng(0).permutation(len(split.labels))
    rows = order[:most]
    first = order[np.unique(split.labels[order], return_index=True)[1]]
    rows = np.concatenate([rows, np.setdiff1d(first, rows)])
    factors = [_factor(split, name)[rows] for name in names]
    return _Part(
        split.inputs[rows],
        split.labels[rows],
        np.eye(num_classes)[split.labels[rows]],
        np.stack(factors, axis=1) if factors else np.zeros((len(rows), 0)),
    )


def _probe(
    layer: Layer,
    seen: np.ndarray,
    asked: np.ndarray,
    train: _Part,
    test: _Part,
    neighbours: int,
    inputs: dict[Any, Any],
) -> _Found:
    """Read class and factors off one layer: fitted on `seen`, the training examples in it."""
    key = seen.shape
    if layer.name == "input" and key in inputs:
        return inputs[key]
    num_classes, num_factors = train.classes.shape[1], train.factors.shape[1]
    if not (np.isfinite(seen).all() and np.isfinite(asked).all()):
        nothing = np.full(num_factors, np.nan)
        return _Found(np.full(len(asked), -1), np.nan, np.nan, np.nan, nothing)
    groups = np.concatenate([np.zeros(num_classes, int), 1 + np.arange(num_factors)])
    fit = probe.fit_probe(seen, np.hstack([train.classes, train.factors]), groups=groups)
    predicted = fit.predict(asked)
    means = centroid.centroid(seen, train.labels, num_classes)
    k = min(neighbours, len(seen))
    votes = _votes(
        knn.knn(seen, train.labels, num_classes, k=k).params, jnp.asarray(asked), k, num_classes
    )
    found = _Found(
        predicted[:, :num_classes].argmax(axis=1),
        float(fit.penalty[0]),
        _share(
            np.asarray(linear.apply(means.params, jnp.asarray(asked))).argmax(axis=1), test.labels
        ),
        _share(np.asarray(votes).argmax(axis=1), test.labels),
        probe.r_squared(predicted[:, num_classes:], test.factors),
    )
    if layer.name == "input":
        inputs[key] = found
    return found


def _ridge(
    reader: Reader,
    params: Params,
    mixed: np.ndarray,
    found: _Found,
    train: _Part,
    test: _Part,
    inputs: dict[Any, Any],
) -> np.ndarray:
    """Answer in the head's place: by ridge regression on all that it reads, not mixed down."""
    name, size = reader.layers[-2]
    if mixed.shape[1] == size or (found.answers < 0).any():
        return found.answers
    if name == "input" and name in inputs:
        return inputs[name]
    fit = probe.fit_probe(
        reader.last(params, train.inputs),
        train.classes,
        groups=np.zeros(train.classes.shape[1], int),
    )
    answers = fit.predict(reader.last(params, test.inputs)).argmax(axis=1)
    if name == "input":
        inputs[name] = answers
    return answers


_votes = jax.jit(knn.apply, static_argnums=(2, 3))


def _share(answers: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(answers == labels)) if (answers >= 0).all() else float("nan")


def _empty(num_models: int, num_members: int, depth: int, num_factors: int) -> dict[str, Any]:
    shape = (num_models, len(WHEN), num_members, depth)
    per_layer = ("probe_accuracy", "probe_penalty", "head_agreement")
    names = (*per_layer, "centroid_accuracy", "neighbour_accuracy")
    pairs = (len(WHEN), min(num_members, CKA_MEMBERS), depth)
    return {
        **{name: np.full(shape, np.nan) for name in names},
        "factor_r2": np.full((*shape, num_factors), np.nan),
        **{name: np.full(shape[:-1], np.nan) for name in PER_NETWORK},
        "cka": np.full((num_models, *pairs, *pairs), np.nan, np.float32),
    }


def _keep(
    columns: Mapping[str, np.ndarray],
    place: tuple[int, int, int],
    found: Sequence[_Found],
    head: np.ndarray,
    ridge: np.ndarray,
    labels: np.ndarray,
) -> None:
    columns["head_accuracy"][place] = _share(head, labels)
    columns["ridge_accuracy"][place] = _share(ridge, labels)
    columns["ridge_agreement"][place] = _share(ridge, head)
    for n, layer in enumerate(found):
        columns["probe_accuracy"][place][n] = _share(layer.answers, labels)
        columns["probe_penalty"][place][n] = layer.penalty
        columns["head_agreement"][place][n] = _share(layer.answers, head)
        columns["centroid_accuracy"][place][n] = layer.centroid
        columns["neighbour_accuracy"][place][n] = layer.neighbours
        columns["factor_r2"][place][n] = layer.factors


def _cka(grams: Mapping[tuple[int, int], list[np.ndarray]], num: int, depth: int) -> np.ndarray:
    """Compare all layers of all members in both states; [2, M, L, 2, M, L]."""
    some = next(iter(grams.values()))
    rows = np.full((len(WHEN), num, depth, some[0].size), np.nan, np.float32)
    for (w, i), layers in grams.items():
        for n, gram in enumerate(layers):
            # Scaled in float64 first, so that no large feature overflows its products.
            rows[w, i, n] = (gram / (np.linalg.norm(gram) or 1.0)).ravel()
    flat = similarity.gram_cka(rows.reshape(-1, rows.shape[-1]))
    return flat.reshape(*rows.shape[:3], *rows.shape[:3])


def _laid_out(
    columns: Mapping[str, np.ndarray],
    layers: Sequence[Sequence[Layer]],
    names: Sequence[str],
    train: _Part,
    test: _Part,
) -> xr.Dataset:
    depth = columns["probe_accuracy"].shape[-1]
    per_layer = ("model", "when", "member", "layer")
    dims = {
        **dict.fromkeys(columns, per_layer),
        "factor_r2": (*per_layer, "factor"),
        **dict.fromkeys(PER_NETWORK, per_layer[:-1]),
        "cka": (
            *("model", "when", "cka_member", "layer"),
            *("other_when", "other_cka_member", "other_layer"),
        ),
    }
    padded = [[*found, *[Layer("", 0)] * (depth - len(found))] for found in layers]
    counts = np.maximum(train.classes.sum(axis=0), 1)
    means = (train.classes.T @ train.factors) / counts[:, None]
    variables = {
        **{name: (dims[name], values) for name, values in columns.items()},
        "layer_name": (("model", "layer"), np.array([[x.name for x in p] for p in padded], object)),
        "layer_size": (("model", "layer"), np.array([[x.size for x in p] for p in padded])),
        "num_layers": (("model",), np.array([len(found) for found in layers])),
        "label_r2": (("factor",), probe.r_squared(means[test.labels], test.factors)),
    }
    coordinates = {
        "when": np.array(WHEN, dtype=object),
        "factor": np.array(names, dtype=object),
    }
    data = xr.Dataset(variables, coordinates)
    data.attrs = {
        "probe_train_examples": len(train.labels),
        "probe_test_examples": len(test.labels),
        "cka_examples": min(len(test.labels), CKA_EXAMPLES),
    }
    return described(data, _DESCRIPTIONS)


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
