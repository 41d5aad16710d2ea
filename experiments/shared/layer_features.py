"""What every layer of a network makes of examples, before and after training."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from catdog_jax.analysis.probe import reduced
from catdog_jax.population import member_keys, parse_vary
from catdog_jax.types import Model, Params
from experiments.shared.config import TrainConfig
from experiments.shared.jobs import Job, preprocess, seeds_of

EXAMPLES_AT_ONCE = 250
LAST_FEATURES = 2048  # of what a head reads, before it is mixed down


class Layer(NamedTuple):
    """One layer: its name in the formula, and how many numbers it makes of one example."""

    name: str
    size: int


class Reader:
    """Reads the layers of one model, all of them in one pass over the examples."""

    def __init__(self, job: Job, max_features: int):
        """Compile nothing yet.

        Args:
          job: the model and its data.
          max_features: a layer of more numbers, but for the logits, is mixed down to so many by
            `reduced`.
        """
        prepare = preprocess(job.dataset) or (lambda inputs: inputs)
        model = job.model

        def raw(params: Params, inputs: Any) -> Any:
            with jax.default_matmul_precision("highest"):
                named = named_features(model, params, prepare(inputs))
            return [x.reshape(x.shape[0], -1).astype(jnp.float32) for _, x in named]

        def mixed(params: Params, inputs: Any) -> Any:
            *layers, logits = raw(params, inputs)
            return [*(reduced(layer, max_features) for layer in layers), logits]

        def last(params: Params, inputs: Any) -> Any:
            return [reduced(raw(params, inputs)[-2], LAST_FEATURES)]

        self._raw, self._mixed, self._last = jax.jit(raw), jax.jit(mixed), jax.jit(last)
        self.layers = _layers(job)

    def mixed(self, params: Params, inputs: np.ndarray) -> list[np.ndarray]:
        """Give every layer of one member as [N, at most max_features] float32."""
        return _in_parts(self._mixed, params, inputs)

    def last(self, params: Params, inputs: np.ndarray) -> np.ndarray:
        """Give what the head of one member reads, [N, at most LAST_FEATURES] float32."""
        return _in_parts(self._last, params, inputs)[0]

    def whole(self, params: Params, inputs: np.ndarray) -> list[np.ndarray]:
        """Give every layer of one member as [N, its size] float32."""
        return _in_parts(self._raw, params, inputs)


def named_features(model: Model, params: Params, inputs: Any) -> tuple[tuple[str, Any], ...]:
    """Give the layers of a formula; of one of a person's own, which names none, the two ends."""
    if model.features is not None:
        return tuple(model.features(params, inputs))
    return (("input", inputs), ("logits", model.apply(params, inputs)))


def starting_params(config: TrainConfig, model: Model, num_members: int) -> Iterator[Params]:
    """Draw the weights that each member started from, again, from its key.

    They are those of the engine: a member is a function of its keys.
    """
    keys = member_keys(seeds_of(config), 0, num_members, parse_vary(config.vary)).init
    for member in range(num_members):
        yield model.init(keys if keys.ndim == 0 else keys[member])


def one_member(params: Params, member: int) -> Params:
    """Take the weights of one member out of those of all, [M, ...]."""
    return jax.tree.map(lambda leaf: leaf[member], params)


def _layers(job: Job) -> list[Layer]:
    """Name and measure the layers without computing any."""
    names: list[str] = []

    def note(params: Any, inputs: Any) -> list[Any]:
        found = named_features(job.model, params, inputs)
        names.extend(name for name, _ in found)
        return [array for _, array in found]

    dtype = np.int32 if job.dataset.kind == "tokens" else np.float32
    inputs = jax.ShapeDtypeStruct((1, *job.dataset.train.inputs.shape[1:]), dtype)
    shapes = jax.eval_shape(note, jax.eval_shape(job.model.init, jax.random.key(0)), inputs)
    return [Layer(name, int(x.size)) for name, x in zip(names, shapes, strict=True)]


def _in_parts(function: Any, params: Params, inputs: np.ndarray) -> list[np.ndarray]:
    """Apply to equal parts, so that one program serves all; the last one is filled up."""
    size = min(EXAMPLES_AT_ONCE, len(inputs))
    parts = []
    for start in range(0, len(inputs), size):
        part = inputs[start : start + size]
        padding = ((0, size - len(part)),) + ((0, 0),) * (inputs.ndim - 1)
        outputs = jax.device_get(function(params, np.pad(part, padding)))
        parts.append([layer[: len(part)] for layer in outputs])
    return [np.concatenate(layers) for layers in zip(*parts, strict=True)]
