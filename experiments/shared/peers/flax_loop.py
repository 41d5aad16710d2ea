"""What most people write: stock Flax layers, a jitted step, a Python loop, member after member."""

from typing import Any

import jax
import numpy as np

from catdog_jax.population.plan import tree_bytes
from experiments.shared.peers import stock
from experiments.shared.peers.engine import device_memory
from experiments.shared.peers.reference import NUM_BATCHES, Reference, distance
from experiments.shared.peers.runner import Runner, first_steps
from experiments.shared.throughput.problem import Problem


def prepare(problem: Problem, reference: Reference) -> Runner:
    """Compile the step, and put members and ready-made batches on the device."""
    tx = stock.stock_optimizer(problem)
    step = jax.jit(stock.stock_step(problem, tx), donate_argnums=(0, 1))
    batches = jax.device_put(list(zip(reference.images, reference.labels, strict=True)))
    params = [stock.nested(start) for start in reference.copies(problem.members)]
    states: list[Any] = [(p, tx.init(p)) for p in params]
    state_bytes = tree_bytes(states)

    def train(index: int, num_steps: int) -> list[Any]:
        state, losses = states[index], []
        for number in range(num_steps):
            *state, loss = step(*state, *batches[number % NUM_BATCHES])
            losses.append(loss)
        states[index] = state
        jax.block_until_ready(state)
        return losses

    def run(num_steps: int) -> list[Any]:
        return [train(index, num_steps) for index in range(len(states))]

    def compare(losses: list[Any]) -> dict[str, float]:
        reached = {
            member: (
                {n: np.asarray(x) for n, x in stock.flat(state[0]).items()},
                float(np.mean(own)),
            )
            for member, state, own in zip(sorted(reference.start), states, losses, strict=False)
        }
        return distance(reference, "constant", reached)

    check, compile_seconds, _ = first_steps(run, compare)
    return Runner(
        run,
        len(states),
        check=check,
        state_bytes=state_bytes,
        compile_seconds=compile_seconds,
        device_memory=device_memory,
    )
