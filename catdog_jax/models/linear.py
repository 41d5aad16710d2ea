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

from catdog_jax.models import parts
from catdog_jax.types import Classifier, Key, Model, Recipe, Spec, Units


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


def affine(
    size: int,
    num_classes: int,
    init: str,
    gain: float,
    name: str = "",
    describe: Callable[[Array], Array] = lambda inputs: inputs,
) -> Model:
    """Build the linear classifier of inputs, or of what a function makes of them.

    Args:
      size: D.
      num_classes: K.
      init, gain: a name of `parts.INITIALIZERS` and its factor; the bias starts at zero.
      name: of what the function makes; '' where it is the inputs.
      describe: inputs [B, ...] -> [B, D], of any shape.

    Returns:
      The model; its params are `LinearParams`.
    """

    def start(key: Key) -> LinearParams:
        weights = parts.INITIALIZERS[init](gain)(key, (size, num_classes), jnp.float32)
        return LinearParams(weights, jnp.zeros((num_classes,), jnp.float32))

    def features(params: LinearParams, inputs: Num[Array, "B ..."]) -> Any:
        found = describe(inputs)
        middle = ((name, found),) if name else ()
        return ("input", inputs), *middle, ("logits", apply(params, found))

    none = Units({}, lambda params, inputs: {})  # no hidden units
    return Model(
        start, lambda params, inputs: apply(params, describe(inputs)), features, units=none
    )


def linear(
    input_shape: parts.Shape,
    num_classes: parts.Classes,
    *,
    init: parts.Init = "lecun",
    gain: parts.Gain = 1.0,
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
    return affine(math.prod(input_shape), num_classes, init, gain)


RECIPES = {
    "default": Recipe(1500, 128, "sgd", 0.003, weight_decay=0.3),
    "procedural": Recipe(1000, 128, "sgd", 0.005, weight_decay=0.3),
}
MODELS = {"linear": Spec(linear, RECIPES, reads=("images", "vectors"))}
