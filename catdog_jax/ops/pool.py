"""Pooling by reshape and reduction, or by whole slices.

Reason: the gradient of `lax.reduce_window` max is `select_and_scatter`, which XLA:CPU runs slowly,
five times as slowly as that of a reshape and `jnp.max`. That counts ties by a reduction over every
pixel; by slices, both directions are a few passes over arrays [B, P, Q, C], of which XLA:CPU makes
vector loops. Measured inside a loop, one Zen4 core at about half its speed, 8 images, with a bias
and a relu; µs:

    image, channels   jnp.max   the bias after it   slices
    32×32, 8              262                 259       66
    16×16, 16             125                  77       11
    8×8, 32                57                  43        7
    32×32, 32             878                 610       94

For an H200 the programs by slices are compiled to 10 to 20 % more memory.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def max_pool(
    x: Float[Array, "B H W C"], size: int = 2, by_slices: bool = False
) -> Float[Array, "B P Q C"]:
    """Take the maximum of each `size` × `size` square, squares side by side.

    Rows and columns that do not fill a square are dropped, as `lax.reduce_window` 'VALID' does. The
    gradient of a square whose maximum is reached more than once is split evenly between the ties
    (`reduce_window` gives all of it to the first).

    Args:
      x: images.
      size: side of a square and step between squares, in pixels, ≥ 1.
      by_slices: how it is computed, not what: faster on a CPU. In reverse mode only.

    Returns:
      P = H // size rows, Q = W // size columns.

    Raises:
      ValueError: an image smaller than one square.
    """
    height, width = x.shape[1:3]
    rows, columns = height // size, width // size
    if min(rows, columns) < 1:
        raise ValueError(f"a {height}×{width} image holds no {size}×{size} square")
    x = x[:, : rows * size, : columns * size]
    return _by_slices(x, size) if by_slices else jnp.max(_squares(x, size), axis=(2, 4))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _by_slices(x: Array, size: int) -> Array:
    return functools.reduce(jnp.maximum, _slices(_squares(x, size)))


def _gradient(size: int, saved: tuple[Array, Array], dy: Array) -> tuple[Array]:
    x, y = saved
    squares = _squares(x, size)
    ties = sum((pixels == y).astype(x.dtype) for pixels in _slices(squares))
    y, share = y[:, :, :, None], (dy / ties)[:, :, :, None]
    rows = [jnp.where(squares[:, :, row] == y, share, 0) for row in range(size)]
    # Joined and not compared at once: the gradient of a convolution below needs it in two orders,
    # and what is not joined is computed for each.
    return (jnp.concatenate([x.reshape(*x.shape[:2], 1, -1) for x in rows], 2).reshape(x.shape),)


_by_slices.defvjp(lambda x, size: (y := _by_slices(x, size), (x, y)), _gradient)


def _squares(x: Array, size: int) -> Array:
    """[B, P, size, Q, size, C]."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // size, size, width // size, size, channels)


def _slices(squares: Array) -> list[Array]:
    """Take the first pixel of every square, the second, ..., [B, P, Q, C] each."""
    at = itertools.product(range(squares.shape[2]), range(squares.shape[4]))
    return [squares[:, :, row, :, column] for row, column in at]


def global_average(x: Float[Array, "B H W C"]) -> Float[Array, "B C"]:
    """Average each channel over the whole image."""
    return jnp.mean(x, axis=(1, 2))
