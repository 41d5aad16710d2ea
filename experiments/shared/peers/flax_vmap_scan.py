"""What is often advised: stock Flax, vmap over members, lax.scan over steps, one jit around."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from catdog_jax.population.plan import tree_bytes
from experiments.shared.peers import stock
from experiments.shared.peers.engine import device_memory
from experiments.shared.peers.reference import NUM_BATCHES, Reference, distance
from experiments.shared.peers.runner import Runner
from experiments.shared.throughput.problem import CHECK_STEPS, Problem


def prepare(problem: Problem, reference: Reference, hopeless: bool = False) -> Runner:
    """Compile the scan, and put members and ready-made batches on the device.

    Args:
      problem: the model.
      reference: starting weights and batches.
      hopeless: scan over as few steps as still are a loop.
    """
    length = CHECK_STEPS if hopeless else NUM_BATCHES
    tx = stock.stock_optimizer(problem)
    step = jax.vmap(stock.stock_step(problem, tx), (0, 0, None, None))

    def body(carry: Any, batch: Any) -> Any:
        params, opt_state, loss = step(*carry, *batch)
        return (params, opt_state), loss

    scan = jax.jit(lambda carry, batches: jax.lax.scan(body, carry, batches), donate_argnums=0)
    arrays = reference.images, reference.labels
    batches = {n: jax.device_put(tuple(x[:n] for x in arrays)) for n in {length, CHECK_STEPS}}
    starts = [stock.nested(start) for start in reference.copies(problem.members)]
    params = jax.tree.map(lambda *xs: jnp.stack(xs), *starts)
    carry = params, jax.vmap(tx.init)(params)
    state_bytes = tree_bytes(carry)

    def call(count: int) -> np.ndarray:
        nonlocal carry
        carry, losses = scan(carry, batches[count])
        return np.asarray(losses)

    def run(num_steps: int) -> None:
        for _ in range(num_steps // length):
            call(length)

    begin = time.perf_counter()
    losses = call(CHECK_STEPS)
    first = time.perf_counter() - begin
    weights = {n: np.asarray(x) for n, x in stock.flat(carry[0]).items()}
    known = sorted(reference.start)[: problem.members]
    reached = {
        member: ({n: x[i] for n, x in weights.items()}, float(losses[:, i].mean()))
        for i, member in enumerate(known)
    }
    check = distance(reference, "constant", reached)
    begin = time.perf_counter()
    call(CHECK_STEPS)
    again = time.perf_counter() - begin
    return Runner(
        run,
        problem.members,
        quantum=length,
        check=check,
        state_bytes=state_bytes,
        compile_seconds=max(first - again, 0.0),
        device_memory=device_memory,
    )
