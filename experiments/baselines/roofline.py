"""The machine's own speed: large matrix products, the measure that all others are held against."""

import jax
import jax.numpy as jnp

from catdog_jax.population import use_all_cores
from catdog_jax.population.estimate import products
from experiments.baselines.case import Case, Start, Trainer

PRECISION = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}


def prepare(case: Case, start: Start) -> Trainer:
    """Place a square matrix on every device; a step is a product, its 'members' the operations."""
    use_all_cores()
    on_cpu = jax.default_backend() == "cpu"
    dtype = jnp.bfloat16 if case.precision == "bfloat16" and not on_cpu else jnp.float32
    multiply, operations = products(2048 if on_cpu else 8192, dtype, PRECISION[case.precision])
    return Trainer(operations, multiply)
