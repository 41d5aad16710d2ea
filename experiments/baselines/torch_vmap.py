"""Torch over members: `vmap(grad_and_value)`, one optimiser on the stack of weights."""

from typing import Any

import torch
from torch.func import grad_and_value, vmap

from experiments.baselines.case import Case, Start, Trainer, loop
from experiments.baselines.torch_loop import make_loss, make_optimizer, set_up, to_flax


def prepare(case: Case, start: Start) -> Trainer:
    """Put the members' weights and ready-made batches on the device."""
    weights, batches = set_up(case, start)
    optimizer = make_optimizer(case, weights)
    losses_of = vmap(grad_and_value(make_loss(case)), (0, None, None))

    def step(images: Any, labels: Any) -> Any:
        grads, losses = losses_of(weights, images, labels)
        for name, x in weights.items():
            x.grad = grads[name]
        optimizer.step()
        return losses

    return Trainer(case.members, loop(step, batches, torch.Tensor.cpu), lambda: to_flax(weights))
