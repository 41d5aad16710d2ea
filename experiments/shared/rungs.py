"""The rungs of the ladder: every classifier, whatever its origin, ready for the same `apply`."""

import dataclasses
import functools
import inspect
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from catdog_jax import registry
from catdog_jax.estimators.build import estimator_spec, fit_estimator
from catdog_jax.estimators.logistic import logistic
from catdog_jax.estimators.pca import PCA, principal_components, project
from catdog_jax.models import linear
from catdog_jax.models.linear import LinearParams
from catdog_jax.rules.generating import factors_matrix
from catdog_jax.types import Dataset, Params, RuleSpec, Split
from experiments.shared.jobs import Job, channel_statistics, preprocess
from experiments.shared.results import Trained

JUDGED_TOGETHER = 250  # examples of one call


class Rung(NamedTuple):
    """One classifier of the ladder, or a population of them.

    Attributes:
      name: its entry, as typed.
      origin: 'programmed', 'estimated' or 'learned'.
      params: weights, stacked [M, ...]; M = 1 where nothing is random.
      apply: (params of one member, inputs) -> logits [B, K].
      seconds: what it took to get the params.
      num_members: M; 0 where nothing is random.
      diverged: [M] bool, members diverged: a loss that was not finite.
      reads: 'images' (floats in 0..1) or 'factors'.
      from_optimum: [M] relative distance of each member's weights from the lowest point of its
        loss; nan where that point is not known.
    """

    name: str
    origin: str
    params: Params
    apply: Callable[[Params, Array], Array]
    seconds: float
    num_members: int = 0
    diverged: np.ndarray = np.zeros(1, bool)
    reads: str = "images"
    from_optimum: np.ndarray | float = np.nan

    @property
    def num_params(self) -> int:
        """Numbers that one member holds."""
        return sum(np.size(leaf) for leaf in jax.tree.leaves(self.params)) // len(self.diverged)

    def member(self, index: int) -> Params:
        """The params of one member."""
        return jax.tree.map(lambda x: x[index], self.params)

    @property
    def is_linear(self) -> bool:
        """Whether it is the linear formula on the pixels, with one set of weights or many."""
        return isinstance(self.params, LinearParams) and self.apply is linear.apply


def rule_table() -> Any:
    """Every registered rule by its name."""
    return registry.table("catdog_jax.rules", "RULES")


def rule_settings(entry: str) -> tuple[RuleSpec, dict[str, Any]]:
    """Look up a rule and the settings typed for it.

    Raises:
      InputError: an unknown name or setting.
    """
    name, texts = registry.parse_entry(entry)
    if name not in rule_table():
        raise registry.unknown("rule", name, rule_table())
    spec = rule_table()[name]
    return spec, registry.typed_settings(entry, spec.build, texts)


def programmed(entry: str, dataset: Dataset) -> Rung | None:
    """Build a rule; None where it cannot be asked of these pictures."""
    spec, values = rule_settings(entry)
    animals = [name.casefold().rstrip("s") for name in dataset.class_names]
    factors = dataset.train.factors
    if sorted(animals) != ["cat", "dog"] or (spec.reads == "factors" and not factors):
        return None
    begin = time.perf_counter()
    shape = dataset.train.inputs.shape[1:]
    if spec.reads == "factors":
        shape = (len(factors),)
        if "difficulty" in inspect.signature(spec.build).parameters:  # of the drawing, as typed
            values = {"difficulty": dataset.provenance["difficulty"]} | values
    rule = spec.build(shape, **values)
    apply = rule.apply
    if animals[0] == "dog":

        def apply(params: Params, inputs: Array) -> Array:
            return rule.apply(params, inputs)[:, ::-1]

    seconds = time.perf_counter() - begin
    return Rung(entry, "programmed", _one(rule.params), apply, seconds, reads=spec.reads)


def estimated(entry: str, dataset: Dataset) -> Rung:
    """Compute an estimator's classifier from the training pictures."""
    begin = time.perf_counter()
    images = pixels(dataset.train.inputs)
    found = fit_estimator(entry, images, dataset.train.labels, len(dataset.class_names))
    jax.block_until_ready(found.params)
    seconds = time.perf_counter() - begin
    return Rung(entry, estimator_spec(entry).origin, _one(found.params), found.apply, seconds)


def _one(params: Params) -> Params:
    return jax.tree.map(lambda x: jnp.asarray(x)[None], params)


def learned(
    job: Job, trained: Trained, seconds: float, pca: PCA | None, smoothing: float = 0.0
) -> Rung:
    """Take a trained population as a rung that reads pixels in 0..1.

    Args:
      job: the model.
      trained: its members.
      seconds: that training took.
      pca: the principal components whose scores the model reads, None where it reads pixels.
      smoothing: of the labels it was trained on.
    """
    params, model = trained.params, job.model.apply
    apply: Callable[[Params, Array], Array]
    diverged = trained.arrays["diverged_step"] >= 0
    if pca is not None:
        stacked = jax.tree.map(lambda x: np.broadcast_to(x, (len(diverged), *np.shape(x))), pca)
        params = {"model": params, "pca": stacked}

        def apply(params: Params, images: Array) -> Array:
            return model(params["model"], project(params["pca"], images))

    elif isinstance(params, LinearParams):
        params, apply = on_pixels(params, job.dataset), linear.apply
    else:
        normalise = preprocess(job.dataset)

        def apply(params: Params, images: Array) -> Array:
            return model(params, normalise(255.0 * images))

    apart: np.ndarray | float = np.nan
    if smoothing == 0 and not diverged.all():
        apart = np.where(diverged, np.nan, _from_optimum(job, trained.params))
    count = len(diverged)
    return Rung(job.label, "learned", params, apply, seconds, count, diverged, from_optimum=apart)


