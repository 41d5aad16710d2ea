"""Asks members what they see in pictures, before and after training, and compares their maps."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from catdog_jax.analysis import attribution
from catdog_jax.analysis.first_layer import first_layer
from catdog_jax.analysis.labelled import described
from catdog_jax.analysis.layers import Networks
from catdog_jax.analysis.maximise import maximising_input
from catdog_jax.models.build import normaliser
from catdog_jax.types import Params

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


class Pictures(NamedTuple):
    """What members are asked about.

    Attributes:
      images: [P, H, W, C] uint8.
      labels: [P] int32, their true classes.
      rows: [P] int32, their places among the test examples.
      mean, std: [C] of the training pictures, pixels in 0..1.
      class_names: K names.
    """

    images: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    mean: Sequence[float]
    std: Sequence[float]
    class_names: Sequence[str]


def explain_members(
    networks: Mapping[str, Networks],
    members: Sequence[int],
    pictures: Pictures,
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
      pictures: what they are asked about.
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
    counted = itertools.count(1)
    answers = [
        ask(found, members, pictures, steps, ascent_steps, seed, lambda: progress(next(counted)))
        for found in networks.values()
    ]
    variables: dict[str, Any] = {
        "picture_pixels": (("picture", "row", "column", "channel"), pictures.images),
        "label": (("picture",), pictures.labels),
        "picture_example": (("picture",), pictures.rows),
    }
    for index, answer in enumerate(answers):
        if "first_layer" in answer:
            own = (f"{name}_{index}" for name in ("unit", "kernel_row", "kernel_column"))
            layer = np.moveaxis(answer.pop("first_layer"), 1, 0)
            variables[f"first_layer_{index}"] = (("moment", "member", *own, "channel"), layer)
    for name in answers[0]:
        dimensions = _DIMENSIONS[name.removesuffix("_before")]
        values = np.stack([answer[name] for answer in answers], axis=dimensions.index("model"))
        variables[name] = (dimensions, values)
    coordinates = {
        "model": list(networks),
        "member": np.asarray(members),
        "class": list(pictures.class_names),
        "kind": list(KINDS),
        "map": list(METHODS),
        "measure": list(MEASURES),
        "moment": ["before", "after"],
    }
    return described(
        xr.Dataset(variables, coordinates, _cover(pictures.images.shape)), explain_members
    )


def _cover(shape: Sequence[int]) -> dict[str, Any]:
    """Choose window and stride of the occlusion, in pixels."""
    window = max(min(shape[1:3]) // 4, 1)
    return {"window": window, "stride": max(window // 4, 1)}


def ask(
    found: Networks,
    members: Sequence[int],
    pictures: Pictures,
    steps: int,
    ascent_steps: int,
    seed: int,
    progress: Callable[[], None],
) -> dict[str, np.ndarray]:
    """Ask the members of one model.

    Args:
      found: the model.
      members, pictures, steps, ascent_steps, seed: see `explain_members`.
      progress: called after each of the 3 · M parts of the work.

    Returns:
      What the results hold of the model, the first layers as [M, 2, units, h, w, C].
    """
    mean, std = (np.asarray(x, np.float64) for x in (pictures.mean, pictures.std))
    num_classes, model, labels = len(pictures.class_names), found.model, pictures.labels
    images = normaliser(tuple(mean), tuple(std))(jnp.asarray(pictures.images))
    scale, offset = (jnp.asarray(255.0 * x, jnp.float32)[None, None, None] for x in (std, mean))

    def apply(params: Params, numbers: Any) -> Any:
        """Apply the formula to pictures given by their normalised numbers."""
        return model.apply(params, scale * numbers + offset)

    contrast = jnp.asarray(attribution.against_others(labels, num_classes))
    classes = attribution.against_others(np.arange(num_classes), num_classes)
    noise = jax.random.key(seed, impl="threefry2x32")

    @jax.jit
    def explain(params: Params, images: Any) -> dict[str, Any]:
        baseline = jnp.zeros_like(images)  # after normalising, the mean colour
        asked = (apply, params, images)
        parts = attribution.integrated_gradients(
            *asked, baseline, contrast, steps=steps, rule="gauss-legendre"
        )
        return {
            "saliency": attribution.saliency(*asked, contrast),
            "integrated_gradients": parts.sum(axis=-1),
            "occlusion": attribution.occlusion(*asked, baseline, contrast, **_cover(images.shape)),
            "score": attribution.scores(*asked, contrast),
            "baseline_score": attribution.scores(apply, params, baseline, contrast),
            "completeness_gap": attribution.completeness_gap(parts, *asked, baseline, contrast),
        }

    low, high = (((pixel - mean) / std).astype(np.float32) for pixel in (0.0, 1.0))
    held: dict[str, Any] = {"variation": VARIATION, "rms": CONTRAST, "low": low, "high": high}
    climb = jax.jit(functools.partial(maximising_input, apply, steps=ascent_steps, **held))
    told: list[dict[str, Any]] = []
    maximised, finals = [], []
    with jax.default_matmul_precision("highest"):
        for member in members:
            start, final = found.params(member, 0), found.params(member, 1)
            maps = jax.device_get(explain(final, images))
            progress()
            before = jax.device_get(explain(start, images))
            progress()
            begin = NOISE * jax.random.normal(
                jax.random.fold_in(noise, member), (num_classes, *images.shape[1:])
            )
            steep = np.sqrt((maps["saliency"].astype(np.float64) ** 2).sum((1, 2, 3)).mean())
            scaled = jnp.asarray(classes / max(steep, 1e-12), jnp.float32)
            best = jax.device_get(climb(final, begin, scaled))
            progress()
            maps |= {f"{name}_before": values for name, values in before.items()}
            maps["maximising_score"] = best.scores * steep
            maps["maximising_start_score"] = best.start_scores * steep
            layer = _first_layer([start, final], images.shape[1:], num_classes)
            told.append(maps if layer is None else maps | {"first_layer": layer})
            maximised.append(best.images)
            finals.append(final)
        judge = jax.jit(apply)
        seen = jnp.asarray(np.concatenate(maximised))
        judged = np.stack([np.asarray(judge(params, seen)) for params in finals], axis=1)
    answer = {name: np.stack([one[name] for one in told]) for name in told[0]}
    pixels = np.stack(maximised) * std.astype(np.float32) + mean.astype(np.float32)
    answer["maximising_input"] = np.clip(pixels, 0.0, 1.0)
    answer["maximising_logits"] = judged.reshape(len(members), num_classes, *judged.shape[1:])
    flat = answer["maximising_input"].reshape(len(members), num_classes, -1)
    answer["maximising_agreement"] = np.stack(
        [attribution.map_correlations(flat[:, [k]])[:, 0, :, 0] for k in range(num_classes)]
    )
    return answer | _compare(answer, labels)


def _first_layer(moments: list[Params], shape: Any, num_classes: int) -> Any:
    """Lay the first layers of one member out as pictures [moments, units, h, w, C]."""
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *moments)
    pictures = first_layer(stacked, shape, num_classes)
    return None if pictures is None else pictures[:, :MOST_UNITS]


def _compare(answer: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
    """Correlate the maps of M members, and of each with its own before training."""
    num = len(answer["score"])
    agreement = np.empty((len(MEASURES), len(KINDS), len(METHODS), num, num))
    own = np.empty((len(MEASURES), len(METHODS), num))
    for i, rank in enumerate((True, False)):
        for j, method in enumerate(METHODS):
            name = method.replace(" ", "_")
            after, before = (_flat(answer[name + suffix], rank) for suffix in ("", "_before"))
            correlations = attribution.map_correlations(after, rank=rank)
            agreement[i, 0, j] = attribution.same_picture(correlations)
            agreement[i, 1, j] = attribution.other_picture(correlations, labels)
            starts = attribution.map_correlations(before, rank=rank)
            agreement[i, 2, j] = attribution.same_picture(starts)
            crossed = attribution.map_correlations(after, before, rank=rank)
            own[i, j] = np.diagonal(attribution.same_picture(crossed))
    return {"agreement": agreement, "agreement_with_own_start": own}


def _flat(maps: np.ndarray, sizes: bool) -> np.ndarray:
    """Lay each map out as one row: its sizes, saliency's over the colours, or its signed values."""
    if sizes:
        maps = np.abs(maps)
        maps = maps.max(axis=-1) if maps.ndim == 5 else maps
    return maps.reshape(*maps.shape[:2], -1)
