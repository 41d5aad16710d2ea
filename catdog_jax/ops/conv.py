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
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from catdog_jax import registry

FORMS = ("direct", "lax", "patches")
Form = Annotated[str, registry.OneOf(FORMS)]

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_FEW_CHANNELS = 4  # up to here one matrix product over patches beats the convolution kernel


class _Geometry(NamedTuple):
    """What is static about one convolution.

    Attributes:
      stride: step between windows, in pixels.
      pads: (before, after) for rows and for columns.
      image: rows and columns of the inputs.
      window: rows and columns of the kernel.
      form: 'direct' or 'patches'.
    """

    stride: int
    pads: tuple[tuple[int, int], tuple[int, int]]
    image: tuple[int, int]
    window: tuple[int, int]
    form: str

    @property
    def out(self) -> tuple[int, int]:
        rows, columns = (
            (size + sum(pad) - window) // self.stride + 1
            for size, pad, window in zip(self.image, self.pads, self.window, strict=True)
        )
        return rows, columns

    @property
    def span(self) -> tuple[int, int]:
        """Pixels from the first to the last window's start, both included."""
        return (self.out[0] - 1) * self.stride + 1, (self.out[1] - 1) * self.stride + 1


def conv(
    x: Float[Array, "B H W I"],
    w: Float[Array, "R S I O"],
    *,
    stride: int = 1,
    padding: str = "SAME",
    form: str = "direct",
) -> Float[Array, "B P Q O"]:
    """Convolve images with a kernel, as `lax.conv_general_dilated` does in NHWC and HWIO.

    Reverse mode works to any order. Forward mode (`jax.jvp`, `jax.linearize`) works with 'lax'
    only: the other forms are custom gradients.

    Args:
      x: images.
      w: kernel.
      stride: step between windows, ≥ 1, the same for rows and columns.
      padding: 'SAME' or 'VALID'.
      form: 'direct' for weights shared by the whole batch, above all inside loops; 'patches' for
        vmap over weights (batched matrix products in place of a grouped convolution); 'lax' is
        the stock operation.

    Returns:
      The convolved images; rows and columns as `padding` and `stride` say.

    Raises:
      ValueError: a stride < 1, an unknown padding or form, or an image smaller than a VALID window.
    """
    if stride < 1 or padding not in ("SAME", "VALID") or form not in FORMS:
        wanted = f"stride ≥ 1, 'SAME' or 'VALID', a form of {', '.join(FORMS)}"
        raise ValueError(f"stride={stride}, padding={padding!r}, form={form!r}; give {wanted}")
    image, window = (x.shape[1], x.shape[2]), (w.shape[0], w.shape[1])
    rows, columns = lax.padtype_to_pads(image, window, (stride, stride), padding)
    pads = ((int(rows[0]), int(rows[1])), (int(columns[0]), int(columns[1])))
    geometry = _Geometry(stride, pads, image, window, form)
    if min(geometry.out) < 1:
        raise ValueError(f"a {window} window does not fit into a {image} image without padding")
    if form == "lax":
        return _correlate(x, w, stride=stride, pads=pads)
    return _forward(geometry, x, w)


# Three bilinear maps; the gradients of each are the other two, so every order of reverse mode
# comes back to the same three fast kernels.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _forward(geometry: _Geometry, x: Array, w: Array) -> Array:
    if geometry.form == "patches" or _pointwise(geometry) or x.shape[-1] <= _FEW_CHANNELS:
        columns = _patches(geometry, x)
        return lax.dot_general(
            columns, w.reshape(-1, w.shape[-1]), (((columns.ndim - 1,), (0,)), ((), ()))
        )
    return _correlate(x, w, stride=geometry.stride, pads=geometry.pads)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _input_gradient(geometry: _Geometry, dy: Array, w: Array) -> Array:
    if geometry.form == "patches" or _pointwise(geometry) or w.shape[2] <= _FEW_CHANNELS:
        return _fold(geometry, dy, w)
    pads = tuple(
        (window - 1 - before, size + before - span)
        for window, (before, _), size, span in zip(
            geometry.window, geometry.pads, geometry.image, geometry.span, strict=True
        )
    )
    flipped = jnp.flip(w, (0, 1)).transpose(0, 1, 3, 2)
    return _correlate(dy, flipped, pads=pads, lhs_dilation=geometry.stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _kernel_gradient(geometry: _Geometry, x: Array, dy: Array) -> Array:
    if geometry.form == "patches" or _pointwise(geometry):
        columns = _patches(geometry, x)
        dw = jnp.tensordot(columns, dy, ((0, 1, 2), (0, 1, 2)))
        return dw.reshape(*geometry.window, x.shape[-1], dy.shape[-1])
    pads = tuple(
        (before, span + window - 1 - size - before)
        for window, (before, _), size, span in zip(
            geometry.window, geometry.pads, geometry.image, geometry.span, strict=True
        )
    )
    # Channels of x take the place of the batch, and the batch that of the channels.
    dw = _correlate(
        x.transpose(3, 1, 2, 0), dy.transpose(1, 2, 0, 3), pads=pads, rhs_dilation=geometry.stride
    )
    return dw.transpose(1, 2, 0, 3)


def _keep(geometry: _Geometry, first: Array, second: Array, *, rule: Any) -> tuple[Array, Any]:
    return rule(geometry, first, second), (first, second)


def _forward_bwd(geometry: _Geometry, saved: Any, dy: Array) -> tuple[Array, Array]:
    x, w = saved
    return _input_gradient(geometry, dy, w), _kernel_gradient(geometry, x, dy)


def _input_gradient_bwd(geometry: _Geometry, saved: Any, dx: Array) -> tuple[Array, Array]:
    dy, w = saved
    return _forward(geometry, dx, w), _kernel_gradient(geometry, dx, dy)


def _kernel_gradient_bwd(geometry: _Geometry, saved: Any, dw: Array) -> tuple[Array, Array]:
    x, dy = saved
    return _input_gradient(geometry, dy, dw), _forward(geometry, x, dw)


_forward.defvjp(functools.partial(_keep, rule=_forward), _forward_bwd)
_input_gradient.defvjp(functools.partial(_keep, rule=_input_gradient), _input_gradient_bwd)
_kernel_gradient.defvjp(functools.partial(_keep, rule=_kernel_gradient), _kernel_gradient_bwd)


def _pointwise(geometry: _Geometry) -> bool:
    return geometry.window == (1, 1)


def _correlate(
    x: Array, w: Array, *, pads: Any, stride: int = 1, lhs_dilation: int = 1, rhs_dilation: int = 1
) -> Array:
    return lax.conv_general_dilated(
        x,
        w,
        (stride, stride),
        pads,
        lhs_dilation=(lhs_dilation, lhs_dilation),
        rhs_dilation=(rhs_dilation, rhs_dilation),
        dimension_numbers=_LAYOUT,
    )


def _patches(geometry: _Geometry, x: Array) -> Array:
    """Lay every window out as one row: [B, P, Q, R·S·I], ordered as the kernel is."""
    if geometry.pads != ((0, 0), (0, 0)):
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
        edges = [
            (offset - before, size - (offset - before) - span, geometry.stride - 1)
            for offset, (before, _), size, span in zip(
                (row, column), geometry.pads, geometry.image, geometry.span, strict=True
            )
        ]
        return lax.pad(windows[:, :, :, row, column], zero, ((0, 0, 0), *edges, (0, 0, 0)))

    total = place(0, 0)
    for index in range(1, rows * columns):
        total = total + place(*divmod(index, columns))
    return total
