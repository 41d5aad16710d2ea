"""The rungs of the ladder: every classifier, whatever its origin, ready for the same `apply`."""

import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from catdog_jax import registry
from catdog_jax.estimators.build import estimator_spec, estimator_table, fit_estimator
from catdog_jax.estimators.logistic import logistic
from catdog_jax.estimators.pca import PCA, principal_components, project
from catdog_jax.models import linear
from catdog_jax.models.linear import LinearParams
from catdog_jax.rules.generating import factors_matrix
from catdog_jax.types import Classifier, Dataset, Params, RuleSpec, Split
from experiments.shared.jobs import Job, channel_statistics, preprocess, split_list
from experiments.shared.results import Trained

JUDGED_TOGETHER = 250  # examples of one call


class Rung(NamedTuple):
    """One classifier of the ladder, or a population of them.

    Attributes:
      name: its entry, as typed.
      origin: 'programmed', 'estimated' or 'learned'.
      params: weights; of a population, stacked [M, ...].
      apply: (params of one member, inputs) -> logits [B, K].
      num_members: M; 0 where nothing is random, so that there is one.
      diverged: [M] bool, members diverged: a loss that was not finite.
      seconds: what it took to get the params.
      reads: 'images' (floats in 0..1) or 'factors'.
      from_optimum: [M] relative distance of each member's weights from the lowest point of its
        loss; None where that point is not known.
    """

    name: str
    origin: str
    params: Params
    apply: Callable[[Params, Array], Array]
    num_members: int
    diverged: np.ndarray
    seconds: float
    reads: str = "images"
    from_optimum: np.ndarray | None = None

    @property
    def num_params(self) -> int:
        """Numbers that one member holds."""
        total = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.params))
        return total // max(self.num_members, 1)

    def member(self, index: int) -> Params:
        """The params of one member."""
        if self.num_members == 0:
            return self.params
        return jax.tree.map(lambda x: x[index], self.params)

    @property
    def first_alive(self) -> int:
        """The first member that did not diverge; 0 where all did."""
        return int(np.argmin(self.diverged))

    @property
    def is_linear(self) -> bool:
        """Whether it is the linear formula on the pixels, with one set of weights or many."""
        return isinstance(self.params, LinearParams) and self.apply is linear.apply


def rule_table() -> Any:
    """Every registered rule by its name."""
    return registry.table("catdog_jax.rules", "RULES")


def split_entries(flag: str, text: str) -> tuple[str, ...]:
    """Split a list of rungs; empty for an empty text or 'none'.

    Raises:
      InputError: an empty entry, or one given twice.
    """
    return () if text.strip() in ("", "none") else split_list(flag, text)


def check_rules(entries: Sequence[str]) -> None:
    """Refuse rules that do not exist.

    Raises:
      InputError: an unknown name or setting.
    """
    for entry in entries:
        name, settings = registry.parse_entry(entry)
        if name not in rule_table():
            raise registry.unknown("rule", name, rule_table())
        registry.typed_settings(entry, rule_table()[name].build, settings)


def check_estimators(entries: Sequence[str]) -> None:
    """Refuse estimators that do not exist.

    Raises:
      InputError: an unknown name or setting.
    """
    for entry in entries:
        spec = estimator_spec(entry)
        registry.typed_settings(entry, spec.fit, registry.parse_entry(entry)[1])


def cat_and_dog(class_names: Sequence[str]) -> tuple[int, int] | None:
    """Find which class is cat and which is dog; None unless these are the two classes."""
    lower = [name.casefold().rstrip("s") for name in class_names]
    return (lower.index("cat"), lower.index("dog")) if sorted(lower) == ["cat", "dog"] else None


def programmed(entry: str, dataset: Dataset) -> Rung | None:
    """Build a rule; None where it cannot be asked of these pictures."""
    name, settings = registry.parse_entry(entry)
    spec: RuleSpec = rule_table()[name]
    places = cat_and_dog(dataset.class_names)
    if places is None or (spec.reads == "factors" and not dataset.train.factors):
        return None
    begin = time.perf_counter()
    values = registry.typed_settings(entry, spec.build, settings)
    shape = dataset.train.inputs.shape[1:]
    if spec.reads == "factors":
        shape = (len(dataset.train.factors),)
        if "difficulty" in inspect.signature(spec.build).parameters:  # of the drawing, as typed
            values = {"difficulty": dataset.provenance["difficulty"]} | values
    rule: Classifier = spec.build(shape, **values)
    apply = rule.apply
    if places != (0, 1):

        def apply(params: Params, inputs: Array) -> Array:
            return rule.apply(params, inputs)[:, ::-1]

    seconds = time.perf_counter() - begin
    return Rung(entry, "programmed", rule.params, apply, 0, np.zeros(1, bool), seconds, spec.reads)


