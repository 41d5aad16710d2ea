"""Asks members of a finished run what they see in its pictures."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from catdog_jax.analysis import attribution, first_layer
from catdog_jax.analysis.maximise import Maximised, maximising_input
from catdog_jax.analysis.sketch import sketch
from catdog_jax.models.build import build_model
from catdog_jax.population import Seeds, member_keys, parse_vary
from catdog_jax.store import Run
from catdog_jax.train import normaliser
from catdog_jax.types import Model, Params

NOISE = 0.1  # deviation of the faint noise that maximising inputs begin with
CONTRAST = 1.0  # root mean square of maximising inputs: that of the run's own pictures
VARIATION = 0.015  # price of the total variation, in gradients on the run's own pictures
MOST_UNITS = 8  # of a first layer that are kept


class Maps(NamedTuple):
    """What one member says of P pictures; all in logits of the true class against the others.

    Attributes:
      saliency: [P, H, W, C], per unit of a normalised pixel.
      integrated: [P, H, W], summed over the colours.
      occlusion: [P, h, w].
      score: [P], of the pictures.
      baseline_score: [P], of the picture of the mean colour.
      gap: [P], by how much `integrated` misses score − baseline_score.
    """

    saliency: Any
    integrated: Any
    occlusion: Any
    score: Any
    baseline_score: Any
    gap: Any


class Question(NamedTuple):
    """What is asked of every member.

    Attributes:
      images: [P, H, W, 3] uint8.
      labels: [P], true classes.
      shown: [P], places of the pictures among those that the run keeps.
      steps: points of the integral.
      window, stride: of the occlusion, in pixels.
      ascent_steps: towards a maximising input.
      seed: of the noise that it begins with.
    """

    images: np.ndarray
    labels: np.ndarray
    shown: np.ndarray
    steps: int
    window: int
    stride: int
    ascent_steps: int
    seed: int


class Answers(NamedTuple):
    """What M members of one model answer.

    Attributes:
      after, before: maps, stacked [M, ...], of the final and of the starting weights.
      images: [M, K, H, W, C] in 0..1, maximising inputs of the final weights.
      scores, start_scores: [M, K], of them and of the noise that they began with.
      judged: [M, K, M, K], logits that every member (third) gives to every maximising input.
      layer: [2, M, units, h, w, C], first layer before and after; None where it reads no pixels.
    """

    after: Maps
    before: Maps
    images: np.ndarray
    scores: np.ndarray
    start_scores: np.ndarray
    judged: np.ndarray
    layer: np.ndarray | None


def built(run: Run, label: str) -> Model:
    """Build the formula of a model of a finished run."""
    entries = {part["model"]: part.get("entry", part["model"]) for part in run.manifest["parts"]}
    inputs = run.manifest["inputs"]
    return build_model(entries[label], tuple(inputs["shape"]), len(inputs["class_names"]))


def final_params(run: Run, label: str, model: Model, member: int) -> Params:
    """Give the trained weights of one member."""
    stacked = run.params_like(label, jax.eval_shape(model.init, jax.random.key(0)))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[member]), stacked)


def starting_params(run: Run, label: str, model: Model, member: int) -> Params:
    """Draw the weights that a member began with: they are a function of its key.

    Raises:
      RuntimeError: they are not those that the run began with, going by its sketch of them.
    """
    recipe = run.manifest["recipe"]
    seeds, vary = Seeds(init=int(recipe["init_seed"])), parse_vary(recipe["vary"])
    key = member_keys(seeds, member, member + 1, vary).init
    params = model.init(key[0] if key.ndim else key)
    kept = run.data["sketch"].sel(model=label).values[member, 0]
    if not np.allclose(sketch(params), kept, rtol=1e-4, atol=1e-4 * np.abs(kept).max()):
        raise RuntimeError(
            f"the starting weights of member {member} of {label} are not drawn here as they were "
            "in the run; use the versions of the libraries that its manifest.json names"
        )
    return params


def ask(
    run: Run, label: str, members: Sequence[int], question: Question, progress: Callable[[], None]
) -> Answers:
    """Ask the members of one model.

    Args:
      run: a finished run that was trained on pictures.
      label: one of its models.
      members: M member numbers, none of them diverged.
      question: the pictures and the settings.
      progress: called after each of the 3 · M parts of the work.
    """
    facts = run.manifest["inputs"]
    mean, std = (np.asarray(facts[name], np.float64) for name in ("mean", "std"))
    height, width, channels = facts["shape"]
    num_classes = len(facts["class_names"])
    model = built(run, label)
    images = normaliser(tuple(mean), tuple(std))(jnp.asarray(question.images))
    contrast = attribution.against_others(question.labels, num_classes)
    explain = jax.jit(functools.partial(_explain, model.apply, question=question))
    climb = jax.jit(
        functools.partial(
            maximising_input,
            model.apply,
            steps=question.ascent_steps,
            variation=VARIATION,
            rms=CONTRAST,
            low=((0.0 - mean) / std).astype(np.float32),
            high=((1.0 - mean) / std).astype(np.float32),
        )
    )
    classes = attribution.against_others(np.arange(num_classes), num_classes)
    noise = jax.random.key(question.seed, impl="threefry2x32")
    after: list[Maps] = []
    before: list[Maps] = []
    found: list[Maximised] = []
    finals: list[Params] = []
    firsts: list[Any] = []
    with jax.default_matmul_precision("highest"):
        for member in members:
            start = starting_params(run, label, model, member)
            final = final_params(run, label, model, member)
            for params, kept in ((start, before), (final, after)):
                kept.append(jax.device_get(explain(params, images, jnp.asarray(contrast))))
                progress()
            begin = NOISE * jax.random.normal(
                jax.random.fold_in(noise, member), (num_classes, *images.shape[1:])
            )
            steep = np.sqrt((after[-1].saliency.astype(np.float64) ** 2).sum((1, 2, 3)).mean())
            scaled = jnp.asarray(classes / max(steep, 1e-12), jnp.float32)
            found.append(jax.device_get(climb(final, begin, scaled)))
            found[-1] = found[-1]._replace(
                scores=found[-1].scores * steep, start_scores=found[-1].start_scores * steep
            )
            progress()
            finals.append(final)
            firsts.append(_first_layer([start, final], (height, width, channels), num_classes))
        maximised = jax.tree.map(lambda *leaves: np.stack(leaves), *found)
        seen = jnp.asarray(maximised.images.reshape(-1, *images.shape[1:]))
        judge = jax.jit(model.apply)
        judged = np.stack([np.asarray(judge(params, seen)) for params in finals])
    judged = np.moveaxis(judged.reshape(len(finals), len(members), num_classes, -1), 0, 2)
    pixels = maximised.images * std.astype(np.float32) + mean.astype(np.float32)
    return Answers(
        jax.tree.map(lambda *leaves: np.stack(leaves), *after),
        jax.tree.map(lambda *leaves: np.stack(leaves), *before),
        np.clip(pixels, 0.0, 1.0),
        np.asarray(maximised.scores),
        np.asarray(maximised.start_scores),
        judged,
        None if firsts[0] is None else np.stack(firsts, axis=1),
    )


def _explain(apply, params, images, contrast, *, question: Question) -> Maps:
    baseline = jnp.zeros_like(images)  # after normalising, the mean colour
    parts = attribution.integrated_gradients(
        apply,
        params,
        images,
        baseline,
        contrast,
        steps=question.steps,
        rule="gauss-legendre",
    )
    return Maps(
        attribution.saliency(apply, params, images, contrast),
        parts.sum(axis=-1),
        attribution.occlusion(
            apply,
            params,
            images,
            baseline,
            contrast,
            window=question.window,
            stride=question.stride,
        ),
        attribution.scores(apply, params, images, contrast),
        attribution.scores(apply, params, baseline, contrast),
        attribution.completeness_gap(parts, apply, params, images, baseline, contrast),
    )


def _first_layer(moments: list[Params], shape: tuple[int, int, int], num_classes: int) -> Any:
    """Lay the first layers of one member out as pictures [moments, units, h, w, C]."""
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *moments)
    kernel = first_layer.first_kernel(stacked, shape)
    if kernel is None:
        return None
    two_classes = kernel.ndim == 3 and kernel.shape[2] == 2 == num_classes
    make = first_layer.class_difference if two_classes else first_layer.weight_pictures
    return make(kernel, shape)[:, :MOST_UNITS]
