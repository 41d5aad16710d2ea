"""What most people write: stock Flax layers, optax, a jitted step, a Python loop.

The networks have the names and shapes of the package's params, so that weights can be handed over;
the first steps of this loop are what every competitor is held to.
"""

import functools
import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from catdog_jax.population import Seeds, member_keys
from catdog_jax.population.devices import num_cores
from catdog_jax.population.flops import step_flops
from catdog_jax.registry import parse_entry, typed_settings, unknown
from catdog_jax.train import batch_at, epoch_order
from experiments.baselines.case import CHECK_STEPS, Case, Start, Trainer
from experiments.shared.jobs import preprocess

NUM_BATCHES = 8  # that the baselines have at hand, ready-made
NUM_CHECKED = 8  # members whose first steps are compared, at most


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

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Return the logits."""
        for stage, width in enumerate(self.widths, 1):
            x = nn.relu(nn.Conv(width, (3, 3), name=f"conv{stage}_1")(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        return nn.Dense(2, name="head")(x.mean((1, 2)))


class ResNet(nn.Module, kw_only=True):
    """A stem, a pre-activation block a stage, one dense layer."""

    widths: tuple[int, ...] = (16, 32, 64)

    @nn.compact
    def __call__(self, x: Any) -> Any:
        """Return the logits."""
        x = nn.Conv(self.widths[0], (3, 3), name="stem")(x)
        for stage, width in enumerate(self.widths, 1):
            block = Block(width, min(stage, 2), name=f"block{stage}_1")
            x = block(x, 1 / math.sqrt(len(self.widths)))
        return nn.Dense(2, name="head")(nn.relu(x).mean((1, 2)))


class Block(nn.Module):
    """A residual block; with a stride of 2, its shortcut is a convolution too."""

    width: int
    stride: int

    @nn.compact
    def __call__(self, x: Any, scale: float) -> Any:
        """Return the sum of shortcut and branch."""
        h, strides = nn.relu(x), (self.stride, self.stride)
        if self.stride > 1:
            x = nn.Conv(self.width, (1, 1), strides, use_bias=False, name="shortcut")(h)
        h = nn.relu(nn.Conv(self.width, (3, 3), strides, name="conv1")(h))
        return x + scale * nn.Conv(self.width, (3, 3), name="conv2")(h)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "linear": functools.partial(MLP, depth=0),
    "mlp": MLP,
    "cnn": CNN,
    "resnet": ResNet,
}


def network(model: str) -> Any:
    """Build what a string of --models names, of the settings that every competitor has.

    Raises:
      InputError: a model or a setting that is not compared.
    """
    name, settings = parse_entry(model)
    if name not in NETWORKS:
        raise unknown("model", name, NETWORKS, "the benchmark compares no other")
    return NETWORKS[name](**typed_settings(model, NETWORKS[name], settings))


def make_optimizer(case: Case) -> optax.GradientTransformation:
    """Make a recipe's optimiser, Adam or momentum with weight decay, from optax alone."""
    recipe = case.recipe
    if recipe.optimizer == "adam":
        return optax.adam(recipe.learning_rate)
    sgd = optax.sgd(recipe.learning_rate, momentum=0.9)
    return optax.chain(optax.add_decayed_weights(recipe.weight_decay), sgd)


def make_step(case: Case) -> Callable[..., Any]:
    """Make (params, opt_state, images, labels) -> (params, opt_state, loss), one member's step."""
    module, tx = network(case.model), make_optimizer(case)
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
    step = jax.jit(make_step(case), donate_argnums=(0, 1))
    batches = jax.device_put(list(zip(start.images, start.labels, strict=True)))
    weights = jax.device_put(start.copies(case.members))
    members = [jax.tree.map(lambda x, m=m: x[m], weights) for m in range(case.members)]
    states: list[Any] = [(params, make_optimizer(case).init(params)) for params in members]

    def train_one(index: int, num_steps: int) -> Any:
        state, losses = states[index], []
        for batch in itertools.islice(itertools.cycle(batches), num_steps):
            *state, loss = step(*state, *batch)
            losses.append(loss)
        states[index] = jax.block_until_ready(state)
        return np.mean(losses[-NUM_BATCHES:])

    def train(num_steps: int) -> Any:
        return np.array([train_one(index, num_steps) for index in range(case.members)])

    def params() -> Any:
        return jax.tree.map(lambda *leaves: np.stack(leaves), *(state[0] for state in states))

    return Trainer(case.members, train, params)


def first_steps(case: Case) -> Start:
    """Make where all competitors begin: the engine's weights and batches; and train from there."""
    job, members = case.job(), min(case.members, NUM_CHECKED)
    keys = member_keys(Seeds(), 0, members)
    order = epoch_order(keys.order, jnp.int32(0), case.examples)
    data, normalise = job.dataset.train.data, preprocess(job.dataset)
    steps = map(jnp.int32, range(NUM_BATCHES))
    batches = [batch_at(order, step, data, case.recipe.batch_size) for step in steps]
    images = np.stack([normalise(batch.inputs) for batch in batches])
    params, module = as_flax(jax.vmap(job.model.init)(keys.init)), network(case.model)
    one = jax.tree.map(lambda x: x[0], params)
    flops = step_flops(lambda p, x: module.apply({"params": p}, x), one, images[0])
    kinds = [device.device_kind for device in jax.local_devices()]
    if kinds[0] == "cpu" and Path("/proc/cpuinfo").exists():
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        kinds = re.findall(r"model name\s*: (.*)", text)[: num_cores()] or kinds
    labels = np.stack([batch.labels for batch in batches])
    start = Start(jax.default_backend(), kinds, flops, images, labels, params)
    trainer = prepare(case._replace(members=members, precision="float32"), start)
    return start._replace(losses=trainer.train(CHECK_STEPS), end=trainer.params())


def as_flax(params: Any) -> Any:
    """Turn the package's params into nested dicts of numpy arrays."""
    if hasattr(params, "_fields"):  # the linear model's
        params = {"head": {"kernel": params.weights, "bias": params.bias}}
    return jax.tree.map(np.asarray, params)
