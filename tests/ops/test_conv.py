"""Convolutions of many shapes, three forms, every loop and map they are used in, and refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, PartitionSpec

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


# From here on one geometry of each kind: with a border and a step, and pointwise.
KINDS = [(2, 5, 6, 5, 4, (3, 3), 2), (2, 5, 6, 5, 4, (1, 1), 1)]
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


@pytest.mark.parametrize("form", FORMS)
def test_devices_that_share_members_or_a_batch(form):
    """Kernels or pictures lie on two devices; the kernel's gradient is summed over the pictures."""
    case = KINDS[0]
    x, ws = members(case)
    function = of_case(in_form(form), case)
    mesh = Mesh(jax.devices()[:2], ("place",))
    spread, whole = PartitionSpec("place"), PartitionSpec()

    def own_members(x, ws):
        return lax.map(lambda w: pulled(function, x, w), ws)

    def own_pictures(x, w):
        y, (dx, dw) = pulled(function, x, w)
        return y, (dx, lax.psum(dw, "place"))

    def both(x, ws):
        shard = functools.partial(jax.shard_map, mesh=mesh, check_vma=False)
        apart = shard(own_members, in_specs=(whole, spread), out_specs=spread)(x, ws)
        shared = shard(own_pictures, in_specs=(spread, whole), out_specs=(spread, (spread, whole)))
        return apart, shared(x, ws[0])

    apart, shared = jax.jit(both)(x, ws)
    expected = alone(case)[0]
    close(apart, expected)
    close(shared, jax.tree.map(lambda leaf: leaf[0], expected))


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
    with pytest.raises(ValueError, match="form='patch'; give one of direct, lax, patches"):
        conv(jnp.ones((3, 2, 2, 3)), jnp.ones((3, 3, 3, 4)), form="patch")
