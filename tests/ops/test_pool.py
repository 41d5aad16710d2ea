"""Pooling gives the numbers of `lax.reduce_window`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from catdog_jax.ops.pool import global_average, max_pool


def reference(x, size):
    window = (1, size, size, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


@pytest.mark.parametrize(
    ("shape", "size"),
    [((2, 8, 8, 3), 2), ((2, 7, 9, 3), 2), ((1, 9, 6, 4), 3), ((2, 3, 4, 1), 1)],
    ids=str,
)
def test_values_and_gradient_are_those_of_reduce_window(shape, size):
    x = jax.random.normal(jax.random.key(0), shape)  # no ties
    expected, pull = jax.vjp(lambda x: reference(x, size), x)
    dy = jax.random.normal(jax.random.key(1), expected.shape)
    np.testing.assert_array_equal(max_pool(x, size), expected)
    np.testing.assert_array_equal(jax.vjp(lambda x: max_pool(x, size), x)[1](dy)[0], pull(dy)[0])


def test_ties_share_the_gradient():
    x = jnp.array([[1.0, 1.0], [0.0, 1.0]]).reshape(1, 2, 2, 1)
    gradient = jax.grad(lambda x: jnp.sum(max_pool(x)))(x)
    np.testing.assert_allclose(gradient[0, :, :, 0], [[1 / 3, 1 / 3], [0, 1 / 3]], rtol=1e-6)


def test_an_image_below_one_square_is_refused():
    with pytest.raises(ValueError, match="1×4 image holds no 2×2 square"):
        max_pool(jnp.zeros((1, 1, 4, 1)))


def test_global_average():
    x = jnp.arange(12.0).reshape(1, 2, 3, 2)
    np.testing.assert_allclose(global_average(x), [[5.0, 6.0]])
