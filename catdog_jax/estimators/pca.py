"""Principal components: the few directions in which the pictures differ most."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from catdog_jax.estimators._rows import Spectrum, spectrum
from catdog_jax.models import linear
from catdog_jax.types import InputError


class PCA(NamedTuple):
    """The axes of largest variance of a data set; a pytree.

    Attributes:
      mean: [D] float32, the average picture.
      components: [D, P] float32, orthonormal columns, the largest variance first. In each, the
        number of largest magnitude is positive.
      scale: [P] float32, standard deviation of the training set along each, > 0.
    """

    mean: Float[Array, " D"]
    components: Float[Array, "D P"]
    scale: Float[Array, " P"]


def principal_components(images: Num[np.ndarray, "N ..."], count: int) -> PCA:
    """Find the directions in which the examples differ most. Deterministic; float64 inside.

    Args:
      images: [N, ...] floats.
      count: P, 1 ≤ P ≤ the rank of the data, which is at most min(N − 1, D).

    Returns:
      The axes.

    Raises:
      InputError: the data have no `count` directions.

    Source:
      Pearson 1901; Hotelling 1933.
    """
    return leading(spectrum(images.reshape(len(images), -1)), count)


def leading(data: Spectrum, count: int) -> PCA:
    """Take the first axes of a spectrum; see `principal_components`."""
    rank = len(data.values)
    if not 1 <= count <= rank:
        raise InputError(
            f"components={count} is not allowed; {len(data.scores)} training examples of "
            f"{data.mean.size} numbers differ in {rank} directions: give 1..{rank}"
        )
    components = data.lift(np.eye(rank, count))
    largest = np.abs(components).argmax(axis=0)
    components *= np.sign(components[largest, np.arange(count)])
    scale = np.sqrt(data.values[:count] / len(data.scores))
    return PCA(*(jnp.asarray(part, jnp.float32) for part in (data.mean, components, scale)))


def project(
    pca: PCA, images: Num[Array, "B ..."] | Num[np.ndarray, "B ..."]
) -> Float[Array, "B P"]:
    """Describe images by their scores: how many standard deviations along each component.

    Args:
      pca: of `principal_components`.
      images: [B, ...], D numbers each.

    Returns:
      [B, P] float32; over the training set each column has mean 0 and variance 1.
    """
    centred = linear.flatten(jnp.asarray(images)) - pca.mean[None]
    return (centred @ pca.components) / pca.scale[None]
