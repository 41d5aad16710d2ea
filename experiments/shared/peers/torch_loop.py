"""Torch as it is usually written: one model after another, a Python loop over steps."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from catdog_jax.population.devices import num_cores
from experiments.shared.peers import torch_models
from experiments.shared.peers.reference import NUM_BATCHES, Reference, distance
from experiments.shared.peers.runner import Runner, first_steps
from experiments.shared.throughput.problem import Problem


def prepare(
    problem: Problem, reference: Reference, channels_last: bool = False, threads: int = 0
) -> Runner:
    """Build the models, and put them and ready-made batches on the device.

    Args:
      problem: the model.
      reference: starting weights and batches.
      channels_last: lay pictures out as NHWC.
      threads: that torch may use; 0 for one a core.
    """
    torch.set_num_threads(threads or num_cores())
    torch_models.set_precision(problem)
    models, tools = [], []
    for start in reference.copies(problem.members):
        model = torch_models.torch_model(problem)
        torch_models.copy_weights(model, start)
        if channels_last and problem.has_conv:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        models.append(model.to(torch_models.device()))
        tools.append(torch_models.torch_optimizer(problem, models[-1].parameters()))
    batches = torch_models.torch_batches(problem, reference, channels_last)
    with torch.no_grad():
        logits = models[0](batches[0][0]).cpu().numpy()

    def train(index: int, num_steps: int) -> list[Any]:
        model, optimizer, losses = models[index], tools[index], []
        for number in range(num_steps):
            images, labels = batches[number % NUM_BATCHES]
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        torch_models.finish()
        return losses

    def run(num_steps: int) -> list[Any]:
        return [train(index, num_steps) for index in range(len(models))]

    def compare(losses: list[Any]) -> dict[str, float]:
        reached = {}
        for index, (member, start) in enumerate(
            zip(sorted(reference.start), reference.copies(len(models)), strict=False)
        ):
            weights = torch_models.flax_weights(dict(models[index].named_parameters()), start)
            reached[member] = weights, float(np.mean([float(loss) for loss in losses[index]]))
        found = distance(reference, "constant", reached)
        return {**found, "logits": float(np.abs(logits - reference.logits).max())}

    check, compile_seconds, _ = first_steps(run, compare)
    return Runner(
        run,
        len(models),
        check=check,
        state_bytes=torch_models.state_bytes(problem, [p for m in models for p in m.parameters()]),
        compile_seconds=compile_seconds,
        facts={"threads": torch.get_num_threads()},
        device_memory=torch_models.device_memory,
    )
