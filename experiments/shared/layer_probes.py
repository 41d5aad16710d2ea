"""Reads class and drawing factors off the layers of one network."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from catdog_jax.analysis import probe
from catdog_jax.estimators import centroid, knn
from catdog_jax.models import linear
from catdog_jax.types import Params, Split
from experiments.shared.layer_features import Layer, Reader

CIRCULAR = {"light_angle": 2 * np.pi, "background_hue": 1.0}  # their ends meet: no straight line
UNORDERED = ("pattern",)  # numbers that are only names


class Part(NamedTuple):
    """The examples of one part that probes see: labels [n], a column of 0 and 1 per class."""

    inputs: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    factors: np.ndarray


class Found(NamedTuple):
    """What was read off one layer, on the test examples."""

    answers: np.ndarray
    penalty: float
    centroid: float
    neighbours: float
    factors: np.ndarray


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


def choose(split: Split, num_classes: int, names: Sequence[str], most: int) -> Part:
    """Choose examples by a fixed seed: any number of them is a fair sample, no class is missing."""
    order = np.random.default_rng(0).permutation(len(split.labels))
    rows = order[:most]
    first = order[np.unique(split.labels[order], return_index=True)[1]]
    rows = np.concatenate([rows, np.setdiff1d(first, rows)])
    factors = [_factor(split, name)[rows] for name in names]
    return Part(
        split.inputs[rows],
        split.labels[rows],
        np.eye(num_classes)[split.labels[rows]],
        np.stack(factors, axis=1) if factors else np.zeros((len(rows), 0)),
    )


def probe_layer(
    layer: Layer,
    seen: np.ndarray,
    asked: np.ndarray,
    train: Part,
    test: Part,
    neighbours: int,
    inputs: dict[Any, Any],
) -> Found:
    """Read class and factors off one layer: fitted on `seen`, the training examples in it."""
    key = seen.shape
    if layer.name == "input" and key in inputs:
        return inputs[key]
    num_classes, num_factors = train.classes.shape[1], train.factors.shape[1]
    if not (np.isfinite(seen).all() and np.isfinite(asked).all()):
        nothing = np.full(num_factors, np.nan)
        return Found(np.full(len(asked), -1), np.nan, np.nan, np.nan, nothing)
    groups = np.concatenate([np.zeros(num_classes, int), 1 + np.arange(num_factors)])
    fit = probe.fit_probe(seen, np.hstack([train.classes, train.factors]), groups=groups)
    predicted = fit.predict(asked)
    means = centroid.centroid(seen, train.labels, num_classes)
    k = min(neighbours, len(seen))
    votes = _votes(
        knn.knn(seen, train.labels, num_classes, k=k).params, jnp.asarray(asked), k, num_classes
    )
    found = Found(
        predicted[:, :num_classes].argmax(axis=1),
        float(fit.penalty[0]),
        share(
            np.asarray(linear.apply(means.params, jnp.asarray(asked))).argmax(axis=1), test.labels
        ),
        share(np.asarray(votes).argmax(axis=1), test.labels),
        probe.r_squared(predicted[:, num_classes:], test.factors),
    )
    if layer.name == "input":
        inputs[key] = found
    return found


def ridge_answers(
    reader: Reader,
    params: Params,
    mixed: np.ndarray,
    found: Found,
    train: Part,
    test: Part,
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


def share(answers: np.ndarray, labels: np.ndarray) -> float:
    """Give the share of answers that are right; nan where one has none, which is -1."""
    known = (answers >= 0).all() and (labels >= 0).all()
    return float(np.mean(answers == labels)) if known else float("nan")
