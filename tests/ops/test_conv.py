"""Convolutions of many shapes, all forms, every loop and map they are used in, and refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from catdog_jax.ops.conv import FORMS, conv

# batch, rows, columns, channels in, channels out, window, stride
CASES = [
    (1, 5, 5, 1, 1, (1, 1), 1),
    (2, 6, 5, 4, 2, (2, 3), 1),
    (1, 7, 4, 2, 9, (2, 2), 1),
    (5, 9, 7, 5, 3, (3, 2), 2),
    (2, 10, 10, 8, 8, (3, 3), 4),
    (3, 4, 9, 7, 1, (4, 1), 3),
    (2, 3, 3, 6, 5, (3, 3), 2),
    (1, 2, 1, 5, 6, (5, 3), 1),
    (3, 8, 8, 3, 4, (3, 3), 1),
    (3, 7, 7, 6, 5, (1, 1), 2),
    (3, 11, 8, 6, 5, (5, 5), 3),
    (3, 8, 9, 1, 5, (4, 4), 3),
    (2, 7, 12, 8, 8, (3, 3), 1),
    (2, 8, 8, 9, 16, (3, 2), 2),
    (2, 6, 8, 32, 33, (3, 3), 1),
]
# Those of the tables of `ops.conv` and `ops.winograd`: size, channels in and out.
TABLE = [
    *((16, 8, 8), (16, 8, 16), (32, 16, 16), (8, 16, 16), (8, 16, 32), (16, 32, 32), (4, 32, 32)),
    *((16, 32, 64), (8, 64, 64), (8, 64, 128), (32, 8, 8), (12, 40, 32)),
]


def stock(x, w, stride=1):
    return lax.conv_general_dilated(
        x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def in_form(form):
    return functools.partial(conv, form=form)


def close(found, wanted, tolerance=2e-5):
    """Hold two trees equal up to a share of each array's largest number."""
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        atol = tolerance * float(np.abs(b).max())
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=atol)


def draw(cases):
    rng = np.random.default_rng(0)
    return [
        (
            rng.normal(size=(batch, rows, columns, inputs)).astype(np.float32),
            rng.normal(size=(*window, inputs, outputs)).astype(np.float32),
        )
        for batch, rows, columns, inputs, outputs, window, _ in cases
    ]


def pulled(function, x, w):
    """Values, and both gradients of a loss that is curved in them."""
    y, pull = jax.vjp(function, x, w)
    return y, pull(jnp.cos(y))


def product(function, x, w, dx, dw):
    """Hessian of a curved loss times a vector, reverse over reverse."""

    def along(x, w):
        gx, gw = jax.grad(lambda x, w: jnp.sum(jnp.sin(function(x, w))), (0, 1))(x, w)
        return jnp.vdot(gx, dx) + jnp.vdot(gw, dw)

    return jax.grad(along, (0, 1))(x, w)


def of_case(function, case):
    return functools.partial(function, stride=case[6])


def every(measure, function, cases):
    """Compile one program for all cases."""

    @jax.jit
    def run(pairs):
        return [
            measure(of_case(function, case), *pair) for case, pair in zip(cases, pairs, strict=True)
        ]

    return run(draw(cases))


@functools.cache
def wanted():
    return every(pulled, stock, CASES)


@pytest.mark.parametrize("form", FORMS)
def test_values_and_gradients_over_shapes(form):
    close(every(pulled, in_form(form), CASES), wanted())


@pytest.mark.parametrize("form", ["wide", "winograd"])
def test_forms_for_a_cpu_are_as_exact_as_float32(form):
    cases = [(8, size, size, *channels, (3, 3), 1) for size, *channels in TABLE]
    found = every(pulled, in_form(form), cases)
    with jax.enable_x64(True):
        pairs = [tuple(x.astype(np.float64) for x in pair) for pair in draw(cases)]

        def exact(x, w, y):
            return jax.vjp(stock, x, w)[1](jnp.cos(y))

        given = [np.asarray(y).astype(np.float64) for y, _ in found]
        true = jax.jit(
            lambda pairs, ys: [
                (stock(*pair), exact(*pair, y)) for pair, y in zip(pairs, ys, strict=True)
            ]
        )(pairs, given)
        true = jax.device_get(true)
    for mine, wanted in zip(
        jax.tree.leaves(jax.device_get(found)), jax.tree.leaves(true), strict=True
    ):
        assert np.abs(mine - wanted).max() < 5e-6 * np.abs(wanted).max()


