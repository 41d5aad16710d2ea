"""Ridge regression: least squares with a price on large weights; the last step of many a network.

The penalty is a multiple of the features' mean variance, so it means the same whatever their unit:
the weights minimise  mean |y − x·w − b|² + penalty · (mean variance of a feature) · |w|².
"""

from typing import Annotated

import numpy as np
from jaxtyping import Float

from catdog_jax.estimators._rows import (
    Labels,
    Rows,
    Spectrum,
    fold_indices,
    solve_without,
    spectrum,
)
from catdog_jax.models import linear
from catdog_jax.registry import CHOOSE, Range
from catdog_jax.types import Classifier, Spec

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)


def ridge(
    rows: Rows,
    labels: Labels,
    num_classes: int,
    *,
    penalty: Annotated[float | None, Range(above=0), CHOOSE] = None,
) -> Classifier:
    """Regress the class, one column of 0 and 1 each, on the pixels; the largest prediction decides.

    Features and targets are centred, not standardised; the intercept is not penalised. In float64.
    With `sklearn.linear_model.Ridge`, alpha = N · (mean variance of a feature) · penalty.

    Args:
      rows: [N, D] float32, pictures in 0..1 or features.
      labels: [N] int32.
      num_classes: K ≥ 2.
      penalty: > 0, see the top of this file; None (typed as cv): the one of `PENALTIES` with the
        smallest squared error in 5-fold cross-validation on the training set.

    Returns:
      A linear classifier. Targets of ±1 instead of 0 and 1 would give the same decisions.

    Raises:
      InputError: a setting out of range.

    Source:
      Hoerl, Kennard 1970, "Ridge regression: biased estimation for nonorthogonal problems".
    """
    data, targets = spectrum(rows), np.eye(num_classes)[labels]
    centred = targets - targets.mean(axis=0)
    if penalty is None:
        penalty = PENALTIES[np.argmin(cross_validate(data, centred))]
    shrunk = data.values + penalty * data.values.sum() / len(data.mean)
    weights = data.lift((data.scores.T @ centred) / shrunk[:, None])
    return linear.classifier(weights, targets.mean(axis=0) - data.mean @ weights)


def cross_validate(data: Spectrum, targets: Float[np.ndarray, "N T"]) -> Float[np.ndarray, " P"]:
    """Judge every penalty of `PENALTIES` on examples left out of the fit.

    Args:
      data: of `spectrum`.
      targets: [N, T] of mean 0.

    Returns:
      [P] float64, mean squared error of all held-out examples, in squared units of the targets.
    """
    crossed = data.scores.T @ targets
    squared = np.zeros(len(PENALTIES))
    for held_out in fold_indices(len(targets)):
        x, y = data.scores[held_out], targets[held_out]
        kept = len(targets) - len(held_out)
        x_mean, y_mean = -x.sum(axis=0) / kept, -y.sum(axis=0) / kept  # of the kept examples
        removed = np.concatenate([x, np.sqrt(kept) * x_mean[None]])
        wanted = crossed - x.T @ y - kept * np.outer(x_mean, y_mean)
        unit = kept * data.values.sum() / data.centred.size  # of all examples, fold or not
        for p, penalty in enumerate(PENALTIES):
            weights = solve_without(data.values, removed, penalty * unit, wanted)
            squared[p] += np.sum((y - y_mean - (x - x_mean) @ weights) ** 2)
    return squared / targets.size


ESTIMATORS = {"ridge": Spec(ridge)}
