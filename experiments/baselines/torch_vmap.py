"""Torch over members: `vmap(grad_and_value)`, one optimiser on the stack of weights."""

import itertools
from typing import Any

import torch
from torch.func import grad_and_value, vmap

from catdog_jax.population.devices import num_cores
from experiments.baselines.case import Case, Start, Trainer
from experiments.baselines.torch_loop import make_loss, make_optimizer, mean_loss, set_up, to_flax


def prepare(case: Case, start: Start) -> Trainer:
    """Put the members' weights and ready-made batches on the device."""
    weights, batches = set_up(case, start, num_cores(), torch.contiguous_format)
    optimizer = make_optimizer(case, weights)
    step = vmap(grad_and_value(make_loss(case)), (0, None, None))

    def train(num_steps: int) -> Any:
        losses = []
        for images, labels in itertools.islice(itertools.cycle(batches), num_steps):
            grads, loss = step(weights, images, labels)
            for name, x in weights.items():
                x.grad = grads[name]
            optimizer.step()
            losses.append(loss)
        return mean_loss(losses)

    return Trainer(case.members, train, lambda: to_flax(weights))
