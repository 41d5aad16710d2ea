"""Asks members what they see in pictures, before and after training, and compares their maps."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from catdog_jax.analysis import attribution
from catdog_jax.analysis.first_layer import first_layer
from catdog_jax.analysis.labelled import described
from catdog_jax.analysis.layers import Networks
from catdog_jax.models.build import normaliser
from catdog_jax.types import Dataset, Model, Params

METHODS = ("saliency", "integrated gradients", "occlusion")
KINDS = ("same picture", "other pictures", "before training")
MEASURES = ("rank of sizes", "signed")
NOISE = 0.1  # deviation of the faint noise that maximising inputs begin with
CONTRAST = 1.0  # root mean square of maximising inputs: that of the run's own pictures
VARIATION = 0.015  # price of the total variation, in gradients on the run's own pictures
MOST_UNITS = 8  # of a first layer that are kept
_EACH = ("model", "member")
_PICTURES = (*_EACH, "picture")
_DIMENSIONS: dict[str, tuple[str, ...]] = {
    "saliency": (*_PICTURES, "row", "column", "channel"),
    "integrated_gradients": (*_PICTURES, "row", "column"),
    "occlusion": (*_PICTURES, "window_row", "window_column"),
    **dict.fromkeys(("score", "baseline_score", "completeness_gap"), _PICTURES),
    "agreement": ("measure", "kind", "map", *_EACH, "other_member"),
    "agreement_with_own_start": ("measure", "map", *_EACH),
    "maximising_input": (*_EACH, "class", "row", "column", "channel"),
    **dict.fromkeys(("maximising_score", "maximising_start_score"), (*_EACH, "class")),
    "maximising_logits": (*_EACH, "class", "judge", "logit"),
    "maximising_agreement": ("model", "class", "member", "other_member"),
}


def explain_members(
    networks: Mapping[str, Networks],
    members: Sequence[int],
    dataset: Dataset,
    rows: np.ndarray,
    *,
    steps: int,
    ascent_steps: int,
    seed: int,
    progress: Callable[[int], None],
) -> xr.Dataset:
    """Ask all members of all models, compare their maps, and lay everything out.

    Args:
      networks: label -> members.
      members: M member numbers, none of them diverged.
      dataset: the pictures.
      rows: [P], those of the test pictures that they are asked about.
      steps: points of the integral of integrated gradients.
      ascent_steps: towards a maximising input.
      seed: of the noise that it begins with.
      progress: takes how many parts of the work are done, of 3 for each member of each model.

    Returns:
      Data set with the dimensions model, member, picture, row, column and others.

    Variables:
      score: true class against the mean of the others, trained weights [logit]
      baseline_score: score of the picture of the mean colour [logit]
      saliency: gradient of the score by the normalised pixels [logit per deviation]
      integrated_gradients: share of each pixel in score - baseline_score [logit]
      occlusion: drop of the score when a square is covered with the mean colour [logit]
      completeness_gap: sum of integrated_gradients - (score - baseline_score) [logit]
      score_before: likewise, starting weights [logit]
      baseline_score_before: likewise, starting weights [logit]
      saliency_before: likewise, starting weights [logit per deviation]
      integrated_gradients_before: likewise, starting weights [logit]
      occlusion_before: likewise, starting weights [logit]
      completeness_gap_before: likewise, starting weights [logit]
      picture_pixels: test pictures that were asked about [grey level]
      label: their true class
      picture_example: their index among the test examples of the run
      agreement: mean correlation of the maps of two members
      agreement_with_own_start: of a member's maps before and after training
      maximising_input: input of the largest score of each class, pixels in 0..1
      maximising_score: its class against the others [logit]
      maximising_start_score: of the noise that it began with [logit]
      maximising_logits: that every member (judge) gives to every maximising input [logit]
      maximising_agreement: correlation of the maximising inputs of two members
    """
    pixels, labels = dataset.test.inputs[rows], dataset.test.labels[rows].astype(np.int32)
    mean, std = (np.asarray(dataset.constants[name], np.float64) for name in ("mean", "std"))
    images = normaliser(tuple(mean), tuple(std))(jnp.asarray(pixels))
    num_classes, window = len(dataset.class_names), max(min(pixels.shape[1:3]) // 4, 1)
    cover = {"window": window, "stride": max(window // 4, 1)}
    contrast = jnp.asarray(attribution.against_others(labels, num_classes))
    classes = attribution.against_others(np.arange(num_classes), num_classes)
    bounds: dict[str, Any] = {"rms": CONTRAST, "low": -mean / std, "high": (1.0 - mean) / std}
    ascent = {"steps": ascent_steps, "variation": VARIATION, **bounds}
    noise, shape = jax.random.key(seed, impl="threefry2x32"), images.shape[1:]
    answers, parts = [], itertools.count(1)
    for found in networks.values():
        apply = jax.jit(functools.partial(_apply, found.model, mean, std))
        explain = jax.jit(functools.partial(_explain, apply, steps, cover))
        climb = jax.jit(functools.partial(_climb, apply, ascent))
        told: list[dict[str, Any]] = []
        finals, layers = [], []
        with jax.default_matmul_precision("highest"):
            for member in members:
                start, final = found.moment(member, 0), found.moment(member, 1)
                maps: dict[str, Any] = {}
                for suffix, params in (("", final), ("_before", start)):
                    asked = jax.device_get(explain(params, images, contrast))
                    maps |= {f"{name}{suffix}": values for name, values in asked.items()}
                    progress(next(parts))
                key = jax.random.fold_in(noise, member)
                begin = NOISE * jax.random.normal(key, (num_classes, *shape))
                steep = np.sqrt((maps["saliency"].astype(np.float64) ** 2).sum((1, 2, 3)).mean())
                scaled = jnp.asarray(classes / max(steep, 1e-12), jnp.float32)
                best, score, start_score = jax.device_get(climb(final, begin, scaled))
                progress(next(parts))
                maps["maximising_score"] = score * steep
                maps["maximising_start_score"] = start_score * steep
                told.append(maps | {"maximising_input": best})
                both = jax.tree.map(lambda *leaves: np.stack(leaves), start, final)
                if (layer := first_layer(both, shape, num_classes)) is not None:
                    layers.append(layer[:, :MOST_UNITS])
                finals.append(final)
            answer = {name: np.stack([one[name] for one in told]) for name in told[0]}
            maximised = answer["maximising_input"].reshape(-1, *shape)
            judged = np.stack([np.asarray(apply(params, maximised)) for params in finals], axis=1)
        if layers:
            answer["first_layer"] = np.stack(layers, axis=1)
        colours = answer["maximising_input"] * std.astype(np.float32) + mean.astype(np.float32)
        answer["maximising_input"] = np.clip(colours, 0.0, 1.0)
        answer["maximising_logits"] = judged.reshape(-1, num_classes, *judged.shape[1:])
        answers.append(answer | _compare(answer, labels))
    variables: dict[str, Any] = {
        "picture_pixels": (("picture", "row", "column", "channel"), pixels),
        "label": ("picture", labels),
        "picture_example": ("picture", rows.astype(np.int32)),
    }
    for index, answer in enumerate(answers):
        if (stacked := answer.pop("first_layer", None)) is not None:
            own = (f"{name}_{index}" for name in ("unit", "kernel_row", "kernel_column"))
            variables[f"first_layer_{index}"] = (("moment", "member", *own, "channel"), stacked)
    for name in answers[0]:
        dimensions = _DIMENSIONS[name.removesuffix("_before")]
        values = np.stack([answer[name] for answer in answers], axis=dimensions.index("model"))
        variables[name] = (dimensions, values)
    coordinates = {
        "model": list(networks),
        "member": np.asarray(members),
        "class": list(dataset.class_names),
        "kind": list(KINDS),
        "map": list(METHODS),
        "measure": list(MEASURES),
        "moment": ["before", "after"],
    }
    return described(xr.Dataset(variables, coordinates, cover), explain_members)


def _apply(model: Model, mean: np.ndarray, std: np.ndarray, params: Params, numbers: Any) -> Any:
    """Apply a formula to pictures given by their normalised numbers."""
    scale, offset = (jnp.asarray(255.0 * x, jnp.float32)[None, None, None] for x in (std, mean))
    return model.apply(params, scale * numbers + offset)


def _score(apply: Callable[..., Any], params: Params, contrast: Any, numbers: Any) -> Any:
    return jnp.sum(apply(params, numbers) * contrast, axis=-1)


def _explain(
    apply: Callable[..., Any],
    steps: int,
    cover: Mapping[str, int],
    params: Params,
    images: Any,
    contrast: Any,
) -> dict[str, Any]:
    """Make all maps of one member; the baseline is the mean colour."""
    score, baseline = functools.partial(_score, apply, params, contrast), jnp.zeros_like(images)
    parts = attribution.integrated_gradients(score, images, baseline, steps=steps)
    scores, baseline_scores = score(images), score(baseline)
    return {
        "saliency": attribution.saliency(score, images),
        "integrated_gradients": parts.sum(axis=-1),
        "occlusion": attribution.occlusion(score, images, baseline, **cover),
        "score": scores,
        "baseline_score": baseline_scores,
        "completeness_gap": parts.sum(axis=(1, 2, 3)) - (scores - baseline_scores),
    }


def _climb(
    apply: Callable[..., Any], ascent: Mapping[str, Any], params: Params, begin: Any, contrast: Any
) -> tuple[Any, Any, Any]:
    score = functools.partial(_score, apply, params, contrast)
    return attribution.maximising_input(score, begin, **ascent)


def _compare(answer: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
    """Correlate the maps and inputs of M members, and of each with its own before training."""
    found = []
    for rank, method in itertools.product((True, False), METHODS):
        name = method.replace(" ", "_")
        after, before = (_flat(answer[name + suffix], rank) for suffix in ("", "_before"))
        pairs = ((after, after), (before, before), (after, before))
        alike, starts, crossed = (attribution.map_correlations(*x, rank=rank) for x in pairs)
        same = [attribution.same_picture(x) for x in (alike, starts, crossed)]
        found.append([same[0], attribution.other_picture(alike, labels), *same[1:]])
    values = np.array(found).reshape(len(MEASURES), len(METHODS), len(KINDS) + 1, *same[0].shape)
    inputs = (x.reshape(len(x), 1, -1) for x in answer["maximising_input"].swapaxes(0, 1))
    return {
        "agreement": values[:, :, :-1].swapaxes(1, 2),
        "agreement_with_own_start": np.diagonal(values[:, :, -1], axis1=-2, axis2=-1),
        "maximising_agreement": np.stack(
            [attribution.map_correlations(x, x)[:, 0, :, 0] for x in inputs]
        ),
    }


def _flat(maps: np.ndarray, sizes: bool) -> np.ndarray:
    """Lay each map out as one row: its sizes, saliency's over the colours, or its signed values."""
    if sizes:
        maps = np.abs(maps)
        maps = maps.max(axis=-1) if maps.ndim == 5 else maps
    return maps.reshape(*maps.shape[:2], -1)
