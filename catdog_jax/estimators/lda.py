"""Linear discriminant analysis: the nearest centroid, with distances measured by the data's spread.

Directions in which the pictures of one class differ a lot count less. With as many pixels as
pictures that spread is badly known, so it is mixed with a round one: shrinkage 0 trusts the data,
shrinkage 1 is the nearest centroid.
"""

from typing import Annotated

import numpy as np
from jaxtyping import Float, Int

from catdog_jax.estimators._examples import Examples, Labels, as_rows, check_counts
from catdog_jax.estimators._spectrum import Spectrum, fold_indices, solve_without, spectrum
from catdog_jax.models import linear
from catdog_jax.registry import CHOOSE, Range, checked
from catdog_jax.types import Classifier, Spec

SHRINKAGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
FOLDS = 5


@checked
def lda(
    images: Examples,
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
      images: [N, ...] float32, pictures in 0..1 or features; any D, N.
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
    rows, classes = as_rows(images), np.asarray(labels)
    data = spectrum(rows)
    if shrinkage is None:
        check_counts("lda", classes, num_classes, fewest=2)
        accuracies = cross_validate(data, classes, num_classes)
        shrinkage = max(zip(accuracies, SHRINKAGES, strict=True))[1]
    none = np.array([], int)
    weights, biases = _discriminants(data, classes, num_classes, none, np.array([shrinkage]))
    lifted = data.lift(weights[0])
    return linear.classifier(lifted, biases[0] - data.mean @ lifted)


def cross_validate(
    data: Spectrum, labels: Int[np.ndarray, " N"], num_classes: int
) -> Float[np.ndarray, " S"]:
    """Judge every shrinkage of `SHRINKAGES` on examples left out of the fit.

    Args:
      data: of `spectrum`.
      labels: [N]; every class needs two examples.
      num_classes: K.

    Returns:
      [S] float64, accuracy over all held-out examples.
    """
    right, shrinkages = np.zeros(len(SHRINKAGES)), np.array(SHRINKAGES)
    for held_out in fold_indices(len(labels), FOLDS, labels):
        weights, bias = _discriminants(data, labels, num_classes, held_out, shrinkages)
        logits = data.scores[held_out] @ weights + bias[:, None]
        right += np.sum(logits.argmax(axis=2) == labels[held_out], axis=1)
    return right / len(labels)


def _discriminants(
    data: Spectrum,
    labels: np.ndarray,
    num_classes: int,
    held_out: np.ndarray,
    shrinkages: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights [S, R, K] and bias [S, K] on the scores, for shrinkages [S] below 1, or one of 1."""
    kept = np.eye(num_classes)[labels]
    kept[held_out] = 0.0
    counts = kept.sum(axis=0)
    means = (kept.T @ data.scores) / counts[:, None]
    # The scatter within classes is the scatter of all, less the held-out rows and the means.
    removed = np.concatenate([data.scores[held_out], np.sqrt(counts)[:, None] * means])
    total, size = counts.sum(), data.features.shape[1]
    spread = max(data.values.sum() - np.sum(removed**2), 0.0) / (total * size)
    spread = spread or 1.0  # no class varies at all: any unit will do
    middle = means.mean(axis=0)
    centred = means - middle  # the same for all classes: keeps the logits small
    if shrinkages[0] == 1:
        weights = centred.T[None] / spread
    else:
        penalties = total * spread * shrinkages / (1 - shrinkages)
        solved = solve_without(data.values, removed, penalties, centred.T)
        weights = solved * (total / (1 - shrinkages))[:, None, None]
    halfway = (middle + 0.5 * centred).T
    bias = -np.sum(halfway * weights, axis=1) + np.log(counts / total)
    return weights, bias - bias.mean(axis=1, keepdims=True)


ESTIMATORS = {"lda": Spec(lda)}
