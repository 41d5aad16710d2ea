"""The compared models as anyone would write them: stock Flax layers, optax, nothing of our own.

Parameters have the names and shapes of the package's models, so that weights can be handed over.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from experiments.shared.throughput.problem import CLASSES, Problem


class Linear(nn.Module):
    """One dense layer on the flattened picture."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Return the logits."""
        return nn.Dense(CLASSES, name="head")(x.reshape(x.shape[0], -1))


class MLP(nn.Module):
    """Hidden layers of one width."""

    depth: int
    width: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Return the logits."""
        x = x.reshape(x.shape[0], -1)
        for index in range(1, self.depth + 1):
            x = nn.relu(nn.Dense(self.width, name=f"hidden{index}")(x))
        return nn.Dense(CLASSES, name="head")(x)


class CNN(nn.Module):
    """Convolution, relu, max-pool, stage after stage."""

    widths: tuple[int, ...]
    convs: int
    kernel_size: int
    head: str

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Return the logits."""
        window = (self.kernel_size, self.kernel_size)
        for stage, width in enumerate(self.widths, 1):
            for index in range(1, self.convs + 1):
                x = nn.relu(nn.Conv(width, window, name=f"conv{stage}_{index}")(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        return nn.Dense(CLASSES, name="head")(_last(x, self.head))


class Block(nn.Module):
    """A pre-activation basic block."""

    width: int
    stride: int
    scale: float

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Return the sum of shortcut and branch."""
        strides = (self.stride, self.stride)
        h, shortcut = nn.relu(x), x
        if self.stride > 1 or x.shape[-1] != self.width:
            shortcut = nn.Conv(self.width, (1, 1), strides, use_bias=False, name="shortcut")(h)
        h = nn.relu(nn.Conv(self.width, (3, 3), strides, name="conv1")(h))
        return shortcut + self.scale * nn.Conv(self.width, (3, 3), name="conv2")(h)


class ResNet(nn.Module):
    """A stem, stages of blocks, one dense layer."""

    widths: tuple[int, ...]
    blocks: int
    stem_stride: int
    head: str

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Return the logits."""
        scale = 1 / math.sqrt(self.blocks * len(self.widths))
        x = nn.Conv(self.widths[0], (3, 3), (self.stem_stride,) * 2, name="stem")(x)
        for stage, width in enumerate(self.widths, 1):
            for index in range(1, self.blocks + 1):
                stride = 2 if stage > 1 and index == 1 else 1
                x = Block(width, stride, scale, name=f"block{stage}_{index}")(x)
        return nn.Dense(CLASSES, name="head")(_last(nn.relu(x), self.head))


def _last(x: Any, head: str) -> Any:
    return x.mean((1, 2)) if head == "average" else x.reshape(x.shape[0], -1)


FAMILIES: Mapping[str, Callable[..., nn.Module]] = {
    "linear": Linear,
    "mlp": MLP,
    "cnn": CNN,
    "resnet": ResNet,
}


def stock_apply(problem: Problem) -> Callable[[Any, Any], Any]:
    """Make (params, images [B, H, W, C] float32) -> logits [B, K]."""
    module = FAMILIES[problem.family](**problem.settings())

    def apply(params: Any, images: Any) -> Any:
        return module.apply({"params": params}, images)

    return apply


def stock_optimizer(problem: Problem, shape: Callable[[Any], Any] | None = None) -> Any:
    """Make the optimiser that the model's recipe names, from optax alone.

    Args:
      problem: whose recipe; Adam, or gradient descent with momentum and weight decay.
      shape: step -> factor of the learning rate; None for a constant one.
    """
    recipe = problem.recipe
    rate: Any = recipe.learning_rate
    if shape is not None:
        rate = lambda step: recipe.learning_rate * shape(step)  # noqa: E731
    if recipe.optimizer == "adam":
        return optax.adam(rate)
    return optax.chain(
        optax.add_decayed_weights(recipe.weight_decay), optax.sgd(rate, momentum=0.9)
    )


def stock_step(problem: Problem, tx: Any) -> Callable[..., Any]:
    """Make (params, opt_state, images, labels) -> (params, opt_state, loss), one member's step."""
    apply = stock_apply(problem)

    def loss_of(params: Any, images: Any, labels: Any) -> Any:
        logits = apply(params, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def step(params: Any, opt_state: Any, images: Any, labels: Any) -> Any:
        # On a GPU stock JAX would round products to TF32 where float32 is asked of the others.
        precision = {"float32": "highest"}.get(problem.precision, "tensorfloat32")
        with jax.default_matmul_precision(precision):
            loss, grads = jax.value_and_grad(loss_of)(params, images, labels)
        updates, opt_state = tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    return step


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn 'hidden1/kernel' -> array into the nested dicts that Flax takes."""
    tree: dict[str, Any] = {}
    for path, array in flat.items():
        *outer, last = path.split("/")
        place = tree
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = jnp.asarray(array)
    return tree


def flat(params: Any) -> dict[str, Any]:
    """Turn the params of a compared model, the package's or stock, into 'hidden1/kernel' -> array.

    The package's linear model keeps its weights in a `LinearParams`.
    """
    if hasattr(params, "_fields"):
        params = {"head": {"kernel": params.weights, "bias": params.bias}}
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {"/".join(key.key for key in path): leaf for path, leaf in leaves}
