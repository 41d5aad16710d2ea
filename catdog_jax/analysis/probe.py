"""What can be read off a layer by a straight line? Linear probes, their penalty cross-validated.

A probe is a ridge regression from the features of one layer to something known of the examples:
their class, or how their pictures were drawn. What it finds is there for the next layer to use by
one matrix; what it does not find may still be there, folded up.

Source: Alain, Bengio 2016, "Understanding intermediate layers using linear classifier probes".
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Num

from catdog_jax.analysis.sketch import sketch
from catdog_jax.estimators._rows import spectrum

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


class Probe(NamedTuple):
    """A fitted probe: prediction = features @ weights + intercept.

    Attributes:
      weights: [D, T] float64.
      intercept: [T] float64.
      penalty: [T] the chosen ones, in multiples of the features' mean variance.
    """

    weights: Float[np.ndarray, "D T"]
    intercept: Float[np.ndarray, " T"]
    penalty: Float[np.ndarray, " T"]

    def predict(self, features: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N T"]:
        """Predict the targets of other examples."""
        return features.astype(np.float64) @ self.weights + self.intercept


def fit_probe(
    features: Float[np.ndarray, "N D"],
    targets: Num[np.ndarray, "N T"],
    groups: Int[np.ndarray, " T"],
) -> Probe:
    """Fit a linear probe; each group of targets gets the penalty that predicts it best.

    A penalty p minimises  mean |y − x·w − b|² + p · (mean variance of a feature) · |w|², as in
    `estimators.ridge`; with `sklearn.linear_model.Ridge`, alpha = N · (mean variance) · p. It is
    chosen by leaving one example out at a time, which for ridge regression needs no refitting: the
    error without example n is its residual over 1 − hₙ, hₙ its leverage. Unlike there, targets of
    many kinds may be fitted at once, each with a penalty of its own. Time grows as N D² + D³.

    Args:
      features: [N, D], N ≥ 3, finite.
      targets: [N, T], finite: a column of 0 and 1 per class, or standardised factors.
      groups: [T]; targets of one number share a penalty of PENALTIES, that of the smallest summed
        error.

    Returns:
      The probe. Features that never vary get no weight.

    Source:
      Allen 1974, "The relationship between variable selection and data augmentation and a method
      for prediction" (PRESS); Golub, Heath, Wahba 1979, eq. 1.6.
    """
    data, outputs, grid = spectrum(features), np.asarray(targets, np.float64), np.array(PENALTIES)
    mean = outputs.mean(axis=0)
    outputs = outputs - mean
    crossed = data.scores.T @ outputs
    shrunk = data.values[:, None] + grid * data.values.sum() / features.shape[1]  # [R, P]
    # One row of squared left-out errors per penalty.
    leverage = 1 / len(features) + (data.scores**2) @ (1 / shrunk)
    errors = np.empty((grid.size, outputs.shape[1]))
    for p in range(grid.size):
        residual = outputs - data.scores @ (crossed / shrunk[:, p, None])
        errors[p] = np.sum((residual / (1 - leverage[:, p, None])) ** 2, axis=0)
    summed = np.stack([errors[:, groups == g].sum(axis=1) for g in groups], axis=1)
    chosen = np.argmin(summed, axis=0)
    weights = data.lift(crossed / shrunk[:, chosen])
    return Probe(weights, mean - data.mean @ weights, grid[chosen])


def r_squared(
    predictions: Float[np.ndarray, "N T"], targets: Num[np.ndarray, "N T"]
) -> Float[np.ndarray, " T"]:
    """Measure the share of each target's variance that is predicted.

    Args:
      predictions, targets: [N, T].

    Returns:
      [T] float64: 1 − Σ(y − ŷ)² / Σ(y − mean y)², ≤ 1; below 0 where the targets' own mean would
      have done better; nan where a target does not vary.
    """
    wanted = np.asarray(targets, np.float64)
    missed = np.sum((wanted - predictions) ** 2, axis=0)
    total = np.sum((wanted - wanted.mean(axis=0)) ** 2, axis=0)
    return np.where(total > 0, 1.0 - missed / np.where(total > 0, total, 1.0), np.nan)


def reduced(features: Float[Array, "B ..."], size: int) -> Float[Array, "B _"]:
    """Flatten a layer, and where it has more than `size` features, mix them down to so many.

    The mixing is one count sketch for all layers and networks: each feature is added to one of
    `size` sums with a random sign. It looks at no data, keeps inner products on average, and gives
    every layer, the pixels included, as many numbers to be read from.

    Args:
      features: [B, ...], one layer.
      size: most features to keep, ≥ 1.

    Returns:
      [B, min(D, size)] float32.

    Source:
      Clarkson, Woodruff 2013, "Low rank approximation and regression in input sparsity time".
    """
    flat = features.reshape(features.shape[0], -1)
    if flat.shape[1] <= size:
        return flat.astype(np.float32)
    return jax.vmap(lambda row: sketch(row, size=size))(flat)
