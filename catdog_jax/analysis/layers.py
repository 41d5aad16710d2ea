"""What every layer of every member makes of examples, before and after training, and probes."""

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from catdog_jax.analysis import probe, similarity
from catdog_jax.analysis.agreement import predictions
from catdog_jax.analysis.labelled import described
from catdog_jax.estimators import centroid, knn
from catdog_jax.models import linear
from catdog_jax.types import Dataset, Model, Params, Split

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
# What is compared -> the states of the layers down and across, and whether of one network.
COMPARISONS = {
    "one network, at the start": (0, 0, True),
    "two networks, at the start": (0, 0, False),
    "one network, trained": (1, 1, True),
    "two networks, trained": (1, 1, False),
    "one network, start (down) and trained (across)": (0, 1, True),
}
_OTHERS = ("other_when", "other_cka_member", "other_layer")


# The members of one model, before and after training; a population is one: `model`, its formula;
# `alive`, those that did not diverge, [M] bool; `moment(index, when)`, the params of one member
# before (0) or after training (1).
Networks = Any


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


def layer_shapes(model: Model, params: Params, inputs: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Name the layers, with the shape of what each makes of one example, computing none."""
    found: list[tuple[str, tuple[int, ...]]] = []

    def note(params: Params, inputs: Any) -> None:
        layers = named_features(model, params, inputs)
        found.extend((name, x.shape[1:]) for name, x in layers)

    jax.eval_shape(note, params, inputs)
    return found


def layer_reader(
    model: Model, chosen: Callable[[list[Any]], list[Any]] = list
) -> Callable[[Params, np.ndarray], list[np.ndarray]]:
    """Make a function (params of one member, examples) -> layers, each [N, numbers] float32.

    Args:
      model: the formula.
      chosen: what is kept of the layers [B, size], in order, the logits last; a pure function.
    """

    @jax.jit
    def layers(params: Params, inputs: Any) -> list[Any]:
        with jax.default_matmul_precision("highest"):
            named = named_features(model, params, inputs)
        return chosen([x.reshape(x.shape[0], -1).astype(jnp.float32) for _, x in named])

    return lambda params, inputs: in_parts(functools.partial(layers, params), inputs)


def in_parts(function: Callable[[Any], Any], inputs: np.ndarray) -> Any:
    """Join what a function says of parts of inputs [N, ...], arrays [n, ...] in any structure.

    The parts have EXAMPLES_AT_ONCE examples at most, and all as many, so that one program serves
    all: the last one is filled up.
    """
    size = max(min(EXAMPLES_AT_ONCE, len(inputs)), 1)
    told = []
    for start in range(0, max(len(inputs), 1), size):
        part = inputs[start : start + size]
        filled = np.pad(part, ((0, size - len(part)), *[(0, 0)] * (inputs.ndim - 1)))
        found = jax.device_get(function(jnp.asarray(filled)))
        told.append(jax.tree.map(operator.itemgetter(slice(len(part))), found))
    return jax.tree.map(lambda *same: np.concatenate(same), *told)


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
    networks: Mapping[str, Networks],
    dataset: Dataset,
    *,
    probe_examples: int,
    probe_features: int,
    neighbours: int,
    progress: Callable[[int, str], None],
) -> xr.Dataset:
    """Probe every layer of every member of every model, before and after training.

    Args:
      networks: label -> members, as many of each.
      dataset: probes are fitted on its training examples and scored on its test examples.
      probe_examples: training examples that are used, and test examples, at most.
      probe_features: a layer of more numbers is mixed down to so many.
      neighbours: k of the k nearest neighbours; no more than there are examples.
      progress: takes the number of networks that are done, of `2 * P * M`, and the label.

    Variables:
      probe_accuracy: of a ridge regression from a layer to the class, on test examples
      probe_penalty: chosen by leaving one out, in mean variances of a feature
      head_agreement: share of test examples on which probe and network's head agree
      head_accuracy: of the network itself on the test examples of the probes
      ridge_accuracy: of a ridge regression on all that the head reads, in its place
      ridge_agreement: share of test examples on which it and the head agree
      centroid_accuracy: of the nearest class mean in a layer, on test examples
      neighbour_accuracy: of the k nearest neighbours in a layer, on test examples
      factor_r2: share of a factor's variance that a ridge regression reads off a layer
      label_r2: share of a factor's variance that knowing the class explains
      cka: debiased linear centred kernel alignment of two layers, test examples
      alignment: mean of cka over members, or over their pairs
      layer_name: name of each layer; empty where a model has no more
      layer_size: numbers that a layer makes of one example
      num_layers: layers of each model, input and logits included
    """
    train, test = (choose(split, probe_examples) for split in (dataset.train, dataset.test))
    one_hot = np.eye(len(dataset.class_names))[train.labels]
    shapes = (
        layer_shapes(x.model, x.moment(0, 0), dataset.train.inputs[:1]) for x in networks.values()
    )
    layers = [[(n, int(np.prod(shape))) for n, shape in one] for one in shapes]
    depth, num_members = max(map(len, layers)), len(next(iter(networks.values())).alive)
    compared, num_pictures = min(num_members, CKA_MEMBERS), min(len(test.labels), CKA_EXAMPLES)
    names = list(factors_of(dataset.train))
    extents = (len(networks), len(WHEN), num_members, depth, len(names))
    columns = {name: np.full(extents[: len(d)], np.nan) for name, d in _DIMENSIONS.items()}
    alignments = []
    pixels: Any = None  # the input and what was read off it: the same for all networks

    for m, (label, members) in enumerate(networks.items()):
        whole = layer_reader(members.model)
        mixed = layer_reader(
            members.model,
            lambda x: [*(probe.reduced(layer, probe_features) for layer in x[:-1]), x[-1]],
        )
        last = layer_reader(members.model, lambda x: [probe.reduced(x[-2], LAST_FEATURES)])
        grams = np.full((len(WHEN), compared, depth, num_pictures**2), np.nan, np.float32)
        ridge = None
        for i, w in np.ndindex(num_members, len(WHEN)):
            progress(2 * (m * num_members + i) + w, label)
            if w and not members.alive[i]:
                continue
            params = members.moment(i, w)
            seen, asked = mixed(params, train.inputs), mixed(params, test.inputs)
            head, found = predictions(asked[-1]), pixels
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
                    gram = similarity.centred_gram(x)
                    # Scaled in float64, so that no large feature overflows its products.
                    grams[w, i, n] = (gram / (np.linalg.norm(gram) or 1.0)).ravel()
        flat = similarity.gram_cka(grams.reshape(-1, grams.shape[-1]))
        alignments.append(flat.reshape(*grams.shape[:3], *grams.shape[:3]).astype(np.float32))
    progress(2 * len(networks) * num_members, "")
    cka = np.stack(alignments)
    padded = [[*one, *[("", 0)] * (depth - len(one))] for one in layers]
    counts = np.maximum(one_hot.sum(axis=0), 1)
    means = (one_hot.T @ train.factors) / counts[:, None]
    variables = {
        **{name: (_DIMENSIONS[name], values) for name, values in columns.items()},
        "cka": (("model", "when", "cka_member", "layer", *_OTHERS), cka),
        "alignment": (("comparison", "model", "layer", "other_layer"), alignment_maps(cka)),
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
    coordinates = {
        "when": list(WHEN),
        "factor": np.array(names, dtype=object),
        "comparison": np.array(list(COMPARISONS), dtype=object),
    }
    return described(xr.Dataset(variables, coordinates, attrs), probe_layers)


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


def alignment_maps(cka: np.ndarray) -> np.ndarray:
    """Average the alignment of all layers of all members, [P, 2, M, L, 2, M, L], over members.

    Returns:
      [C, P, L, L], in the order of COMPARISONS; nan where there is one member only, and so no pair.
    """
    same, maps = np.eye(cka.shape[2], dtype=bool), []
    for when, other, one_network in COMPARISONS.values():
        chosen = np.moveaxis(cka[:, when, :, :, other], 3, 2)[:, same == one_network]
        maps.append(np.ma.masked_invalid(chosen).mean(axis=1).filled(np.nan))
    return np.stack(maps)


_votes = jax.jit(knn.apply, static_argnums=(2, 3))


def _fit(features: np.ndarray, one_hot: np.ndarray, *factors: np.ndarray) -> probe.Probe:
    """Fit the class, with one penalty, and factors, each with its own."""
    targets = np.hstack([one_hot, *factors])
    groups = np.maximum(np.arange(targets.shape[1]) - one_hot.shape[1] + 1, 0)
    return probe.fit_probe(features, targets, groups)


def share(answers: np.ndarray, labels: np.ndarray) -> float:
    """Give the share of answers that are right; nan where one has none, which is -1."""
    known = (answers >= 0).all() and (labels >= 0).all()
    return float(np.mean(answers == labels)) if known else np.nan
