"""The compared models in torch, with the weights of stock Flax copied in."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from experiments.shared.peers.reference import Reference
from experiments.shared.throughput.problem import CLASSES, Problem


def device() -> torch.device:
    """Return the GPU where torch has one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Same(nn.Conv2d):
    """A convolution whose border is that of 'SAME': with stride 2, below and right alone."""

    def forward(self, input: Any) -> Any:
        """Return the convolved images."""
        if self.stride[0] == 2 and self.kernel_size[0] == 3:
            return self._conv_forward(F.pad(input, (0, 1, 0, 1)), self.weight, self.bias)
        return super().forward(input)


def same(inputs: int, outputs: int, window: int, stride: int = 1, bias: bool = True) -> Same:
    """Make a convolution; torch pads evenly where the stride is 1 and the window odd."""
    even_sides = stride == 2 and window == 3
    padding: Any = 0 if even_sides else window // 2
    if window % 2 == 0:
        padding = "same"
    return Same(inputs, outputs, window, stride, padding, bias=bias)


class MLP(nn.Module):
    """Dense layers on flat pictures; without hidden layers, the linear model."""

    def __init__(self, size: int, depth: int = 0, width: int = 0):
        super().__init__()
        sizes = [size] + [width] * depth
        for index in range(1, depth + 1):
            self.add_module(f"hidden{index}", nn.Linear(sizes[index - 1], width))
        self.head = nn.Linear(sizes[-1], CLASSES)
        self.depth = depth

    def forward(self, x: Any) -> Any:
        """Return the logits."""
        for index in range(1, self.depth + 1):
            x = F.relu(self.get_submodule(f"hidden{index}")(x))
        return self.head(x)


class CNN(nn.Module):
    """Convolution, relu, max-pool, stage after stage."""

    def __init__(self, side: int, widths: Any, convs: int, kernel_size: int, head: str):
        super().__init__()
        last = 3
        for stage, width in enumerate(widths, 1):
            for index in range(1, convs + 1):
                self.add_module(f"conv{stage}_{index}", same(last, width, kernel_size))
                last = width
        left = side // 2 ** len(widths)
        self.head = nn.Linear(last * (left**2 if head == "flatten" else 1), CLASSES)
        self.stages, self.convs, self.average = len(widths), convs, head == "average"

    def forward(self, x: Any) -> Any:
        """Return the logits."""
        for stage in range(1, self.stages + 1):
            for index in range(1, self.convs + 1):
                x = F.relu(self.get_submodule(f"conv{stage}_{index}")(x))
            x = F.max_pool2d(x, 2)
        return self.head(x.mean((2, 3)) if self.average else x.permute(0, 2, 3, 1).flatten(1))


class Block(nn.Module):
    """A pre-activation basic block."""

    def __init__(self, inputs: int, width: int, stride: int, scale: float):
        super().__init__()
        self.conv1 = same(inputs, width, 3, stride)
        self.conv2 = same(width, width, 3)
        self.shortcut = None
        if stride > 1 or inputs != width:
            self.shortcut = same(inputs, width, 1, stride, bias=False)
        self.scale = scale

    def forward(self, x: Any) -> Any:
        """Return the sum of shortcut and branch."""
        h = F.relu(x)
        shortcut = x if self.shortcut is None else self.shortcut(h)
        return shortcut + self.scale * self.conv2(F.relu(self.conv1(h)))


class ResNet(nn.Module):
    """A stem, stages of blocks, one dense layer."""

    def __init__(self, side: int, widths: Any, blocks: int, stem_stride: int, head: str):
        super().__init__()
        scale = 1 / math.sqrt(blocks * len(widths))
        self.stem = same(3, widths[0], 3, stem_stride)
        self.names, last, left = [], widths[0], side // stem_stride
        for stage, width in enumerate(widths, 1):
            for index in range(1, blocks + 1):
                stride = 2 if stage > 1 and index == 1 else 1
                self.names.append(f"block{stage}_{index}")
                self.add_module(self.names[-1], Block(last, width, stride, scale))
                last, left = width, left // stride
        self.head = nn.Linear(last * (left**2 if head == "flatten" else 1), CLASSES)
        self.average = head == "average"

    def forward(self, x: Any) -> Any:
        """Return the logits."""
        x = self.stem(x)
        for name in self.names:
            x = self.get_submodule(name)(x)
        x = F.relu(x)
        return self.head(x.mean((2, 3)) if self.average else x.permute(0, 2, 3, 1).flatten(1))


def torch_model(problem: Problem) -> nn.Module:
    """Build the model of a problem; its weights are not the right ones yet."""
    settings = dict(problem.settings())
    if not problem.has_conv:
        return MLP(math.prod(problem.shape), **settings)
    return (CNN if problem.family == "cnn" else ResNet)(problem.side, **settings)


def copy_weights(model: nn.Module, weights: dict[str, np.ndarray]) -> None:
    """Put stock Flax's weights into a torch model."""
    for name, parameter in model.named_parameters():
        value = weights[_flax_name(name)]
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(_to_torch(value, parameter.shape)))


def flax_weights(state: dict[str, Any], like: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn a torch model's weights, by name, into stock Flax's."""
    return {
        _flax_name(name): _to_flax(value.detach().cpu().numpy(), like[_flax_name(name)].shape)
        for name, value in state.items()
    }


def _flax_name(name: str) -> str:
    return name.replace(".weight", ".kernel").replace(".", "/")


def _to_torch(value: np.ndarray, shape: Any) -> np.ndarray:
    if value.ndim == 4:  # [R, S, C, K] -> [K, C, R, S]
        return np.ascontiguousarray(value.transpose(3, 2, 0, 1))
    if value.ndim == 2:
        return np.ascontiguousarray(value.T).reshape(shape)
    return value


def _to_flax(value: np.ndarray, shape: Any) -> np.ndarray:
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    return value.T.reshape(shape) if value.ndim == 2 else value


def torch_optimizer(problem: Problem, parameters: Any) -> torch.optim.Optimizer:
    """Make the optimiser of the model's recipe in torch's fused form, its fastest."""
    recipe = problem.recipe
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, recipe.learning_rate, fused=True)
    return torch.optim.SGD(
        parameters, recipe.learning_rate, 0.9, weight_decay=recipe.weight_decay, fused=True
    )


def torch_batches(problem: Problem, reference: Reference, channels_last: bool) -> list[Any]:
    """Put the ready-made batches on torch's device, in the layout its model likes."""
    batches = []
    for images, labels in zip(reference.images, reference.labels, strict=True):
        x = torch.from_numpy(images)
        if problem.has_conv:
            x = x.permute(0, 3, 1, 2)
            layout = torch.channels_last if channels_last else torch.contiguous_format
            x = x.contiguous(memory_format=layout)
        else:
            x = x.flatten(1)
        batches.append((x.to(device()), torch.from_numpy(labels).long().to(device())))
    return batches


def state_bytes(problem: Problem, parameters: Iterable[Any]) -> int:
    """Tell what weights and the optimiser's moments take."""
    moments = {"adam": 2, "sgd": 1}[problem.recipe.optimizer]
    return (1 + moments) * sum(p.numel() * p.element_size() for p in parameters)


def set_precision(problem: Problem) -> None:
    """Let products on a GPU use TF32 unless float32 is asked for."""
    torch.set_float32_matmul_precision("highest" if problem.precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = problem.precision != "float32"
    torch.backends.cudnn.benchmark = True


def finish() -> None:
    """Wait until torch's device has done all it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def device_memory() -> int | None:
    """Tell the peak bytes on torch's GPU; None on a CPU."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
