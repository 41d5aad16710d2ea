"""Activations by name."""

from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array

from catdog_jax.registry import OneOf

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

Activation = Annotated[str, OneOf(tuple(ACTIVATIONS))]
