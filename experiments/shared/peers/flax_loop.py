"""What most people write: stock Flax layers, a jitted step, a Python loop, member after member."""

import time
from typing import Any

import jax
import numpy as np

from catdog_jax.population.plan import tree_bytes
from experiments.shared.peers import stock
from experiments.shared.peers.engine import device_memory
from experiments.shared.peers.reference import NUM_BATCHES, Reference, distance
from experiments.shared.peers.runner import Runner
from experiments.shared.throughput.problem import CHECK_STEPS, Problem


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

    def run(num_steps: int) -> None:
        for index in range(len(states)):
            train(index, num_steps)

    begin = time.perf_counter()
    losses = [train(index, CHECK_STEPS) for index in range(len(states))]
    first = time.perf_counter() - begin
    reached = {
        member: (
            {n: np.asarray(x) for n, x in stock.flat(state[0]).items()},
            float(np.mean(losses[index])),
        )
        for index, (member, state) in enumerate(zip(sorted(reference.start), states, strict=False))
    }
    check = distance(reference, "constant", reached)
    begin = time.perf_counter()
    run(CHECK_STEPS)
    again = time.perf_counter() - begin
    return Runner(
        run,
        len(states),
        check=check,
        state_bytes=state_bytes,
        compile_seconds=max(first - again, 0.0),
        device_memory=device_memory,
    )
