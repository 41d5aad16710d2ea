"""Convolution whose two gradients stay fast inside a loop, and under vmap over weights.

Reason: XLA:CPU rewrites the stock gradients of a convolution into a form that its fast kernel takes
only outside of loop bodies; inside `lax.scan`, `lax.map` or `fori_loop` they fall to a naive
emitter. Here forward and both gradients are each *written* as a plain NHWC/HWIO convolution.

Measured inside a loop (GF/s of processor time, one Zen4 core whose best matrix product does about
100, other work running beside it; jax 0.10.2; 3×3, 8 images; forward / gradient of inputs /
gradient of kernel):

    channels (size)    direct             patches           stock 'lax'
    3→32    (32×32)    51 / 52 / 72       52 / 54 / 32      21 / 2 / 2
    3→16    (32×32)    33 / 48 / 42       33 / 48 / 18      13 / 3 / 2
    32→32   (32×32)    97 / 95 / 86       34 / 90 / 26      86 / 2 / 1
    32→64   (16×16)    108 / 106 / 89     80 / 105 / 60     108 / 18 / 2
    64→128  (8×8)      107 / 102 / 103    90 / 103 / 85     109 / 20 / 2

With 64 images instead of 8 the activations leave the cache: 32→32 direct falls to 86 / 77 / 64.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from catdog_jax.ops import winograd
from catdog_jax.ops.winograd import correlate

FORMS = ("direct", "lax", "patches", "wide", "winograd")
FOR_MAP = FORMS[3:]  # of no use under vmap
_FEW_CHANNELS = 4  # up to here one matrix product over patches beats the convolution kernel
_SLOW_CHANNELS = 16  # up to here XLA:CPU does not give a convolution to its fast kernel
_WIDE_COLUMNS = 16  # of an image, up to which the gradient of a kernel gains by it


class _Geometry(NamedTuple):
    """What is static about one convolution.

    Attributes:
      stride: step between windows, in pixels.
      image: rows and columns of the inputs.
      window: rows and columns of the kernel.
      form: 'direct', 'patches', 'wide' or 'winograd'.
    """

    stride: int
    image: tuple[int, int]
    window: tuple[int, int]
    form: str

    @property
    def span(self) -> tuple[int, ...]:
        """Pixels from the first to the last window's start, both included."""
        return tuple((size - 1) // self.stride * self.stride + 1 for size in self.image)

    @property
    def overhang(self) -> tuple[tuple[int, int], ...]:
        """How far the windows reach over the image; negative where pixels after it are not seen."""
        sizes = zip(self.span, self.window, self.image, strict=True)
        totals = [span + window - 1 - size for span, window, size in sizes]
        return tuple((max(total, 0) // 2, total - max(total, 0) // 2) for total in totals)

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """The 'SAME' padding, (before, after) for rows and for columns."""
        return tuple((before, max(after, 0)) for before, after in self.overhang)

    def together(self, inputs: int, outputs: int, columns: int) -> int:
        """Choose how many neighbouring columns are made as one of more channels."""
        if self.form not in ("wide", "winograd") or max(inputs, outputs) > _SLOW_CHANNELS:
            return 1
        most = 2 if outputs > _SLOW_CHANNELS // 2 else 4
        return math.gcd(columns, most)


def conv(
    x: Float[Array, "B H W I"], w: Float[Array, "R S I O"], *, stride: int = 1, form: str = "direct"
) -> Float[Array, "B P Q O"]:
    """Convolve images with a kernel, as `lax.conv_general_dilated` does in NHWC, HWIO and 'SAME'.

    Reverse mode works to any order. Forward mode (`jax.jvp`, `jax.linearize`) works with 'lax'
    only: the other forms are custom gradients.

    Args:
      x: images.
      w: kernel.
      stride: step between windows, ≥ 1, the same for rows and columns.
      form: 'direct' for weights shared by the whole batch, above all inside loops; 'patches' for
        vmap over weights (batched matrix products in place of a grouped convolution); 'wide' as
        'direct', for CPUs, where few channels meet; 'winograd' as 'wide', with fewer
        multiplications where `ops.winograd` fits, in float32, and a longer compilation; 'lax' is
        the stock operation.

    Returns:
      The convolved images, P = H / stride rows and Q = W / stride columns, rounded up.

    Raises:
      ValueError: an unknown form.
    """
    if form not in FORMS:
        raise ValueError(f"form={form!r}; give one of {', '.join(FORMS)}")
    image, window = (x.shape[1], x.shape[2]), (w.shape[0], w.shape[1])
    if form == "winograd":
        fits = x.dtype == jnp.float32 and winograd.fits(image, window, stride, min(w.shape[2:]))
        form = "winograd" if fits else "wide"
    if form != "lax" and window == (1, 1):
        form = "patches"
    geometry = _Geometry(stride, image, window, form)
    if form == "lax":
        return correlate(x, w, geometry.pads, (stride, stride))
    return _forward(geometry, x, w)


# Three bilinear maps; the gradients of each are the other two, so every order of reverse mode
# comes back to the same three fast kernels.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _forward(geometry: _Geometry, x: Array, w: Array) -> Array:
    if geometry.form == "winograd":
        return winograd.forward(x, w, geometry.together(x.shape[3], w.shape[3], x.shape[2]))
    if geometry.form == "patches" or x.shape[-1] <= _FEW_CHANNELS:
        columns = _patches(geometry, x)
        return lax.dot_general(
            columns, w.reshape(-1, w.shape[-1]), (((columns.ndim - 1,), (0,)), ((), ()))
        )
    return _wide(geometry, x, w, geometry.pads, geometry.stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _input_gradient(geometry: _Geometry, dy: Array, w: Array) -> Array:
    flipped = jnp.flip(w, (0, 1)).transpose(0, 1, 3, 2)
    if geometry.form == "winograd":
        together = geometry.together(dy.shape[3], w.shape[2], dy.shape[2])
        return winograd.forward(dy, flipped, together)
    if geometry.form == "patches" or w.shape[2] <= _FEW_CHANNELS:
        return _fold(geometry, dy, w)
    pads = tuple(
        (window - 1 - before, window - 1 - after)
        for window, (before, after) in zip(geometry.window, geometry.overhang, strict=True)
    )
    if geometry.stride == 1:
        return _wide(geometry, dy, flipped, pads)
    return correlate(dy, flipped, pads, lhs_dilation=(geometry.stride,) * 2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _kernel_gradient(geometry: _Geometry, x: Array, dy: Array) -> Array:
    if geometry.form == "winograd":
        return winograd.kernel_gradient(x, dy)
    if geometry.form == "patches":
        columns = _patches(geometry, x)
        dw = jnp.tensordot(columns, dy, ((0, 1, 2), (0, 1, 2)))
        return dw.reshape(*geometry.window, x.shape[-1], dy.shape[-1])
    # Channels of x take the place of the batch, and the batch that of the channels.
    inputs, outputs, width = x.shape[3], dy.shape[3], dy.shape[2]
    together = geometry.together(inputs, outputs, width) if width <= _WIDE_COLUMNS else 1
    step = geometry.stride * together
    dy = dy.reshape(*dy.shape[:2], width // together, together * outputs)
    x, dy = x.transpose(3, 1, 2, 0), dy.transpose(1, 2, 0, 3)
    dw = correlate(x, dy, geometry.overhang, rhs_dilation=(geometry.stride, step))
    dw = dw.transpose(1, 2, 0, 3).reshape(geometry.window[0], -1, inputs, together, outputs)
    starts = range(0, step, geometry.stride)
    each = [dw[:, at : at + geometry.window[1], :, i] for i, at in enumerate(starts)]
    return functools.reduce(jnp.add, each)


def _define_gradients(bilinear: Any, gradients: Callable[..., tuple[Array, Array]]) -> None:
    def keep(geometry: _Geometry, first: Array, second: Array) -> tuple[Array, Any]:
        return bilinear(geometry, first, second), (first, second)

    bilinear.defvjp(keep, lambda geometry, saved, given: gradients(geometry, *saved, given))


_define_gradients(
    _forward, lambda g, x, w, dy: (_input_gradient(g, dy, w), _kernel_gradient(g, x, dy))
)
_define_gradients(
    _input_gradient, lambda g, dy, w, dx: (_forward(g, dx, w), _kernel_gradient(g, dx, dy))
)
_define_gradients(
    _kernel_gradient, lambda g, x, dy, dw: (_input_gradient(g, dy, dw), _forward(g, x, dw))
)


def _wide(geometry: _Geometry, x: Array, w: Array, pads: Any, stride: int = 1) -> Array:
    """Convolve, neighbouring columns as one of more channels where that is faster."""
    columns = (x.shape[2] + sum(pads[1]) - w.shape[1]) // stride + 1
    together = geometry.together(x.shape[3], w.shape[3], columns)
    y = correlate(x, winograd.widened(w, together, stride), pads, (stride, stride * together))
    return y.reshape(*y.shape[:2], columns, w.shape[-1])


def _patches(geometry: _Geometry, x: Array) -> Array:
    """Lay every window out as one row: [B, P, Q, R·S·I], ordered as the kernel is."""
    if geometry.window != (1, 1):
        x = jnp.pad(x, ((0, 0), *geometry.pads, (0, 0)))
    # Columns first, then rows: with few channels the forward is 1.6 times faster than by R·S slices
    # (3→32, 8 images: 52 against 32 GF/s); with 32 channels it is slower (34 against 54).
    for axis in (2, 1):
        span, count = geometry.span[axis - 1], geometry.window[axis - 1]
        shifted = [
            lax.slice_in_dim(x, start, start + span, geometry.stride, axis)
            for start in range(count)
        ]
        x = jnp.concatenate(shifted, -1) if count > 1 else shifted[0]
    return x


def _fold(geometry: _Geometry, dy: Array, w: Array) -> Array:
    """Add every window's gradient back to the pixels it came from."""
    rows, columns, inputs, outputs = w.shape
    windows = lax.dot_general(dy, w.reshape(-1, outputs), (((3,), (1,)), ((), ())))
    windows = windows.reshape(*dy.shape[:3], rows, columns, inputs)
    zero = jnp.zeros((), windows.dtype)

    def place(row: int, column: int) -> Array:
        # Negative padding crops what lay in the border.
        starts = [at - before for at, (before, _) in zip((row, column), geometry.pads, strict=True)]
        edges = [
            (start, size - start - span, geometry.stride - 1)
            for start, size, span in zip(starts, geometry.image, geometry.span, strict=True)
        ]
        return lax.pad(windows[:, :, :, row, column], zero, ((0, 0, 0), *edges, (0, 0, 0)))

    return functools.reduce(jnp.add, (place(*at) for at in np.ndindex(rows, columns)))
