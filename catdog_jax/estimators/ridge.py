"""Ridge regression: least squares with a price on large weights; the last step of many a network.

The penalty is a multiple of the features' mean variance, so it means the same whatever their unit:
the weights minimise  mean |y − x·w − b|² + penalty · (mean variance of a feature) · |w|².
"""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Num

from catdog_jax.estimators._examples import Examples, Labels, as_rows
from catdog_jax.estimators._spectrum import fold_indices, solve_without, spectrum
from catdog_jax.models import linear
from catdog_jax.registry import CHOOSE, Range, checked
from catdog_jax.types import Classifier, Spec

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)


class RidgeFit(NamedTuple):
    """A fitted ridge regression: prediction = features @ weights + intercept.

    Attributes:
      weights: [D, T] float32.
      intercept: [T] float32.
      penalty: the chosen one, in multiples of the features' mean variance.
      errors: [P] float64, cross-validated mean squared error of each penalty, in squared units of
        the targets; nan where only one was given and there was nothing to choose.
    """

    weights: Float[np.ndarray, "D T"]
    intercept: Float[np.ndarray, " T"]
    penalty: float
    errors: Float[np.ndarray, " P"]


def ridge_regression(
    features: Num[np.ndarray, "N D"] | Num[Array, "N D"],
    targets: Num[np.ndarray, "N T"] | Num[Array, "N T"],
    *,
    penalties: Sequence[float] = PENALTIES,
    folds: int = 5,
) -> RidgeFit:
    """Fit a linear map from features to targets, its penalty chosen by cross-validation.

    Features and targets are centred, not standardised; the intercept is not penalised. In float64.
    With `sklearn.linear_model.Ridge`, alpha = N · (mean variance of a feature) · penalty.

    Args:
      features: [N, D], N ≥ 2.
      targets: [N, T], for instance one column of 0 and 1 per class.
      penalties: P ≥ 1 numbers > 0 to choose from, in multiples of the features' mean variance.
      folds: parts that are left out in turn, 2 or more; at most N are used. Examples are dealt to
        the folds by a fixed seed.

    Returns:
      The fit on all examples with the penalty of the smallest cross-validated error.

    Source:
      Hoerl, Kennard 1970, "Ridge regression: biased estimation for nonorthogonal problems".
    """
    inputs, outputs = np.asarray(features), np.asarray(targets, np.float64)
    grid = np.asarray(penalties, np.float64)
    data = spectrum(inputs)
    output_mean = outputs.mean(axis=0)
    centred = outputs - output_mean
    unit = float(data.values.sum() / inputs.size)  # average variance of one feature
    errors = np.full(grid.size, np.nan)
    if grid.size > 1:
        errors = _cross_validate(data.scores, data.values, centred, grid * unit, folds)
    penalty = float(grid[np.argmin(errors)])
    shrunk = data.values + len(inputs) * unit * penalty
    weights = data.lift((data.scores.T @ centred) / shrunk[:, None])
    intercept = output_mean - data.mean @ weights
    return RidgeFit(weights.astype(np.float32), intercept.astype(np.float32), penalty, errors)


def _cross_validate(
    scores: np.ndarray, values: np.ndarray, centred: np.ndarray, penalties: np.ndarray, folds: int
) -> np.ndarray:
    """Mean squared error of the held-out examples, one per penalty."""
    num_examples = len(scores)
    crossed = scores.T @ centred
    squared = np.zeros(penalties.size)
    for held_out in fold_indices(num_examples, folds):
        x, y = scores[held_out], centred[held_out]
        kept = num_examples - len(held_out)
        x_mean, y_mean = -x.sum(axis=0) / kept, -y.sum(axis=0) / kept  # of the kept examples
        removed = np.concatenate([x, np.sqrt(kept) * x_mean[None]])
        targets = crossed - x.T @ y - kept * np.outer(x_mean, y_mean)
        weights = solve_without(values, removed, kept * penalties, targets)
        squared += np.sum((y - y_mean - (x - x_mean) @ weights) ** 2, axis=(1, 2))
    return squared / centred.size


@checked
def ridge(
    images: Examples,
    labels: Labels,
    num_classes: int,
    *,
    penalty: Annotated[float | None, Range(above=0), CHOOSE] = None,
) -> Classifier:
    """Regress the class, one column of 0 and 1 each, on the pixels; the largest prediction decides.

    Args:
      images: [N, ...] float32, pictures in 0..1 or features.
      labels: [N] int32.
      num_classes: K ≥ 2.
      penalty: > 0, see the top of this file; None (typed as cv): the one of `PENALTIES` with the
        smallest squared error in 5-fold cross-validation on the training set.

    Returns:
      A linear classifier. Targets of ±1 instead of 0 and 1 would give the same decisions.

    Raises:
      InputError: a class without an example, or a setting out of range.
    """
    rows, classes = as_rows(images), np.asarray(labels)
    targets = np.eye(num_classes)[classes]
    fit = ridge_regression(rows, targets, penalties=PENALTIES if penalty is None else (penalty,))
    return linear.classifier(fit.weights, fit.intercept)


ESTIMATORS = {"ridge": Spec(ridge)}
