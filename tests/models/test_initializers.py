"""Starting weights have the variance that their source states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.models.parts import INITIALIZERS


@pytest.mark.parametrize("gain", [1.0, 0.5])
@pytest.mark.parametrize(
    ("name", "variance"), [("he", 2 / 576), ("lecun", 1 / 576), ("glorot", 2 / (576 + 1152))]
)
def test_variance_of_a_convolution(name, variance, gain):
    kernel = INITIALIZERS[name](gain)(jax.random.key(0), (3, 3, 64, 128), jnp.float32)
    # 73,728 normal draws: the sample variance is within 3 % with a probability above 1 - 1e-7.
    np.testing.assert_allclose(np.var(kernel), gain**2 * variance, rtol=0.03)
    np.testing.assert_allclose(np.mean(kernel), 0, atol=5 * np.sqrt(gain**2 * variance / 73728))