def test_multiplications_are_saved_where_winograd_fits_and_only_there():
    def multiplied(form, shape, kernel, dtype=jnp.float32, stride=1):
        x, w = jax.ShapeDtypeStruct(shape, dtype), jax.ShapeDtypeStruct(kernel, dtype)
        one = functools.partial(conv, form=form, stride=stride)
        text = str(jax.make_jaxpr(one)(x, w))
        return text.count("conv_general_dilated[")

    fitting = (2, 16, 16, 32), (3, 3, 32, 32)
    assert multiplied("winograd", *fitting) == 6  # rows of a tile
    for shape, kernel, options in (
        (*fitting, {"dtype": jnp.bfloat16}),
        (*fitting, {"stride": 2}),
        ((2, 14, 16, 32), fitting[1], {}),  # no whole tiles
        (fitting[0], (5, 3, 32, 32), {}),
        (fitting[0], (3, 3, 32, 16), {}),
    ):
        assert multiplied("winograd", shape, kernel, **options) == 1


# From here on one geometry of each kind: with a border and a step, and pointwise.
KINDS = [(2, 5, 6, 5, 4, (3, 3), 2), (2, 5, 6, 5, 4, (1, 1), 1), (1, 32, 32, 5, 6, (3, 3), 1)]
MEMBERS = 2


def members(case):
    """Give one batch and the kernels of several members."""
    ((x, w),) = draw([case])
    return x, np.stack([w, np.flip(w, -1) * 0.5])


@functools.cache
def alone(case):
    """Compute values, gradients and Hessian products by the stock operation, member by member."""
    x, ws = members(case)
    one = jax.jit(functools.partial(measured, of_case(stock, case)))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *[one(x, w) for w in ws])


def measured(function, x, w):
    return pulled(function, x, w), product(function, x, w, jnp.cos(x), jnp.sin(w))


@pytest.mark.parametrize("form", FORMS)
def test_members_under_vmap_map_and_scan(form):
    """Values, gradients and Hessian products of members, however they are gone through."""
    ones = [functools.partial(measured, of_case(in_form(form), case)) for case in KINDS]

    def scanned(one, x, ws):
        return lax.scan(lambda seen, w: (seen + 1, one(x, w)), 0, ws)[1]

    @jax.jit
    def ways(inputs):
        vmapped = [jax.vmap(one, (None, 0))(*pair) for one, pair in zip(ones, inputs, strict=True)]
        x, ws = inputs[0]
        return vmapped, lax.map(lambda w: ones[0](x, w), ws), scanned(ones[0], x, ws)

    vmapped, mapped, looped = ways([members(case) for case in KINDS])
    close(vmapped, [alone(case) for case in KINDS], 1e-4)
    close([mapped, looped], [alone(KINDS[0])] * 2, 1e-4)


def test_direct_gradients_in_a_loop_are_plain_convolutions():
    """The layout of every convolution in the compiled loop is the one XLA:CPU is fast at."""

    def body(_, pair):
        return jax.grad(lambda x, w: jnp.sum(conv(x, w) ** 2), (0, 1))(*pair)

    pair = jnp.ones((3, 8, 8, 8)), jnp.ones((3, 3, 8, 8))
    text = jax.jit(lambda pair: lax.fori_loop(0, 2, body, pair)).lower(pair).as_text()
    layouts = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert len(layouts) == 3
    assert all("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in line for line in layouts)


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match="form='patch'; give one of direct, lax, patches, wide"):
        conv(jnp.ones((3, 2, 2, 3)), jnp.ones((3, 3, 3, 4)), form="patch")
