"""Linear: one weight per pixel, channel and class.

Every classifier whose logits are an affine function of the pixels ends here, whatever the origin of
its weights: typed in, estimated (nearest centroid, LDA, ridge regression) or learned.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Num

from catdog_jax.models._shapes import Classes, Shape
from catdog_jax.models.initializers import INITIALIZERS, Gain, Init, Initializer
from catdog_jax.registry import checked
from catdog_jax.types import Classifier, Key, Model, Recipe, Spec


class LinearParams(NamedTuple):
    """The weights of a linear classifier.

    Attributes:
      weights: [D, K], D the numbers of one input in row-major order.
      bias: [K].
    """

    weights: Float[Array, "D K"] | Any
    bias: Float[Array, " K"] | Any


def flatten(inputs: Num[Array, "B ..."], dtype: DTypeLike = jnp.float32) -> Float[Array, "B D"]:
    """Lay each input out as one row of numbers, in row-major order."""
    return inputs.reshape(inputs.shape[0], -1).astype(dtype)


def apply(params: LinearParams, inputs: Num[Array, "B ..."]) -> Float[Array, "B K"]:
    """Compute the logits: one weighted sum of the inputs per class.

    Args:
      params: weights and bias.
      inputs: any shape whose row-major order has D numbers per example.

    Returns:
      float32 logits.
    """
    rows = flatten(inputs, params.weights.dtype)
    return (rows @ params.weights + params.bias[None]).astype(jnp.float32)


def classifier(weights: Any, bias: Any) -> Classifier:
    """Make a classifier of weights [D, K] and bias [K] from elsewhere, as float32."""
    params = LinearParams(jnp.asarray(weights, jnp.float32), jnp.asarray(bias, jnp.float32))
    return Classifier(params, apply)


def affine(draw: Initializer, num_inputs: int, num_classes: int) -> Model:
    """Build the classifier of so many numbers; `draw` makes the weights, the bias starts at 0."""

    def start(key: Key) -> LinearParams:
        weights = draw(key, (num_inputs, num_classes), jnp.float32)
        return LinearParams(weights, jnp.zeros((num_classes,), jnp.float32))

    def features(params: LinearParams, inputs: Num[Array, "B ..."]) -> Any:
        return ("input", inputs), ("logits", apply(params, inputs))

    return Model(start, apply, features)


def affine_in(
    name: str, describe: Callable[[Array], Array], draw: Initializer, size: int, num_classes: int
) -> Model:
    """Build the linear classifier of what a function makes of the inputs.

    Args:
      name: of what the function makes.
      describe: inputs [B, ...] -> [B, size].
      draw, num_classes: see `affine`.
      size: D.
    """

    def features(params: LinearParams, inputs: Num[Array, "B ..."]) -> Any:
        found = describe(inputs)
        return ("input", inputs), (name, found), ("logits", apply(params, found))

    def of_inputs(params: LinearParams, inputs: Num[Array, "B ..."]) -> Float[Array, "B K"]:
        return apply(params, describe(inputs))

    return Model(affine(draw, size, num_classes).init, of_inputs, features)


@checked
def linear(
    input_shape: Shape, num_classes: Classes, *, init: Init = "lecun", gain: Gain = 1.0
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
    return affine(INITIALIZERS[init](gain), math.prod(input_shape), num_classes)


MODELS = {
    "linear": Spec(
        linear,
        recipes={
            "default": Recipe(1500, 128, "sgd", 0.003, weight_decay=0.3),
            "procedural": Recipe(1000, 128, "sgd", 0.005, weight_decay=0.3),
        },
        reads=("images", "vectors"),
    )
}
