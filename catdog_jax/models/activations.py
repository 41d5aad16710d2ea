"""Activations by name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from catdog_jax import registry

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "identity": lambda x: x,
    "leaky_relu": jax.nn.leaky_relu,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}

# These never fall, so they commute with a maximum and may run after the pool, on a quarter of the
# pixels, without changing a value.
MONOTONE = frozenset(ACTIVATIONS) - {"gelu", "silu"}


def activation(name: str) -> Callable[[Array], Array]:
    """Look an activation up.

    Args:
      name: a key of `ACTIVATIONS`.

    Returns:
      A function of one array, element by element.

    Raises:
      InputError: an unknown name.
    """
    registry.check_known("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]
