"""Nearest centroid: the average cat, the average dog, and which of the two is closer.

Closer to the average dog means (μ_dog − μ_cat)·x > (|μ_dog|² − |μ_cat|²) / 2, for the |x|² of the
two squared distances cancels: the rule by distances *is* a linear classifier, and ends as one.
"""

from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from catdog_jax.estimators._rows import Labels, Rows
from catdog_jax.models import linear
from catdog_jax.registry import Range
from catdog_jax.types import Classifier, Spec


def class_means(
    images: Num[np.ndarray, "N ..."], labels: Labels, num_classes: int
) -> Float[np.ndarray, "K ..."]:
    """Average the examples of each class.

    Args:
      images: [N, ...] floats.
      labels: [N] in 0..K-1.
      num_classes: K; every class needs an example.

    Returns:
      [K, ...] float64: the average cat, the average dog.
    """
    groups = [images[labels == k] for k in range(num_classes)]
    return np.stack([group.mean(axis=0, dtype=np.float64) for group in groups])


def centroid_distances(
    means: Num[Array, "K ..."] | Num[np.ndarray, "K ..."],
    images: Num[Array, "B ..."] | Num[np.ndarray, "B ..."],
) -> Float[Array, "B K"]:
    """Measure how far each image is from each class's average; the smallest decides.

    Args:
      means: [K, ...], of `class_means`.
      images: [B, ...].

    Returns:
      [B, K] float32, squared Euclidean distance ≥ 0.
    """
    points = linear.flatten(jnp.asarray(images))
    rows = linear.flatten(jnp.asarray(means))
    return jnp.stack([jnp.sum((points - row[None]) ** 2, axis=1) for row in rows], axis=1)


def linear_from_means(means: Float[np.ndarray, "K D"], scale: Any = 1.0) -> linear.LinearParams:
    """Write the rule "the nearest mean" as a linear classifier.

    The logits are μ·x − |μ|²/2, less their average over the classes: that keeps every difference
    of two logits and makes the numbers small.

    Args:
      means: [K, D] float64.
      scale: [D] or a number, divides the squared difference of each feature.

    Returns:
      Float32 weights; the difference of two columns is that of the two means, divided by `scale`.
    """
    centre = means.mean(axis=0)
    weights = (means - centre) / scale
    offsets = -0.5 * np.sum((means - centre) * weights, axis=1) - weights @ centre
    offsets -= offsets.mean()
    return linear.classifier(weights.T, offsets).params


def centroid(rows: Rows, labels: Labels, num_classes: int) -> Classifier:
    """Decide for the class whose average is nearest.

    Args:
      rows: [N, D] float32, pictures in 0..1 or features.
      labels: [N] int32.
      num_classes: K ≥ 2.

    Returns:
      A linear classifier; for two classes the difference of its logits is w·x + b with
      w = μ₁ − μ₀ and b = −(|μ₁|² − |μ₀|²)/2.

    Raises:
      InputError: a class without an example.
    """
    return Classifier(linear_from_means(class_means(rows, labels, num_classes)), linear.apply)


def diagonal_centroid(
    rows: Rows,
    labels: Labels,
    num_classes: int,
    *,
    smoothing: Annotated[float, Range(above=0)] = 1e-9,
) -> Classifier:
    """Decide for the nearest average, each feature measured in units of its own spread.

    Args:
      rows: [N, D] float32, pictures in 0..1 or features.
      labels: [N] int32.
      num_classes: K ≥ 2.
      smoothing: fraction of the largest variance that is added to all, > 0: a pixel that never
        changes within a class would have an infinite weight.

    Returns:
      A linear classifier.

    Raises:
      InputError: a class without an example, or a setting out of range.

    Source:
      Dudoit, Fridlyand, Speed 2002, "Comparison of discrimination methods", sec. 2.2 (DLDA).
    """
    means = class_means(rows, labels, num_classes)
    variance = np.mean((rows - means[labels]) ** 2, axis=0)
    scale = variance + (smoothing * variance.max() or 1.0)  # no feature varies: any unit will do
    return Classifier(linear_from_means(means, scale), linear.apply)


ESTIMATORS = {"centroid": Spec(centroid), "diagonal_centroid": Spec(diagonal_centroid)}
