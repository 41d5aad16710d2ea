"""Quadratic discriminant analysis on principal components: a Gaussian of its own for every class.

With a covariance per class the boundary is a curve of second degree. A covariance of all pixels
cannot be known from so few pictures, so it is that of the leading components, and is mixed with
the covariance that all classes share: pooling 0 is pure QDA, pooling 1 is LDA.
"""

from typing import Annotated, NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float, Num

from catdog_jax.estimators._rows import Labels, Rows, accuracies, spectrum
from catdog_jax.estimators.pca import PCA, leading, project
from catdog_jax.registry import CHOOSE, Range
from catdog_jax.types import Classifier, InputError, Spec

COMPONENTS = (4, 8, 16, 32, 64, 128)
POOLINGS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


class QuadraticParams(NamedTuple):
    """One Gaussian per class, on the scores of principal components.

    Attributes:
      pca: the components.
      means: [K, P].
      whitening: [K, P, P]; (score − mean) @ whitening has the unit covariance within the class.
      offsets: [K], log of the prior less half the log determinant of the covariance.
    """

    pca: PCA
    means: Float[Array, "K P"]
    whitening: Float[Array, "K P P"]
    offsets: Float[Array, " K"]


def apply(params: QuadraticParams, inputs: Num[Array, "B ..."]) -> Float[Array, "B K"]:
    """Compute the log of prior times density, up to a number that all classes share.

    Args:
      params: one Gaussian per class.
      inputs: [B, ...], D numbers each.

    Returns:
      float32 logits; their softmax is the posterior of the model.
    """
    scores = project(params.pca, inputs)
    centred = scores[None] - params.means[:, None]
    whitened = jnp.einsum("kbp,kpq->kbq", centred, params.whitening)
    return params.offsets[None] - 0.5 * jnp.sum(whitened**2, axis=2).T


def qda(
    rows: Rows,
    labels: Labels,
    num_classes: int,
    *,
    components: Annotated[int, Range(0)] = 0,
    pooling: Annotated[float | None, Range(0, 1), CHOOSE] = None,
) -> Classifier:
    """Fit a Gaussian to the principal components of each class; the most probable class decides.

    The covariance of a class is (1 − pooling) · its own + pooling · the shared one, each a sum of
    products divided by the number of examples. With pooling 0 the fit is that of scikit-learn's
    `QuadraticDiscriminantAnalysis` on the scores.

    Args:
      rows: [N, D] float32, pictures in 0..1 or features.
      labels: [N] int32.
      num_classes: K ≥ 2.
      components: P ≥ 1; 0: one of `COMPONENTS` by 5-fold cross-validation on the training set (the
        components themselves come from all of it, without labels).
      pooling: 0..1; None (typed as cv): one of `POOLINGS`, likewise. The best accuracy wins, of
        equals the fewest components, then the largest pooling.

    Returns:
      A quadratic classifier.

    Raises:
      InputError: a class with too few examples, or a setting out of range.

    Source:
      Friedman 1989, "Regularized discriminant analysis", eq. 16.
    """
    data = spectrum(rows)
    few = [c for c in COMPONENTS if c <= len(data.values)] or [len(data.values)]
    counts = [components] if components else few
    poolings = POOLINGS if pooling is None else (pooling,)
    pca = leading(data, max(counts))
    scores = np.asarray(project(pca, rows), np.float64)

    def predict(held_out: np.ndarray, setting: tuple[int, float]) -> np.ndarray | int:
        kept = np.delete(np.arange(len(rows)), held_out)
        count, pooling = setting
        fitted = _gaussians(scores[kept, :count], labels[kept], num_classes, pooling)
        if fitted is None:
            return -1
        means, whitening, offsets = fitted
        z = (scores[held_out, :count] - means[:, None]) @ whitening
        return (offsets[:, None] - 0.5 * np.sum(z**2, axis=2)).argmax(axis=0)

    settings, found = [(c, p) for c in counts for p in poolings], np.zeros(1)
    if len(settings) > 1:
        found = accuracies(predict, settings, labels, num_classes)
    _, fewest, pooling = max((a, -c, p) for a, (c, p) in zip(found, settings, strict=True))
    components = -fewest
    fitted = _gaussians(scores[:, :components], labels, num_classes, pooling)
    if fitted is None:
        raise InputError(
            f"qda: components={components} with pooling={pooling} needs more training examples of "
            f"each class than components, not {np.bincount(labels).min()}; "
            "give fewer components or a larger pooling"
        )
    pca = PCA(pca.mean, pca.components[:, :components], pca.scale[:components])
    params = QuadraticParams(pca, *(jnp.asarray(part, jnp.float32) for part in fitted))
    return Classifier(params, apply)


def _gaussians(
    scores: np.ndarray, labels: np.ndarray, num_classes: int, pooling: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Means, whitening and offsets; None where a covariance cannot be inverted."""
    groups = [scores[labels == k] for k in range(num_classes)]
    counts = np.array([len(group) for group in groups])
    means = np.stack([group.mean(axis=0) for group in groups])
    scatters = [(g - m).T @ (g - m) for g, m in zip(groups, means, strict=True)]
    shared = np.sum(scatters, axis=0) / len(scores)
    whitening, offsets = [], []
    for scatter, count in zip(scatters, counts, strict=True):
        covariance = (1 - pooling) * scatter / count + pooling * shared
        values, vectors = scipy.linalg.eigh(covariance)
        if values[0] <= 1e-10 * values[-1]:
            return None
        whitening.append(vectors / np.sqrt(values))
        offsets.append(np.log(count / len(scores)) - 0.5 * np.sum(np.log(values)))
    return means, np.stack(whitening), np.array(offsets)


ESTIMATORS = {"qda": Spec(qda)}
