"""Linear discriminant analysis: the nearest centroid, with distances measured by the data's spread.

Directions in which the pictures of one class differ a lot count less. With as many pixels as
pictures that spread is badly known, so it is mixed with a round one: shrinkage 0 trusts the data,
shrinkage 1 is the nearest centroid.
"""

from typing import Annotated

import numpy as np

from catdog_jax.estimators._rows import Labels, Rows, Spectrum, accuracies, solve_without, spectrum
from catdog_jax.models import linear
from catdog_jax.registry import CHOOSE, Range
from catdog_jax.types import Classifier, Spec

SHRINKAGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)


def lda(
    rows: Rows,
    labels: Labels,
    num_classes: int,
    *,
    shrinkage: Annotated[float | None, Range(above=0, high=1), CHOOSE] = None,
) -> Classifier:
    """Fit Gaussians of one shared covariance; the most probable class decides.

    The covariance is (1 − shrinkage) · S + shrinkage · (trace S / D) · 1, S the covariance within
    classes divided by N: the convention of scikit-learn's `LinearDiscriminantAnalysis(
    solver="lsqr", shrinkage=…)`. The prior of a class is its share of the training set.

    Args:
      rows: [N, D] float32, pictures in 0..1 or features; any D, N.
      labels: [N] int32.
      num_classes: K ≥ 2.
      shrinkage: 0 < s ≤ 1; None (typed as cv): the one of `SHRINKAGES` with the best accuracy in
        5-fold cross-validation on the training set, of equals the largest.

    Returns:
      A linear classifier; a softmax of its logits is the posterior of the model.

    Raises:
      InputError: a class with too few examples, or a setting out of range.

    Source:
      Fisher 1936; Friedman 1989, "Regularized discriminant analysis", eq. 18.
    """
    data, none = spectrum(rows), np.array([], int)

    def predict(held_out: np.ndarray, shrinkage: float) -> np.ndarray:
        weights, bias = _discriminants(data, labels, num_classes, held_out, shrinkage)
        return (data.scores[held_out] @ weights + bias).argmax(axis=1)

    if shrinkage is None:
        found = accuracies(predict, SHRINKAGES, labels, num_classes)
        shrinkage = max(zip(found, SHRINKAGES, strict=True))[1]
    weights, bias = _discriminants(data, labels, num_classes, none, shrinkage)
    lifted = data.lift(weights)
    return linear.classifier(lifted, bias - data.mean @ lifted)


def _discriminants(
    data: Spectrum, labels: np.ndarray, num_classes: int, held_out: np.ndarray, shrinkage: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weights [R, K] and bias [K] on the scores."""
    kept = np.eye(num_classes)[labels]
    kept[held_out] = 0.0
    counts = kept.sum(axis=0)
    means = (kept.T @ data.scores) / counts[:, None]
    # The scatter within classes is the scatter of all, less the held-out rows and the means.
    removed = np.concatenate([data.scores[held_out], np.sqrt(counts)[:, None] * means])
    total = counts.sum()
    spread = max(data.values.sum() - np.sum(removed**2), 0.0) / len(data.mean)
    spread = spread or 1.0  # no class varies at all: any unit will do
    middle = means.mean(axis=0)
    centred = means - middle  # the same for all classes: keeps the logits small
    share = 1 - shrinkage
    weights = total * solve_without(
        share * data.values, np.sqrt(share) * removed, shrinkage * spread, centred.T
    )
    halfway = (middle + 0.5 * centred).T
    bias = -np.sum(halfway * weights, axis=0) + np.log(counts / total)
    return weights, bias - bias.mean()


ESTIMATORS = {"lda": Spec(lda)}
