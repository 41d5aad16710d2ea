"""What is often advised: stock Flax, vmap over members, a loop over steps, one jit around.

The loop is `lax.fori_loop` over the batches at hand and not `lax.scan`, though both become the same
loop: so one call makes all steps of a sample, however many, and its state is given back to XLA.
"""

import functools
from typing import Any

import jax
import numpy as np

from experiments.baselines.case import NUM_BATCHES, Case, Start, Trainer
from experiments.baselines.flax_loop import make_optimizer, make_step


def prepare(case: Case, start: Start) -> Trainer:
    """Put the members and ready-made batches on the device."""
    step = jax.vmap(make_step(case), (0, 0, None, None))
    batches = jax.device_put((start.images, start.labels))
    params = jax.device_put(start.copies(case.members))
    state = params, jax.vmap(make_optimizer(case.recipe).init)(params)

    @functools.partial(jax.jit, donate_argnums=0)
    def loop(state: Any, batches: Any, num_steps: Any) -> Any:
        def body(index: Any, state: Any) -> Any:
            return step(*state, *(x[index % NUM_BATCHES] for x in batches))[:2]

        return jax.lax.fori_loop(0, num_steps, body, state)

    def train(num_steps: int) -> None:
        nonlocal state
        state = jax.block_until_ready(loop(state, batches, np.int32(num_steps)))

    return Trainer(case.members, train, lambda: jax.tree.map(np.asarray, state[0]))
