"""Torch as it is usually written: one model after another, a Python loop over steps."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from flax.traverse_util import flatten_dict, unflatten_dict
from torch.nn import functional as F

from catdog_jax.population.devices import num_cores
from experiments.baselines.case import Case, Start, Trainer, loop
from experiments.baselines.flax_loop import CNN, MLP, ResNet, network

# Axes in torch's order and back, members in front: [M, R, S, C, K] and [M, K, C, R, S].
TO_TORCH = {2: (0, 1), 3: (0, 2, 1), 5: (0, 4, 3, 1, 2)}
TO_FLAX = {2: (0, 1), 3: (0, 2, 1), 5: (0, 3, 4, 2, 1)}


def make_loss(case: Case) -> Callable[[Any, Any, Any], Any]:
    """Make (weights by name, images, labels) -> mean loss of a batch, in plain torch."""
    shape = network(case.model)

    def dense(p: Any, name: str, x: Any) -> Any:
        return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])

    def conv(p: Any, name: str, x: Any, stride: int = 1) -> Any:
        weight, bias = p[f"{name}.weight"], p.get(f"{name}.bias")
        border = weight.shape[-1] // 2
        if stride > 1:  # as Flax's 'SAME': below and right alone
            x, border = F.pad(x, (0, border, 0, border)) if border else x, 0
        return F.conv2d(x, weight, bias, stride, border)

    def pooled(x: Any) -> Any:
        return x.mean((2, 3)) if shape.head == "average" else x.permute(0, 2, 3, 1).flatten(1)

    def mlp(p: Any, x: Any) -> Any:
        for index in range(1, shape.depth + 1):
            x = F.relu(dense(p, f"hidden{index}", x))
        return x

    def cnn(p: Any, x: Any) -> Any:
        for stage in range(1, len(shape.widths) + 1):
            x = F.max_pool2d(F.relu(conv(p, f"conv{stage}_1", x)), 2)
        return pooled(x)

    def resnet(p: Any, x: Any) -> Any:
        x = conv(p, "stem", x, shape.stem_stride)
        for stage in range(1, len(shape.widths) + 1):
            block, stride, h = f"block{stage}_1", min(stage, 2), F.relu(x)
            x = x if stride == 1 else conv(p, f"{block}.shortcut", h, stride)
            h = F.relu(conv(p, f"{block}.conv1", h, stride))
            x = x + conv(p, f"{block}.conv2", h) / math.sqrt(len(shape.widths))
        return pooled(F.relu(x))

    body = {CNN: cnn, ResNet: resnet, MLP: mlp}[type(shape)]
    return lambda p, images, labels: F.cross_entropy(dense(p, "head", body(p, images)), labels)


def make_optimizer(case: Case, weights: Any) -> torch.optim.Optimizer:
    """Make the optimiser of the model's recipe in torch's fused form, its fastest."""
    rate, decay = case.recipe.learning_rate, case.recipe.weight_decay
    if case.recipe.optimizer == "adam":
        return torch.optim.Adam(weights.values(), rate, fused=True)
    return torch.optim.SGD(weights.values(), rate, 0.9, weight_decay=decay, fused=True)


def set_up(
    case: Case, start: Start, layout: Any = torch.contiguous_format, threads: int = 0
) -> tuple[Any, Any]:
    """Put members' weights and ready-made batches on the kind of device that the engine has.

    Args:
      case: what is trained.
      start: the weights and batches.
      layout: of pictures in memory.
      threads: that torch may use; 0 for one a core.

    Returns:
      The weights by name, members in front, and [(images, labels)].
    """
    torch.set_num_threads(threads or num_cores())
    torch.set_float32_matmul_precision("highest" if case.precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = case.precision != "float32"
    torch.backends.cudnn.benchmark = True
    device = "cpu" if start.backend == "cpu" else "cuda"
    weights = {}
    for name, x in flatten_dict(start.copies(case.members), sep=".").items():
        x = np.ascontiguousarray(x.transpose(TO_TORCH[x.ndim]))  # else torch keeps Flax's order
        weights[name.replace("kernel", "weight")] = torch.tensor(x, device=device)
    images = torch.tensor(start.images, device=device)
    pictures = [x.permute(0, 3, 1, 2).contiguous(memory_format=layout) for x in images]
    labels = torch.tensor(start.labels, device=device).long()
    inputs = pictures if case.has_conv else images.flatten(2)
    return weights, list(zip(inputs, labels, strict=True))


def to_flax(weights: Any) -> Any:
    """Turn torch's weights by name, members in front, into stock Flax's."""
    flat = {
        name.replace("weight", "kernel"): x.detach().cpu().numpy().transpose(TO_FLAX[x.ndim])
        for name, x in weights.items()
    }
    return unflatten_dict(flat, sep=".")


def prepare(case: Case, start: Start, **options: Any) -> Trainer:
    """Put one model, which stands for any number, and ready-made batches on the device.

    Args:
      case: the model.
      start: its weights and batches.
      **options: of `set_up`.
    """
    weights, batches = set_up(case, start, **options)
    layout = options.get("layout", torch.contiguous_format)
    for name, x in weights.items():
        x = x[0].contiguous(memory_format=layout) if x.ndim == 5 else x[0]
        weights[name] = x.requires_grad_()
    loss_of, optimizer = make_loss(case), make_optimizer(case, weights)

    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(weights, images, labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    train = loop(step, batches, torch.Tensor.cpu)
    return Trainer(1, train, lambda: to_flax({name: x[None] for name, x in weights.items()}))
