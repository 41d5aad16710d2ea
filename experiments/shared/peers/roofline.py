"""The machine's own speed: plain matrix products, the measure that all others are held against."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from catdog_jax.population import use_all_cores
from experiments.shared.peers.runner import Runner
from experiments.shared.throughput.problem import Problem

SIDES = {"cpu": (1024, 2048), "gpu": (4096, 8192), "tpu": (4096, 8192)}
SECONDS = 0.1  # of one product's repetitions


def prepare(problem: Problem, reference: Any) -> Runner:
    """Compile square products of several sizes, on every device at once and in numpy.

    A step of this runner is one look at each product; `facts['best']` is a list of the highest
    rates seen, one per look, in operations a second.

    Args:
      problem: only its precision matters, and that on an accelerator alone.
      reference: not used.
    """
    use_all_cores()
    backend = jax.default_backend()
    devices = jax.local_devices()
    attempts: list[tuple[float, Callable[[int], None]]] = []
    for side in SIDES.get(backend, SIDES["gpu"]):
        work = 2.0 * side**3
        attempts.append((work * len(devices), _jax_product(side, devices, backend, problem)))
        if backend == "cpu":
            attempts.append((work, _numpy_product(side)))
    best: list[float] = []

    def run(num_steps: int) -> None:
        for _ in range(num_steps):
            best.append(max(_rate(work, product) for work, product in attempts))

    run(1)
    best.clear()
    facts = {
        "best": best,
        "backend": backend,
        "devices": [d.device_kind for d in devices],
    }
    return Runner(run, 1, facts=facts)


def _rate(work: float, product: Callable[[int], None]) -> float:
    begin = time.perf_counter()
    product(1)
    count = max(1, int(SECONDS / max(time.perf_counter() - begin, 1e-6)))
    begin = time.perf_counter()
    product(count)
    return work * count / (time.perf_counter() - begin)


def _jax_product(side: int, devices: Any, backend: str, problem: Problem) -> Callable[[int], None]:
    precision = {"float32": "highest", "tf32": "tensorfloat32"}.get(problem.precision, "default")
    low = problem.precision == "bfloat16" and backend != "cpu"
    dtype = jnp.bfloat16 if low else jnp.float32
    values = np.random.default_rng(0).normal(size=(side, side)) / np.sqrt(side)
    factors = [jax.device_put(jnp.asarray(values, dtype), device) for device in devices]

    def product(x: Any) -> Any:
        with jax.default_matmul_precision(precision):
            return x @ x

    multiply = jax.jit(product)
    jax.block_until_ready([multiply(x) for x in factors])

    def times(count: int) -> None:
        jax.block_until_ready([multiply(x) for _ in range(count) for x in factors])

    return times


def _numpy_product(side: int) -> Callable[[int], None]:
    x = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32) / side**0.5
    out = np.empty_like(x)

    def times(count: int) -> None:
        for _ in range(count):
            np.matmul(x, x, out=out)

    return times
