"""Convolution of 3×3 windows by Winograd's F(4, 3) along rows: half the multiplications.

Four rows of the output are made of six convolutions of a 1×3 window in the place of twelve, between
sums of rows that cost little. XLA:CPU gives a convolution to its fast kernel only where more than
16 channels meet; where fewer do, neighbouring columns of the output are made as one of more
channels, although the wider window multiplies by zeros.

Measured inside a loop (µs for 8 images, one Zen4 core at about half its speed, jax 0.10.2; forward,
gradient of inputs, gradient of kernel; 'direct' and 'wide' are `ops.conv`'s):

    channels (size)     direct                 wide                   winograd
    8→8     (16×16)      207    206    180       130    119    105       84     78     84
    8→16    (16×16)      218    275    187       133    196    153      113    147    105
    16→16   (32×32)    1,150  1,055    995       725    721  1,270      557    562    757
    16→16   (8×8)         67     60     72        51     52     58       46     53     45
    16→32   (8×8)         67     67     88        66     67     89       50     59     57
    32→32   (16×16)      705    707  1,153         as direct            415    416    530
    32→32   (4×4)         56     55     67         as direct             48     57     64
    32→64   (16×16)    1,352  1,382  2,800         as direct            753    825    985
    64→64   (8×8)        527    527    650         as direct            293    389    333
    64→128  (8×8)      1,436  1,425  1,943         as direct            755  1,258    773

In whole networks of few channels the twelve sums around each layer take more than this saves: the
residual network 8-16-32 trained slower with it than 'direct', so there `fits` says no. Against
float64 the error, relative to the largest value, is up to 3.7e-6 (float32 by 'direct': 1.4e-6).

Source: Winograd 1980; Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks", sec.
4.1, along one axis; the matrices are theirs for F(4, 3).
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

TILE = 4  # rows of the output that are made together
_PADS = (0, 0), (1, 1)


def _matrix(text: str) -> np.ndarray:
    return np.array([row.split() for row in text.split(",")], np.float64)


_OF_INPUT = _matrix(  # Bᵀ
    "4 0 -5 0 1 0, 0 -4 -4 1 1 0, 0 4 -4 -1 1 0, 0 -2 -1 2 1 0, 0 2 -1 -2 1 0, 0 4 0 -5 0 1"
)
_OF_KERNEL = _matrix("6 0 0, -4 -4 -4, -4 4 -4, 1 2 4, 1 -2 4, 0 0 24") / 24  # G
_OF_OUTPUT = _matrix("1 1 1 1 1 0, 0 1 -1 2 -2 0, 0 1 1 4 4 0, 0 1 -1 8 -8 1")  # Aᵀ


def fits(image: tuple[int, int], window: tuple[int, int], stride: int, channels: int) -> bool:
    """Return whether this form computes a convolution, and is faster there.

    Args:
      image: rows and columns.
      window: rows and columns of the kernel.
      stride: step between windows.
      channels: the fewer of the input's and the output's.
    """
    enough = channels >= 32 or (channels > 4 and min(image) >= 32)
    return enough and image[0] % TILE == 0 and image[0] > TILE and (window, stride) == ((3, 3), 1)


def widened(w: Float[Array, "R S I O"], together: int, stride: int = 1) -> Array:
    """Make a kernel that gives neighbouring columns as one of so many times the channels."""
    ends = [(at * stride, (together - 1 - at) * stride) for at in range(together)]
    return jnp.concatenate([jnp.pad(w, ((0, 0), end, (0, 0), (0, 0))) for end in ends], -1)


def forward(
    x: Float[Array, "B H W I"], w: Float[Array, "3 3 I O"], together: int = 1
) -> Float[Array, "B H W O"]:
    """Convolve with 'SAME' padding. With the kernel turned round: the gradient of the inputs.

    Args:
      x: images, H a multiple of TILE.
      w: kernel.
      together: columns that are made as one of more channels, a divisor of W.
    """
    batch, height, width, inputs = x.shape
    outputs = w.shape[-1]
    # Each row one long axis, so that loops vectorise. Joined with rows of zeros, what makes `x` is
    # computed once, and not in each of six sums.
    rows = x.reshape(batch, height, width * inputs)
    zero = jnp.zeros_like(rows[:, :1])
    rows = jnp.concatenate([zero, rows, zero], 1)

    def convolved(row: Array, kernel: Array) -> Array:
        row = row.reshape(batch, height // TILE, width, inputs)
        y = correlate(row, widened(kernel, together), _PADS, (1, together))
        return y.reshape(batch, height // TILE, width * outputs)

    parts = zip(
        _combined(_OF_INPUT, _tiles(rows, 1, TILE + 2)),
        _combined(_OF_KERNEL, [w[row][None] for row in range(3)]),
        strict=True,
    )
    # Written in place: a stack would be computed anew in each of its users.
    y = jnp.zeros((batch, height // TILE, TILE, width * outputs), x.dtype)
    for row, part in enumerate(_combined(_OF_OUTPUT, [convolved(*part) for part in parts])):
        y = y.at[:, :, row].set(part)
    return y.reshape(batch, height, width, outputs)


def kernel_gradient(
    x: Float[Array, "B H W I"], dy: Float[Array, "B H W O"]
) -> Float[Array, "3 3 I O"]:
    """Take the gradient of `forward` by its kernel."""
    batch, height, width, inputs = x.shape
    outputs = dy.shape[-1]
    # Joined with rows of zeros, each is transposed once, and not in each of six sums.
    zero = jnp.zeros((inputs, 1, width, batch), x.dtype)
    x = jnp.concatenate([zero, x.transpose(3, 1, 2, 0), zero], 1)
    x = x.reshape(inputs, height + 2, width * batch)
    dy = dy.transpose(1, 2, 0, 3)
    dy = jnp.concatenate([dy, jnp.zeros_like(dy[:1])]).reshape(height + 1, -1)
    parts = zip(
        _combined(_OF_INPUT, _tiles(x, 1, TILE + 2)),
        _combined(_OF_OUTPUT.T, _tiles(dy, 0, TILE)),
        strict=True,
    )
    tall = height // TILE, width, batch
    products = [
        correlate(rows.reshape(inputs, *tall), of.reshape(*tall, outputs), _PADS).transpose(
            1, 2, 0, 3
        )
        for rows, of in parts
    ]
    return jnp.concatenate(_combined(_OF_KERNEL.T, products))


def _tiles(rows: Array, axis: int, count: int) -> list[Array]:
    """Take the first row of every tile, the second, ..., the last of which may reach over it."""
    last = rows.shape[axis] - count + 1
    return [lax.slice_in_dim(rows, row, row + last, TILE, axis) for row in range(count)]


def _combined(matrix: np.ndarray, arrays: Sequence[Array]) -> list[Array]:
    """Multiply a matrix by a column of arrays; what it multiplies by zero is left out."""
    return [
        functools.reduce(jnp.add, [x * c for c, x in zip(row, arrays, strict=True) if c])
        for row in matrix.tolist()
    ]


def correlate(x: Array, w: Array, pads: Any, strides: Any = (1, 1), **dilations: Any) -> Array:
    """Slide the kernel over the images."""
    numbers = "NHWC", "HWIO", "NHWC"
    return lax.conv_general_dilated(x, w, strides, pads, dimension_numbers=numbers, **dilations)
