"""First-layer weights as pictures."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float


def first_layer(
    params: Any, image_shape: tuple[int, ...], num_classes: int
) -> Float[np.ndarray, "M units h w C"] | None:
    """Find the weights that read the picture itself, told by their shape, as pictures.

    Args:
      params: pytree of arrays [M, ...].
      image_shape: (H, W, C) of the inputs.
      num_classes: K.

    Returns:
      [M, units, h, w, C], the weights of the first leaf that is a dense layer [M, H·W·C, units] or
      a convolution [M, h, w, C, units]; None where there is no such leaf. Of a linear model of two
      classes one unit, the weights of class 1 minus those of class 0: a pixel that is brighter
      where the picture is positive speaks for class 1.
    """
    for leaf in jax.tree.leaves(params):
        kernel = np.asarray(leaf)
        if kernel.ndim == 3 and kernel.shape[1] == np.prod(image_shape):
            if kernel.shape[2] == 2 == num_classes:
                with np.errstate(over="ignore", invalid="ignore"):  # of members that diverged
                    kernel = kernel[..., 1:] - kernel[..., :1]
            kernel = kernel.reshape(len(kernel), *image_shape, -1)
        elif kernel.ndim != 5 or kernel.shape[3] != image_shape[2]:
            continue
        return np.moveaxis(kernel, -1, 1)
    return None
