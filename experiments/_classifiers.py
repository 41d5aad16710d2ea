"""The classifiers of the ladder: whatever the origin, each is asked about raw pictures."""

import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from catdog_jax.analysis.ladder import LadderClassifier, distance_from_optimum
from catdog_jax.analysis.layers import in_parts
from catdog_jax.estimators.build import ESTIMATOR, fit_estimator
from catdog_jax.estimators.pca import principal_components, project
from catdog_jax.registry import parse_entry
from catdog_jax.rules.build import RULE, build_rule
from catdog_jax.rules.generating import factors_matrix
from catdog_jax.run import Population
from catdog_jax.types import Dataset, Params


def can_be_asked(rule: str, data: Dataset) -> bool:
    """Return whether the classes are cat and dog, and what the rule reads is known."""
    drawn = "factors" not in RULE.spec(rule).reads or bool(data.train.factors)
    return sorted(_animals(data)) == ["cat", "dog"] and drawn


def _animals(data: Dataset) -> list[str]:
    return [name.casefold().rstrip("s") for name in data.class_names]


def programmed(entry: str, data: Dataset) -> LadderClassifier:
    """Build a rule that can be asked of these pictures, with its logits in their label order."""
    begin = time.perf_counter()
    reads_factors = "factors" in RULE.spec(entry).reads
    shape = (len(data.train.factors),) if reads_factors else data.train.inputs.shape[1:]
    rule = build_rule(entry, shape, difficulty=data.provenance.get("difficulty"))
    seconds = time.perf_counter() - begin
    apply = rule.apply
    if _animals(data)[0] == "dog":

        def apply(params: Params, inputs: Array) -> Array:
            return rule.apply(params, inputs)[:, ::-1]

    params = jax.tree.map(lambda x: x[None], rule.params)
    found = LadderClassifier(entry, "programmed", params, apply, seconds)
    return found._replace(read=factors_matrix) if reads_factors else found


def estimated(entry: str, data: Dataset) -> LadderClassifier:
    """Compute an estimator's classifier from the training pictures."""
    begin, train = time.perf_counter(), data.train
    found = fit_estimator(entry, train.inputs, train.labels, len(data.class_names))
    params = jax.block_until_ready(jax.tree.map(lambda x: jnp.asarray(x)[None], found.params))
    seconds = time.perf_counter() - begin
    return LadderClassifier(entry, ESTIMATOR.spec(entry).origin, params, found.apply, seconds)


def learned(population: Population, data: Dataset, seconds: float) -> LadderClassifier:
    """Take a trained population as a classifier of pictures.

    Args:
      population: its members read pictures, or scores on the principal components of the training
        ones, which are computed again.
      data: the pictures.
      seconds: that training took.
    """
    model, params, alive = population.model, population.params, population.alive
    apply, inputs = model.apply, population.entry["inputs"]
    if inputs["kind"] == "vectors":
        pca = principal_components(data.train.inputs, inputs["shape"][0])
        stacked = jax.tree.map(lambda x: np.broadcast_to(x, (len(alive), *np.shape(x))), pca)
        params = {"model": params, "pca": stacked}

        def apply(params: Params, images: Array) -> Array:
            return model.apply(params["model"], project(params["pca"], images))

    found = LadderClassifier(
        population.label, "learned", params, apply, seconds, len(alive), ~alive
    )
    recipe, train = population.recipe, data.train
    convex = parse_entry(population.entry["entry"] or "own")[0] == "linear"
    plain = recipe.optimizer.split(":")[0] == "sgd" and recipe.weight_decay > 0
    same_loss = recipe.augment == "none" and recipe.label_smoothing == 0 and not recipe.sample
    if not (convex and plain and same_loss and alive.any()) or population.entry["settings"]:
        return found
    assert model.features is not None
    rows = np.asarray(model.features(population.member(0), jnp.asarray(train.inputs))[0][1])
    apart = distance_from_optimum(params.weights, rows, train.labels, recipe.weight_decay)
    return found._replace(from_optimum=np.where(alive, apart, np.nan))


def scores(data: Dataset, components: int) -> Dataset:
    """Replace pictures by their scores on the principal components of the training ones.

    Args:
      data: pictures.
      components: P, how many.

    Returns:
      The same of vectors [N, P] float32.

    Raises:
      InputError: more components than the pictures have.
    """
    reduce = functools.partial(project, principal_components(data.train.inputs, components))
    parts: dict[str, Any] = {"train": data.train, "valid": data.valid, "test": data.test}
    for name, part in parts.items():
        parts[name] = dataclasses.replace(part, inputs=in_parts(reduce, part.inputs))
    provenance = {**data.provenance, "components": components}
    return dataclasses.replace(data, **parts, provenance=provenance, constants={})
