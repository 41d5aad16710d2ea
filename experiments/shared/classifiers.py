"""The classifiers of the ladder: whatever the origin, each is asked about raw pictures."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from catdog_jax.estimators.build import ESTIMATOR, fit_estimator
from catdog_jax.estimators.logistic import logistic
from catdog_jax.estimators.pca import PCA, principal_components, project
from catdog_jax.models.linear import LinearParams
from catdog_jax.registry import parse_entry
from catdog_jax.rules.build import RULE, build_rule
from catdog_jax.rules.generating import factors_matrix
from catdog_jax.types import Dataset, Params, Split
from experiments.shared.jobs import Job
from experiments.shared.results import Trained

JUDGED_TOGETHER = 250  # examples of one call


class LadderClassifier(NamedTuple):
    """One classifier of the ladder, or a population of them.

    Attributes:
      name: as typed.
      origin: 'programmed', 'estimated' or 'learned'.
      params: weights, stacked [M, ...]; M = 1 where nothing is random.
      apply: (params of one member, inputs) -> logits [B, K]; inputs are pictures 0..255, or drawing
        factors.
      seconds: what it took to get the params.
      num_members: M; 0 where nothing is random.
      diverged: [M] bool, members diverged: a loss that was not finite.
      reads_factors: whether inputs are drawing factors.
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
    reads_factors: bool = False
    from_optimum: np.ndarray | float = np.nan

    @property
    def num_params(self) -> int:
        """Numbers that one member holds."""
        return sum(np.size(leaf) for leaf in jax.tree.leaves(self.params)) // len(self.diverged)

    def member(self, index: int) -> Params:
        """The params of one member."""
        return jax.tree.map(lambda x: x[index], self.params)


def programmed(entry: str, dataset: Dataset) -> LadderClassifier | None:
    """Build a rule; None where it cannot be asked of these pictures."""
    animals = [name.casefold().rstrip("s") for name in dataset.class_names]
    factors = dataset.train.factors
    reads_factors = "factors" in RULE.spec(entry).reads
    if sorted(animals) != ["cat", "dog"] or (reads_factors and not factors):
        return None
    begin = time.perf_counter()
    shape = (len(factors),) if reads_factors else dataset.train.inputs.shape[1:]
    rule = build_rule(entry, shape, difficulty=dataset.provenance.get("difficulty"))
    apply = rule.apply
    if animals[0] == "dog":

        def apply(params: Params, inputs: Array) -> Array:
            return rule.apply(params, inputs)[:, ::-1]

    seconds = time.perf_counter() - begin
    params = jax.tree.map(lambda x: x[None], rule.params)
    return LadderClassifier(
        entry, "programmed", params, apply, seconds, reads_factors=reads_factors
    )


def estimated(entry: str, dataset: Dataset) -> LadderClassifier:
    """Compute an estimator's classifier from the training pictures."""
    begin, train = time.perf_counter(), dataset.train
    found = fit_estimator(entry, train.inputs, train.labels, len(dataset.class_names))
    params = jax.block_until_ready(jax.tree.map(lambda x: jnp.asarray(x)[None], found.params))
    seconds = time.perf_counter() - begin
    return LadderClassifier(entry, ESTIMATOR.spec(entry).origin, params, found.apply, seconds)


def learned(
    job: Job, trained: Trained, seconds: float, pca: PCA | None, smoothing: float = 0.0
) -> LadderClassifier:
    """Take a trained population as a classifier of pictures.

    Args:
      job: the model.
      trained: its members.
      seconds: that training took.
      pca: the principal components whose scores the model reads, None where it reads pictures.
      smoothing: of the labels it was trained on.
    """
    params, apply = trained.params, job.model.apply
    diverged = trained.arrays["diverged_step"] >= 0
    if pca is not None:
        stacked = jax.tree.map(lambda x: np.broadcast_to(x, (len(diverged), *np.shape(x))), pca)
        params = {"model": params, "pca": stacked}

        def apply(params: Params, images: Array) -> Array:
            return job.model.apply(params["model"], project(params["pca"], images))

    apart: np.ndarray | float = np.nan
    if smoothing == 0 and not diverged.all():
        apart = np.where(diverged, np.nan, _from_optimum(job, trained.params))
    return LadderClassifier(
        job.label,
        "learned",
        params,
        apply,
        seconds,
        len(diverged),
        diverged,
        from_optimum=apart,
    )


