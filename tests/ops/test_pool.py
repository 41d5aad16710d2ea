"""Pooling gives the numbers of `lax.reduce_window`; ties share their gradient evenly."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from catdog_jax.ops.pool import global_average, max_pool

# batch, rows, columns, channels; side of a square
CASES = [
    ((2, 8, 8, 3), 2),
    ((2, 7, 9, 3), 2),
    ((1, 9, 6, 4), 3),
    ((2, 3, 4, 1), 1),
    ((3, 2, 2, 5), 2),
    ((1, 11, 5, 2), 4),
    ((1, 5, 5, 1), 5),
]


def reference(x, size):
    window = (1, size, size, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


def distinct(shape):
    """Draw numbers of which no two are equal."""
    count = int(np.prod(shape))
    order = np.random.default_rng(0).permutation(count)
    return ((order - count / 2) / 8).reshape(shape).astype(np.float32)


def tied(shape):
    """Draw one of three numbers for each pixel, so that most squares hold ties."""
    return np.random.default_rng(1).integers(-1, 2, shape).astype(np.float32)


def squares(x, size):
    """Lay each square out as a row: [B, P, Q, C, size²], the pixels row by row."""
    batch, rows, columns, channels = x.shape
    x = x[:, : rows // size * size, : columns // size * size]
    x = x.reshape(batch, rows // size, size, columns // size, size, channels)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(*x.shape[:2], x.shape[3], channels, size**2)


def pulled(pool, size, x):
    """Values, and the gradient of a loss that weighs every square differently."""
    y, pull = jax.vjp(lambda x: pool(x, size), x)
    weights = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
    return y, pull(weights)[0]


by_slices = functools.partial(max_pool, by_slices=True)
both = pytest.mark.parametrize("pool", [max_pool, by_slices])


@functools.cache
def of_all(pool, draw):
    """Compile one program for all cases."""
    inputs = [draw(shape) for shape, _ in CASES]
    sizes = [size for _, size in CASES]
    run = jax.jit(lambda xs: [pulled(pool, s, x) for x, s in zip(xs, sizes, strict=True)])
    return inputs, jax.device_get(run(inputs))


@both
def test_values_and_gradient_are_those_of_reduce_window(pool):
    for found, wanted in zip(
        of_all(pool, distinct)[1], of_all(reference, distinct)[1], strict=True
    ):
        np.testing.assert_array_equal(found[0], wanted[0])
        np.testing.assert_array_equal(found[1], wanted[1])


@both
def test_ties_share_the_gradient(pool):
    inputs, ours = of_all(pool, tied)
    many = 0
    for (_, size), x, (y, dx) in zip(CASES, inputs, ours, strict=True):
        dy = np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape)[..., None]
        highest = squares(x, size) == y[..., None]
        share = highest / highest.sum(-1, keepdims=True)
        np.testing.assert_allclose(squares(dx, size), dy * share, rtol=1e-6, atol=1e-7)
        many += int((highest.sum(-1) > 1).sum())
        # What fills no square is left out.
        rows, columns = (size * (n // size) for n in x.shape[1:3])
        assert not dx[:, rows:].any()
        assert not dx[:, :, columns:].any()
    assert many > 50


def test_hessian_products_of_a_curved_loss():
    """Reverse over reverse: of each square only its maximum bends the loss."""
    x = distinct((2, 5, 7, 3))
    v = np.random.default_rng(2).normal(size=x.shape).astype(np.float32)

    def product(pool):
        def loss(x):
            return jnp.sum(jnp.sin(pool(x, 2)))

        return jax.jit(jax.grad(lambda x: jnp.vdot(jax.grad(loss)(x), v)))(x)

    for pool in (max_pool, by_slices):
        np.testing.assert_allclose(product(pool), product(reference), rtol=1e-5, atol=1e-6)


def test_under_vmap_map_scan_and_on_two_devices():
    xs = np.stack([distinct((2, 5, 6, 3)), tied((2, 5, 6, 3))])
    one = functools.partial(pulled, by_slices, 2)
    mesh = Mesh(jax.devices()[:2], ("place",))
    part = PartitionSpec("place")

    def ways(xs):
        mapped = functools.partial(lax.map, one)
        return (
            jax.vmap(one)(xs),
            mapped(xs),
            lax.scan(lambda seen, x: (seen + 1, one(x)), 0, xs)[1],
            jax.shard_map(mapped, mesh=mesh, in_specs=part, out_specs=part, check_vma=False)(xs),
        )

    alone = jax.jit(one)
    wanted = jax.tree.map(lambda *leaves: np.stack(leaves), *[alone(x) for x in xs])
    for found in jax.jit(ways)(xs):
        jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_an_image_below_one_square_is_refused():
    with pytest.raises(ValueError, match="1×4 image holds no 2×2 square"):
        max_pool(jnp.zeros((1, 1, 4, 1)))


def test_global_average():
    x = jnp.arange(12.0).reshape(1, 2, 3, 2)
    np.testing.assert_allclose(global_average(x), [[5.0, 6.0]])
