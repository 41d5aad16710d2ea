"""Linear: one weight per pixel, channel and class.

Every classifier whose logits are an affine function of the pixels ends here, whatever the origin of
its weights: typed in, estimated (nearest centroid, LDA, ridge regression) or learned.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from catdog_jax.models import _checks
from catdog_jax.models.initializers import initializer
from catdog_jax.types import Key, Model, ModelSpec, Recipe


class LinearParams(NamedTuple):
    """The weights of a linear classifier.

    Attributes:
      weights: [D, K], D the numbers of one input in row-major order.
      bias: [K].
    """

    weights: Float[Array, "D K"] | Any
    bias: Float[Array, " K"] | Any


def flatten(inputs: Num[Array, "B ..."]) -> Float[Array, "B D"]:
    """Lay each input out as one row of float32 numbers, in row-major order."""
    return inputs.reshape(inputs.shape[0], -1).astype(jnp.float32)


def apply(params: LinearParams, inputs: Num[Array, "B ..."]) -> Float[Array, "B K"]:
    """Compute the logits: one weighted sum of the inputs per class.

    Args:
      params: weights and bias.
      inputs: any shape whose row-major order has D numbers per example.

    Returns:
      float32 logits.
    """
    return (flatten(inputs) @ params.weights + params.bias[None]).astype(jnp.float32)


def features(
    params: LinearParams, inputs: Num[Array, "B ..."]
) -> tuple[tuple[str, Num[Array, "B ..."]], ...]:
    """Return the inputs and the logits, named."""
    return ("input", inputs), ("logits", apply(params, inputs))


def linear(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    init: str = "lecun",
    gain: float = 1.0,
) -> Model:
    """Build a linear classifier.

    Args:
      input_shape: shape of one example, without the batch.
      num_classes: K ≥ 2.
      init: initialiser of the weights; the bias starts at zero.
      gain: multiplies the initialiser's standard deviation, > 0.

    Returns:
      The model; its params are `LinearParams`.

    Raises:
      InputError: a setting out of range.
    """
    _checks.task("linear", input_shape, num_classes)
    _checks.positive("linear", "gain", gain)
    draw = initializer(init, gain)
    size = math.prod(input_shape)

    def start(key: Key) -> LinearParams:
        weights = draw(key, (size, num_classes), jnp.float32)
        return LinearParams(weights, jnp.zeros((num_classes,), jnp.float32))

    return Model(init=start, apply=apply, features=features)


MODELS = {
    "linear": ModelSpec(
        build=linear,
        summary="one weight per pixel, channel and class",
        recipes={
            "default": Recipe(
                num_steps=1500,
                batch_size=128,
                optimizer="sgd",
                learning_rate=0.003,
                weight_decay=0.3,
            ),
            "procedural": Recipe(
                num_steps=1000,
                batch_size=128,
                optimizer="sgd",
                learning_rate=0.005,
                weight_decay=0.3,
            ),
        },
        reads=("images", "vectors"),
    )
}
