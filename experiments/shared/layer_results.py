"""Probes every layer of every member, before and after training, and lays the numbers out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from catdog_jax.analysis import probe, similarity
from catdog_jax.types import Dataset
from experiments.shared.config import TrainConfig
from experiments.shared.jobs import Job
from experiments.shared.layer_features import Layer, Reader, one_member, starting_params
from experiments.shared.layer_probes import (
    Found,
    Part,
    choose,
    factor_names,
    probe_layer,
    ridge_answers,
    share,
)
from experiments.shared.progress import Progress
from experiments.shared.results import Trained, described

WHEN = ("before", "after")
PER_NETWORK = ("head_accuracy", "ridge_accuracy", "ridge_agreement")
CKA_EXAMPLES = 500  # similarities of all pairs of these
CKA_MEMBERS = 4  # members compared with one another, at most


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
        choose(split, num_classes, names, probe_examples) for split in (dataset.train, dataset.test)
    )
    readers = [Reader(job, probe_features) for job in jobs]
    num_members = len(trained[0].arrays["diverged_step"])
    depth = max(len(reader.layers) for reader in readers)
    columns = _empty(len(jobs), num_members, depth, len(names))
    inputs: dict[Any, Any] = {}  # what was read off the pictures themselves: the same for all

    with Progress("probing", 2 * len(jobs) * num_members, "networks") as progress:
        for m, (job, members, reader) in enumerate(zip(jobs, trained, readers, strict=True)):
            lost = members.arrays["diverged_step"] >= 0
            grams: dict[tuple[int, int], list[np.ndarray]] = {}
            starts = starting_params(config, job.model, num_members)
            for i, start in enumerate(starts):
                for w, params in enumerate((start, one_member(members.params, i))):
                    progress.to(2 * (m * num_members + i) + w, job.label)
                    if w and lost[i]:
                        continue
                    seen = reader.mixed(params, train.inputs)
                    asked = reader.mixed(params, test.inputs)
                    found: list[Found] = []
                    for n, layer in enumerate(reader.layers):
                        if n and np.array_equal(seen[n], seen[n - 1]):  # only laid out anew
                            found.append(found[-1])
                            continue
                        found.append(
                            probe_layer(layer, seen[n], asked[n], train, test, neighbours, inputs)
                        )
                    head = (
                        asked[-1].argmax(axis=1)
                        if np.isfinite(asked[-1]).all()
                        else np.full(len(test.labels), -1)
                    )
                    ridge = ridge_answers(reader, params, seen[-2], found[-2], train, test, inputs)
                    _keep(columns, (m, w, i), found, head, ridge, test.labels)
                    if i < CKA_MEMBERS:
                        whole = reader.whole(params, test.inputs[:CKA_EXAMPLES])
                        grams[w, i] = [similarity.centred_gram(x, debiased=True) for x in whole]
            columns["cka"][m] = _cka(grams, min(num_members, CKA_MEMBERS), depth)
        progress.to(2 * len(jobs) * num_members)
    data = _laid_out(columns, [r.layers for r in readers], names, train, test)
    return data.assign_attrs(probe_features=probe_features, neighbours=neighbours)


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
    found: Sequence[Found],
    head: np.ndarray,
    ridge: np.ndarray,
    labels: np.ndarray,
) -> None:
    columns["head_accuracy"][place] = share(head, labels)
    columns["ridge_accuracy"][place] = share(ridge, labels)
    columns["ridge_agreement"][place] = share(ridge, head)
    for n, layer in enumerate(found):
        columns["probe_accuracy"][place][n] = share(layer.answers, labels)
        columns["probe_penalty"][place][n] = layer.penalty
        columns["head_agreement"][place][n] = share(layer.answers, head)
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
    train: Part,
    test: Part,
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
