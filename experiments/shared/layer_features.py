"""What every layer of a network makes of examples, before and after training."""

import operator
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from catdog_jax.population import member_keys, parse_vary
from catdog_jax.types import Model, Params
from experiments.shared.config import TrainConfig
from experiments.shared.jobs import Job, preprocess, seeds_of

EXAMPLES_AT_ONCE = 250


def named_features(model: Model, params: Params, inputs: Any) -> tuple[tuple[str, Any], ...]:
    """Give the layers of a formula; of one of a person's own, which names none, the two ends."""
    if model.features is not None:
        return tuple(model.features(params, inputs))
    return (("input", inputs), ("logits", model.apply(params, inputs)))


def layer_shapes(job: Job) -> list[tuple[str, tuple[int, ...]]]:
    """Name the layers, with the shape of what each makes of one example, computing none."""
    found: list[tuple[str, tuple[int, ...]]] = []

    def note(params: Params, inputs: Any) -> None:
        layers = named_features(job.model, params, inputs)
        found.extend((name, x.shape[1:]) for name, x in layers)

    dtype = np.int32 if job.dataset.kind == "tokens" else np.float32
    inputs = jax.ShapeDtypeStruct((1, *job.dataset.train.inputs.shape[1:]), dtype)
    jax.eval_shape(note, jax.eval_shape(job.model.init, jax.random.key(0)), inputs)
    return found


def layer_reader(
    job: Job, chosen: Callable[[list[Any]], list[Any]] = list
) -> Callable[[Params, np.ndarray], list[np.ndarray]]:
    """Make a function (params of one member, examples) -> layers, each [N, numbers] float32.

    Args:
      job: the model and its data.
      chosen: what is kept of the layers [B, size], in order, the logits last; a pure function.
    """
    prepare = preprocess(job.dataset) or (lambda inputs: inputs)

    @jax.jit
    def layers(params: Params, inputs: Any) -> list[Any]:
        with jax.default_matmul_precision("highest"):
            named = named_features(job.model, params, prepare(inputs))
        return chosen([x.reshape(x.shape[0], -1).astype(jnp.float32) for _, x in named])

    def read(params: Params, inputs: np.ndarray) -> list[np.ndarray]:
        # Equal parts, so that one program serves all; the last one is filled up.
        size = min(EXAMPLES_AT_ONCE, len(inputs))
        parts = []
        for start in range(0, len(inputs), size):
            part = inputs[start : start + size]
            padding = ((0, size - len(part)),) + ((0, 0),) * (inputs.ndim - 1)
            outputs = jax.device_get(layers(params, np.pad(part, padding)))
            parts.append([layer[: len(part)] for layer in outputs])
        return [np.concatenate(same) for same in zip(*parts, strict=True)]

    return read


def before_and_after(
    config: TrainConfig, model: Model, params: Params
) -> Iterator[tuple[Params, Params]]:
    """Give the weights that each member started from, drawn again from its key, and those it has.

    The first are those of the engine: a member is a function of its keys.

    Args:
      config: of the run.
      model: the formula.
      params: final weights, stacked [M, ...].
    """
    num_members = len(jax.tree.leaves(params)[0])
    keys = member_keys(seeds_of(config), 0, num_members, parse_vary(config.vary)).init
    for member in range(num_members):
        start = model.init(keys if keys.ndim == 0 else keys[member])
        yield start, jax.tree.map(operator.itemgetter(member), params)
