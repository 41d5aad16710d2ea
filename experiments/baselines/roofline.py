"""The machine's own speed: large matrix products, the measure that all others are held against."""

from typing import Any

import jax
import jax.numpy as jnp

from catdog_jax.population import use_all_cores
from experiments.baselines.case import Case, Start, Trainer

PRECISION = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}


def prepare(case: Case, start: Start) -> Trainer:
    """Place a square matrix on every device; a step is a product, its 'members' the operations."""
    use_all_cores()
    on_cpu = jax.default_backend() == "cpu"
    side = 2048 if on_cpu else 8192
    dtype = jnp.bfloat16 if case.precision == "bfloat16" and not on_cpu else jnp.float32
    matrix = jax.random.normal(jax.random.key(0), (side, side), dtype)
    factors = [jax.device_put(matrix, device) for device in jax.local_devices()]
    multiply = jax.jit(lambda x: jnp.matmul(x, x, precision=PRECISION[case.precision]))

    def train(num_steps: int) -> Any:
        return jax.block_until_ready([multiply(x) for _ in range(num_steps) for x in factors])

    return Trainer(2 * side**3 * len(factors), train)