def _from_optimum(job: Job, params: Params) -> np.ndarray | float:
    """Measure how far members of a convex model ended from the lowest point of their loss.

    The loss of the linear model with plain weight decay λ is the mean cross-entropy plus
    λ/2 (|w|² + |b|²). Its lowest point is that of `logistic` with C = 1/(λN), or 2/(λN) for two
    classes, whose one vector stands for two columns of half its length; but for the decay of the
    bias, which is small against the weights and not in that loss.

    Returns:
      [M] ‖w − w*‖ / ‖w*‖; nan where the loss is another.
    """
    recipe = job.recipe
    plain = recipe.optimizer.split(":")[0] == "sgd" and recipe.augment == "none"
    if job.model.apply is not linear.apply or not plain or recipe.weight_decay <= 0:
        return np.nan
    train, normalise = job.dataset.train, preprocess(job.dataset)
    rows = np.asarray(normalise(jnp.asarray(train.inputs))) if normalise else train.inputs
    num_classes = params.weights.shape[2]
    share = 2.0 if num_classes == 2 else 1.0
    strength = share / (recipe.weight_decay * len(train.labels))
    best = np.asarray(logistic(rows, train.labels, num_classes, C=strength).params.weights)
    with np.errstate(invalid="ignore", over="ignore"):  # of members that diverged
        centred = params.weights - params.weights.mean(axis=2, keepdims=True)
        return np.linalg.norm(centred - best[None], axis=(1, 2)) / np.linalg.norm(best)


def on_pixels(params: LinearParams, dataset: Dataset) -> LinearParams:
    """Rewrite linear weights on normalised pixels as weights on pixels in 0..1.

    Σ w (x − m)/s + b = Σ (w/s) x + (b − Σ w m/s): the same formula with other numbers.

    Args:
      params: weights [M, D, K] and bias [M, K] on pixels of mean 0 and deviation 1.
      dataset: whose channel statistics were used.
    """
    mean, std = (np.asarray(x) for x in channel_statistics(dataset))
    size = params.weights.shape[1] // len(mean)
    weights = params.weights.astype(np.float64) / np.tile(std, size)[None, :, None]
    bias = params.bias - np.einsum("mdk,d->mk", weights, np.tile(mean, size))
    with np.errstate(over="ignore"):  # of members that diverged
        return LinearParams(weights.astype(np.float32), bias.astype(np.float32))


def scores(dataset: Dataset, components: int) -> tuple[PCA, Dataset]:
    """Replace pictures by their scores on the principal components of the training ones.

    Args:
      dataset: of pictures.
      components: P, how many.

    Returns:
      The components, and the data set of vectors [N, P] float32.

    Raises:
      InputError: more components than the pictures have.
    """
    pca = principal_components(pixels(dataset.train.inputs), components)

    def reduced(split: Split) -> Split:
        return dataclasses.replace(split, inputs=in_parts(lambda x: project(pca, x), split.inputs))

    return pca, dataclasses.replace(
        dataset,
        train=reduced(dataset.train),
        valid=reduced(dataset.valid),
        test=reduced(dataset.test),
        provenance={**dataset.provenance, "components": components},
    )


def predictions(rung: Rung, split: Split, num_rows: int) -> np.ndarray:
    """Ask every member of a rung about every example.

    Args:
      rung: the classifier.
      split: the examples.
      num_rows: M of the rung with the most members.

    Returns:
      [num_rows, N] int16 class indices; -1 for a member that diverged or is not there.
    """
    inputs = factors_matrix(split) if rung.reads == "factors" else split.inputs
    ask = jax.jit(lambda params, x: jnp.argmax(rung.apply(params, x), axis=-1))
    answers = np.full((num_rows, len(split.labels)), -1, np.int16)
    for index in np.flatnonzero(~rung.diverged):
        answers[index] = in_parts(functools.partial(ask, rung.member(int(index))), inputs)
    return answers


def pixels(images: np.ndarray) -> np.ndarray:
    """Turn uint8 pictures into float32 in 0..1; leave other inputs alone."""
    return images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images


def in_parts(function: Callable[[Array], Array], inputs: np.ndarray) -> np.ndarray:
    """Join what a function says of parts of inputs, of nearly one size and JUDGED_TOGETHER at most.

    Args:
      function: of pictures with pixels in 0..1, or of other inputs as they are.
      inputs: [N, ...].
    """
    num_parts = max(1, -(-len(inputs) // JUDGED_TOGETHER))
    size = max(1, -(-len(inputs) // num_parts))
    parts = [inputs[i : i + size] for i in range(0, max(1, len(inputs)), size)]
    return np.concatenate([np.asarray(function(jnp.asarray(pixels(part)))) for part in parts])
