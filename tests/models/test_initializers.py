"""Starting weights have the variance that their source states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.models.initializers import initializer
from catdog_jax.types import InputError


@pytest.mark.parametrize("gain", [1.0, 0.5])
@pytest.mark.parametrize(
    ("name", "variance"),
    [("he", 2 / 576), ("lecun", 1 / 576), ("glorot", 2 / (576 + 1152))],
)
def test_variance_of_a_convolution(name, variance, gain):
    kernel = initializer(name, gain)(jax.random.key(0), (3, 3, 64, 128), jnp.float32)
    # 73,728 normal draws: the sample variance is within 3 % with a probability above 1 - 1e-7.
    np.testing.assert_allclose(np.var(kernel), gain**2 * variance, rtol=0.03)
    np.testing.assert_allclose(np.mean(kernel), 0, atol=5 * np.sqrt(gain**2 * variance / 73728))


@pytest.mark.parametrize("shape", [(12, 5), (5, 12)])
def test_orthogonal_has_singular_values_of_the_gain(shape):
    kernel = initializer("orthogonal", 0.7)(jax.random.key(0), shape, jnp.float32)
    values = np.linalg.svd(kernel, compute_uv=False)
    np.testing.assert_allclose(values, np.full(5, 0.7), rtol=1e-5)


def test_zeros():
    assert not initializer("zeros", 3.0)(jax.random.key(0), (4, 5), jnp.float32).any()


def test_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"'lecum'; known: glorot, he, .*did you mean 'lecun'"):
        initializer("lecum")