def estimated(entry: str, dataset: Dataset) -> Rung:
    """Compute an estimator's classifier from the training pictures."""
    begin = time.perf_counter()
    images = pixels(dataset.train.inputs)
    found = fit_estimator(entry, images, dataset.train.labels, len(dataset.class_names))
    jax.block_until_ready(found.params)
    seconds = time.perf_counter() - begin
    origin = estimator_spec(entry).origin
    return Rung(entry, origin, found.params, found.apply, 0, np.zeros(1, bool), seconds)


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
    params, apply = trained.params, job.model.apply
    if pca is not None:
        model = apply

        def apply(params: Params, images: Array) -> Array:
            return model(params["model"], project(params["pca"], images))

        count = len(trained.arrays["diverged_step"])
        stacked = jax.tree.map(lambda x: np.broadcast_to(x, (count, *np.shape(x))), pca)
        params = {"model": params, "pca": stacked}
    elif isinstance(params, LinearParams):
        params, apply = on_pixels(params, job.dataset), linear.apply
    else:
        normalise, model = preprocess(job.dataset), apply

        def apply(params: Params, images: Array) -> Array:
            return model(params, normalise(255.0 * images))

    diverged = trained.arrays["diverged_step"] >= 0
    apart = None
    if smoothing == 0 and not diverged.all():
        apart = _from_optimum(job, jax.tree.map(lambda x: x[~diverged], trained.params))
    if apart is not None:
        apart = np.where(diverged, np.nan, apart[np.cumsum(~diverged).clip(1) - 1])
    return Rung(
        job.label, "learned", params, apply, len(diverged), diverged, seconds, from_optimum=apart
    )


def _from_optimum(job: Job, params: Params) -> np.ndarray | None:
    """Measure how far members of a convex model ended from the lowest point of their loss.

    The loss of the linear model with plain weight decay λ is the mean cross-entropy plus
    λ/2 (|w|² + |b|²). Its lowest point is that of `logistic` with C = 1/(λN), or 2/(λN) for two
    classes, whose one vector stands for two columns of half its length; but for the decay of the
    bias, which is small against the weights and not in that loss.

    Returns:
      [M] ‖w − w*‖ / ‖w*‖; None where the loss is another.
    """
    recipe = job.recipe
    plain = recipe.optimizer.split(":")[0] == "sgd" and recipe.augment == "none"
    if job.model.apply is not linear.apply or not plain or recipe.weight_decay <= 0:
        return None
    train = job.dataset.train
    normalise = preprocess(job.dataset)
    rows = np.asarray(normalise(jnp.asarray(train.inputs))) if normalise else train.inputs
    num_classes = params.weights.shape[2]
    share = 2.0 if num_classes == 2 else 1.0
    found = logistic(
        rows, train.labels, num_classes, C=share / (recipe.weight_decay * len(train.labels))
    )
    best = np.asarray(found.params.weights)
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
        parts = [
            np.asarray(project(pca, jnp.asarray(pixels(split.inputs[rows]))))
            for rows in chunks(len(split.labels))
        ]
        inputs = np.concatenate(parts) if parts else np.zeros((0, components), np.float32)
        return Split(inputs.astype(np.float32), split.labels, split.ids, split.factors)

    provenance = {**dataset.provenance, "components": components}
    parts = {name: reduced(getattr(dataset, name)) for name in ("train", "valid", "test")}
    return pca, Dataset(
        dataset.name,
        train=parts["train"],
        valid=parts["valid"],
        test=parts["test"],
        class_names=dataset.class_names,
        provenance=provenance,
    )


def predictions(rung: Rung, split: Split) -> np.ndarray:
    """Ask every member of a rung about every example.

    Args:
      rung: the classifier.
      split: the examples.

    Returns:
      [M, N] int16 class indices, M = 1 where nothing is random; -1 for a diverged member.
    """
    reads_factors = rung.reads == "factors"
    inputs = factors_matrix(split) if reads_factors else split.inputs
    ask = jax.jit(lambda params, x: jnp.argmax(rung.apply(params, x), axis=-1))
    answers = np.full((max(rung.num_members, 1), len(split.labels)), -1, np.int16)
    for index in np.flatnonzero(~rung.diverged):
        params = rung.member(int(index))
        for rows in chunks(len(split.labels)):
            part = inputs[rows] if reads_factors else pixels(inputs[rows])
            answers[index, rows] = np.asarray(ask(params, part))
    return answers


def pixels(images: np.ndarray) -> np.ndarray:
    """Turn uint8 pictures into float32 in 0..1."""
    return images.astype(np.float32) / np.float32(255)


def chunks(count: int) -> list[slice]:
    """Cut so many examples into parts of nearly one size, at most JUDGED_TOGETHER."""
    num = -(-count // JUDGED_TOGETHER)
    size = -(-count // max(num, 1))
    return [slice(i * size, min((i + 1) * size, count)) for i in range(num) if i * size < count]


__all__ = [
    "Rung",
    "cat_and_dog",
    "check_estimators",
    "check_rules",
    "estimated",
    "estimator_table",
    "learned",
    "pixels",
    "predictions",
    "programmed",
    "rule_table",
    "scores",
    "split_entries",
]
