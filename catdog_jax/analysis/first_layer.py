"""First-layer weights as pictures."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float


def first_layer(
    params: Any, image_shape: tuple[int, int, int], num_classes: int
) -> Float[np.ndarray, "M units h w C"] | None:
    """Find the weights that read the picture itself, told by their shape, as pictures.

    Args:
      params: pytree of arrays [M, ...].
      image_shape: (H, W, C) of the inputs.
      num_classes: K.

    Returns:
      [M, units, h, w, C] of the first leaf that is a dense layer [M, H·W·C, units] or a convolution
      [M, h, w, C, units]; of a linear model of two classes their difference, one unit; None where
      there is no such leaf.
    """
    for leaf in jax.tree.leaves(params):
        dense = leaf.ndim == 3 and leaf.shape[1] == np.prod(image_shape)
        if dense and leaf.shape[2] == 2 == num_classes:
            return class_difference(np.asarray(leaf), image_shape)
        if dense or (leaf.ndim == 5 and leaf.shape[3] == image_shape[2]):
            return weight_pictures(np.asarray(leaf), image_shape)
    return None


def weight_pictures(
    kernel: Float[np.ndarray, "M ..."], image_shape: tuple[int, int, int]
) -> Float[np.ndarray, "M units h w C"]:
    """Lay the kernel of a first layer out as pictures, one for each unit.

    Args:
      kernel: [M, H·W·C, units] of a dense layer, or [M, h, w, C, units] of a convolution.
      image_shape: (H, W, C) of the inputs.

    Returns:
      [M, units, h, w, C], the weights unchanged.

    Raises:
      ValueError: the kernel is of neither form.
    """
    if kernel.ndim == 3 and kernel.shape[1] == np.prod(image_shape):
        kernel = kernel.reshape(len(kernel), *image_shape, -1)
    elif kernel.ndim != 5 or kernel.shape[3] != image_shape[2]:
        raise ValueError(f"kernel {kernel.shape} does not read images {image_shape}")
    return np.moveaxis(kernel, -1, 1)


def class_difference(
    kernel: Float[np.ndarray, "M D 2"], image_shape: tuple[int, int, int]
) -> Float[np.ndarray, "M 1 H W C"]:
    """Show a linear classifier of two classes as the one picture that decides.

    Args:
      kernel: [M, H·W·C, 2].
      image_shape: (H, W, C) of the inputs.

    Returns:
      [M, 1, H, W, C], weights of class 1 minus weights of class 0: a pixel that is brighter where
      the picture is positive speaks for class 1.
    """
    with np.errstate(invalid="ignore"):  # of members that diverged
        return weight_pictures(kernel[..., 1:] - kernel[..., :1], image_shape)
