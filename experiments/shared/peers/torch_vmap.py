"""Torch over members: `functional_call`, `vmap(grad_and_value)`, one optimiser on the stack."""

from typing import Any

import numpy as np
import torch
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional as F

from catdog_jax.population.devices import num_cores
from experiments.shared.peers import torch_models
from experiments.shared.peers.reference import NUM_BATCHES, Reference, distance
from experiments.shared.peers.runner import Runner, first_steps
from experiments.shared.throughput.problem import Problem


def prepare(problem: Problem, reference: Reference) -> Runner:
    """Stack the members' weights, and put them and ready-made batches on the device."""
    torch.set_num_threads(num_cores())
    torch_models.set_precision(problem)
    models = []
    starts = reference.copies(problem.members)
    for start in starts:
        models.append(torch_models.torch_model(problem))
        torch_models.copy_weights(models[-1], start)
    stacked, _ = stack_module_state(models)
    params = {
        name: value.detach().to(torch_models.device()).requires_grad_()
        for name, value in stacked.items()
    }
    model = torch_models.torch_model(problem).to("meta")
    del models
    optimizer = torch_models.torch_optimizer(problem, params.values())
    batches = torch_models.torch_batches(problem, reference, False)

    def loss_of(weights: Any, images: Any, labels: Any) -> Any:
        return F.cross_entropy(functional_call(model, weights, (images,)), labels)

    step = vmap(grad_and_value(loss_of), (0, None, None))

    def run(num_steps: int) -> list[Any]:
        losses = []
        for number in range(num_steps):
            weights = {name: value.detach() for name, value in params.items()}
            grads, loss = step(weights, *batches[number % NUM_BATCHES])
            for name, value in params.items():
                value.grad = grads[name]
            optimizer.step()
            losses.append(loss)
        torch_models.finish()
        return losses

    def compare(losses: list[Any]) -> dict[str, float]:
        mean = np.mean([loss.cpu().numpy() for loss in losses], axis=0)
        reached = {}
        for index, member in enumerate(sorted(reference.start)[: problem.members]):
            one = {name: value[index] for name, value in params.items()}
            weights = torch_models.flax_weights(one, starts[index])
            reached[member] = weights, float(mean[index])
        return distance(reference, "constant", reached)

    check, compile_seconds, _ = first_steps(run, compare)
    return Runner(
        run,
        problem.members,
        check=check,
        state_bytes=torch_models.state_bytes(problem, params.values()),
        compile_seconds=compile_seconds,
        facts={"threads": torch.get_num_threads()},
        device_memory=torch_models.device_memory,
    )