def _from_optimum(job: Job, params: Params) -> np.ndarray | float:
    """Measure how far members of a convex model ended from the lowest point of their loss.

    The loss of the linear model with plain weight decay λ is the mean cross-entropy plus
    λ/2 (|w|² + |b|²). Its lowest point is that of `logistic` with C = 1/(λN), or 2/(λN) for two
    classes, whose one vector stands for two columns of half its length; but for the decay of the
    bias, which is small against the weights and not in that loss.

    Returns:
      [M] ‖w − w*‖ / ‖w*‖; nan where the loss is another.
    """
    recipe, train = job.recipe, job.dataset.train
    plain = recipe.optimizer.split(":")[0] == "sgd" and recipe.augment == "none"
    if parse_entry(job.entry)[0] != "linear" or not plain or recipe.weight_decay <= 0:
        return np.nan
    first = jax.tree.map(lambda x: x[0], params)
    assert job.model.features is not None
    rows = np.asarray(job.model.features(first, jnp.asarray(train.inputs))[0][1])
    num_classes = params.weights.shape[2]
    share = 2.0 if num_classes == 2 else 1.0
    strength = share / (recipe.weight_decay * len(train.labels))
    best = np.asarray(logistic(rows, train.labels, num_classes, C=strength).params.weights)
    with np.errstate(invalid="ignore", over="ignore"):  # of members that diverged
        centred = params.weights - params.weights.mean(axis=2, keepdims=True)
        return np.linalg.norm(centred - best[None], axis=(1, 2)) / np.linalg.norm(best)


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
    pca = principal_components(dataset.train.inputs, components)

    def reduced(split: Split) -> Split:
        found = in_parts(functools.partial(project, pca), split.inputs)
        return dataclasses.replace(split, inputs=found)

    return pca, dataclasses.replace(
        dataset,
        train=reduced(dataset.train),
        valid=reduced(dataset.valid),
        test=reduced(dataset.test),
        provenance={**dataset.provenance, "components": components},
        constants={},
    )


def linear_weights(
    classifier: LadderClassifier, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Read the weights of a linear formula of pixels in 0..1, of the first living member.

    Args:
      classifier: any.
      shape: (H, W, C) of a picture.

    Returns:
      [K, H, W, C] the gradient of the logits and [K] those of a black picture; None for a formula
      that is not linear in the pixels.
    """
    params = classifier.params
    if not isinstance(params, LinearParams) or params.weights.shape[1] != np.prod(shape):
        return None
    member = classifier.member(int(np.argmin(classifier.diverged)))
    black = jnp.zeros(shape, jnp.float32)

    def logits(image: Array) -> Array:
        return classifier.apply(member, 255.0 * image[None])[0]

    return np.asarray(jax.jacrev(logits)(black)), np.asarray(logits(black))


def predictions(classifier: LadderClassifier, split: Split, num_rows: int) -> np.ndarray:
    """Ask every member about every example.

    Args:
      classifier: whom.
      split: the examples.
      num_rows: M of the classifier with the most members.

    Returns:
      [num_rows, N] int16 class indices; -1 for a member that diverged or is not there.
    """
    inputs = factors_matrix(split) if classifier.reads_factors else split.inputs
    ask = jax.jit(lambda params, x: jnp.argmax(classifier.apply(params, x), axis=-1))
    answers = np.full((num_rows, len(split.labels)), -1, np.int16)
    for index in np.flatnonzero(~classifier.diverged):
        answers[index] = in_parts(functools.partial(ask, classifier.member(int(index))), inputs)
    return answers


def in_parts(function: Callable[[Array], Array], inputs: np.ndarray) -> np.ndarray:
    """Join what a function says of parts of inputs [N, ...], JUDGED_TOGETHER at most."""
    num_parts = max(1, -(-len(inputs) // JUDGED_TOGETHER))
    parts = np.array_split(inputs, num_parts)
    return np.concatenate([np.asarray(function(jnp.asarray(part))) for part in parts])
