"""What most people write: stock Flax layers, optax, a jitted step, a Python loop.

The networks have the names and shapes of the package's params, so that weights can be handed over;
the first steps of this loop are what every competitor is held to.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from catdog_jax.models.build import build_model, normaliser
from catdog_jax.population import Seeds, member_keys, varied
from catdog_jax.population.estimate import flops_of
from catdog_jax.registry import parse_entry, typed_settings, unknown
from catdog_jax.train import epoch_order
from catdog_jax.types import Recipe
from experiments.baselines.case import CHECK_STEPS, NUM_BATCHES, SHAPE, Case, Start, Trainer, loop

NUM_CHECKED = 8  # members whose first steps are compared


class MLP(nn.Module, kw_only=True):
    """Hidden layers of one width; without any, the linear model."""

    depth: int = 2
    width: int = 256

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Return the logits."""
        x = x.reshape(len(x), -1)
        for index in range(1, self.depth + 1):
            x = nn.relu(nn.Dense(self.width, name=f"hidden{index}")(x))
        return nn.Dense(2, name="head")(x)


class CNN(nn.Module, kw_only=True):
    """Convolution, relu, max-pool, stage after stage."""

    widths: tuple[int, ...] = (32, 64, 128, 128)
    head: str = "average"

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Return the logits."""
        for stage, width in enumerate(self.widths, 1):
            x = nn.relu(nn.Conv(width, (3, 3), name=f"conv{stage}_1")(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        return nn.Dense(2, name="head")(pooled(x, self.head))


class ResNet(nn.Module, kw_only=True):
    """A stem, a pre-activation block a stage, one dense layer."""

    widths: tuple[int, ...] = (16, 32, 64)
    stem_stride: int = 1
    head: str = "average"

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Return the logits."""
        x = nn.Conv(self.widths[0], (3, 3), self.stem_stride, name="stem")(x)
        for stage, width in enumerate(self.widths, 1):
            block = Block(width, min(stage, 2), name=f"block{stage}_1")
            x = block(x, 1 / math.sqrt(len(self.widths)))
        return nn.Dense(2, name="head")(pooled(nn.relu(x), self.head))


class Block(nn.Module):
    """A residual block; with a stride of 2, its shortcut is a convolution too."""

    width: int
    stride: int

    @nn.compact
    def __call__(self, x: Any, scale: float) -> Any:
        """Return the sum of shortcut and branch."""
        h = nn.relu(x)
        if self.stride > 1:
            x = nn.Conv(self.width, (1, 1), self.stride, use_bias=False, name="shortcut")(h)
        h = nn.relu(nn.Conv(self.width, (3, 3), self.stride, name="conv1")(h))
        return x + scale * nn.Conv(self.width, (3, 3), name="conv2")(h)


def pooled(x: Any, head: str) -> Any:
    """Average the last image, or flatten it."""
    return x.mean((1, 2)) if head == "average" else x.reshape(len(x), -1)


NETWORKS: dict[str, Callable[..., nn.Module]] = {"mlp": MLP, "cnn": CNN, "resnet": ResNet}
NETWORKS["linear"] = functools.partial(MLP, depth=0)


def network(model: str) -> Any:
    """Build what a string of --models names, of the settings that every competitor has.

    Raises:
      InputError: a model or a setting that is not compared.
    """
    name, settings = parse_entry(model)
    if name not in NETWORKS:
        raise unknown("model", name, NETWORKS, "the benchmark compares no other")
    build_model(model, SHAPE, 2)  # raises where a value is not allowed
    return NETWORKS[name](**typed_settings(model, NETWORKS[name], settings))


def make_optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """Make a recipe's optimiser, Adam or momentum after weight decay, from optax alone."""
    rate, adam = recipe.learning_rate, recipe.optimizer == "adam"
    tx = optax.adam(rate) if adam else optax.sgd(rate, momentum=0.9)
    return optax.chain(optax.add_decayed_weights(recipe.weight_decay), tx)


def make_step(case: Case) -> Callable[..., Any]:
    """Make (params, opt_state, images, labels) -> (params, opt_state, loss), one member's step."""
    module, tx = network(case.model), make_optimizer(case.recipe)
    # On a GPU stock JAX would round products to TF32 where float32 is asked of the others.
    precision = "highest" if case.precision == "float32" else "tensorfloat32"

    def loss_of(params: Any, images: Any, labels: Any) -> Any:
        logits = module.apply({"params": params}, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def step(params: Any, opt_state: Any, images: Any, labels: Any) -> Any:
        with jax.default_matmul_precision(precision):
            loss, grads = jax.value_and_grad(loss_of)(params, images, labels)
        updates, opt_state = tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    return step


def prepare(case: Case, start: Start) -> Trainer:
    """Put the members and ready-made batches on the device."""
    update, tx = jax.jit(make_step(case), donate_argnums=(0, 1)), make_optimizer(case.recipe)
    batches = jax.device_put(list(zip(start.images, start.labels, strict=True)))
    weights = jax.device_put(start.copies(case.members))
    members = [jax.tree.map(lambda x, m=m: x[m], weights) for m in range(case.members)]
    states: list[Any] = [(params, tx.init(params)) for params in members]

    def step(images: Any, labels: Any) -> Any:
        states[:] = [update(*state, images, labels)[:2] for state in states]
        return states

    def params() -> Any:
        return jax.tree.map(lambda *leaves: np.stack(leaves), *(state[0] for state in states))

    return Trainer(case.members, loop(step, batches), params)


def first_steps(case: Case) -> Start:
    """Make where all competitors begin: the engine's weights and batches; and train from there."""
    task = case.task()
    keys, data = member_keys(Seeds(), varied(NUM_CHECKED)), task.data.train
    order = np.asarray(epoch_order(keys.order, jnp.int32(0), len(data.labels)))
    rows = order[: NUM_BATCHES * case.recipe.batch_size].reshape(NUM_BATCHES, -1)
    normalise, labels = normaliser(**task.data.constants), data.labels[rows]
    images = jax.vmap(normalise)(jnp.asarray(data.inputs[rows]))
    kinds = [device.device_kind for device in jax.local_devices()]
    params, flops = as_flax(jax.vmap(task.formula.init)(keys.init)), flops_of(task.training)
    start = Start(jax.default_backend(), kinds, flops, np.asarray(images), labels, params)
    trainer = prepare(case._replace(members=NUM_CHECKED, precision="float32"), start)
    trainer.train(CHECK_STEPS)
    return start._replace(end=trainer.params())


def as_flax(params: Any) -> Any:
    """Turn the package's params into nested dicts of numpy arrays."""
    if hasattr(params, "_fields"):  # the linear model's
        params = {"head": {"kernel": params.weights, "bias": params.bias}}
    return jax.tree.map(np.asarray, params)
