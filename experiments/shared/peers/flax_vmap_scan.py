"""What is often advised: stock Flax, vmap over members, a loop over steps, one jit around.

The loop is `lax.fori_loop` over the batches at hand and not `lax.scan`, though both become the same
loop: so one call makes all steps of a sample, however many, and its state is given back to XLA.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from catdog_jax.population.plan import tree_bytes
from experiments.shared.peers import stock
from experiments.shared.peers.engine import device_memory
from experiments.shared.peers.reference import NUM_BATCHES, Reference, distance
from experiments.shared.peers.runner import Runner, first_steps
from experiments.shared.throughput.problem import Problem


def prepare(problem: Problem, reference: Reference) -> Runner:
    """Compile the loop, and put members and ready-made batches on the device."""
    tx = stock.stock_optimizer(problem)
    step = jax.vmap(stock.stock_step(problem, tx), (0, 0, None, None))
    batches = jax.device_put((reference.images, reference.labels))
    starts = [stock.nested(start) for start in reference.copies(problem.members)]
    params = jax.tree.map(lambda *xs: jnp.stack(xs), *starts)
    state = params, jax.vmap(tx.init)(params)
    state_bytes = tree_bytes(state)

    def loop(state: Any, batches: Any, num_steps: Any) -> Any:
        def body(index: Any, carry: Any) -> Any:
            params, opt_state, total = carry
            batch = jax.tree.map(lambda x: x[index % NUM_BATCHES], batches)
            params, opt_state, loss = step(params, opt_state, *batch)
            return params, opt_state, total + loss

        zero = jnp.zeros(problem.members, jnp.float32)
        params, opt_state, total = jax.lax.fori_loop(0, num_steps, body, (*state, zero))
        return (params, opt_state), total / num_steps

    compiled = jax.jit(loop, donate_argnums=0)

    def run(num_steps: int) -> np.ndarray:
        nonlocal state
        state, losses = compiled(state, batches, np.int32(num_steps))
        jax.block_until_ready(state)
        return np.asarray(losses)

    def compare(losses: np.ndarray) -> dict[str, float]:
        weights = {n: np.asarray(x) for n, x in stock.flat(state[0]).items()}
        known = sorted(reference.start)[: problem.members]
        reached = {
            member: ({n: x[i] for n, x in weights.items()}, float(losses[i]))
            for i, member in enumerate(known)
        }
        return distance(reference, "constant", reached)

    check, compile_seconds, _ = first_steps(run, compare)
    return Runner(
        run,
        problem.members,
        check=check,
        state_bytes=state_bytes,
        compile_seconds=compile_seconds,
        device_memory=device_memory,
    )
