"""Multilayer perceptron: hidden layers of one width on the flattened input."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Num

from catdog_jax.models import _checks
from catdog_jax.models._linen import Recorder, linen_model
from catdog_jax.models.activations import activation as find_activation
from catdog_jax.models.initializers import initializer
from catdog_jax.models.normalization import Norm, check_norm
from catdog_jax.registry import check_whole
from catdog_jax.types import Model, ModelSpec, Recipe

_MOST_LAYERS = 16


def mlp(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    depth: int = 2,
    width: int = 256,
    activation: str = "relu",
    norm: str = "none",
    init: str = "he",
    gain: float = 1.0,
) -> Model:
    """Build a multilayer perceptron.

    Args:
      input_shape: shape of one example, without the batch.
      num_classes: K ≥ 2 logits, or 1 for a regression.
      depth: hidden layers, 1 to 16.
      width: units of each hidden layer, ≥ 1.
      activation: a name of `activations.ACTIVATIONS`.
      norm: 'none', 'layer', 'group' or 'rms', before the activation.
      init: initialiser of every kernel, the last one ten times smaller; biases start at zero.
      gain: multiplies the initialiser's standard deviation, > 0.

    Raises:
      InputError: a setting out of range.
    """
    _checks.task("mlp", input_shape, num_classes, fewest=1)
    check_whole("mlp", "depth", depth, 1, _MOST_LAYERS)
    check_whole("mlp", "width", width, 1)
    check_norm("mlp", norm, width)
    act = find_activation(activation)
    draw = initializer(init, gain, "mlp")

    def layers(record: Recorder, inputs: Num[Array, "B ..."]) -> Float[Array, "B D"]:
        x = inputs.reshape(inputs.shape[0], -1).astype(jnp.float32)
        for index in range(1, depth + 1):
            x = nn.Dense(width, kernel_init=draw, name=f"hidden{index}")(x)
            x = act(Norm(norm, name=f"norm{index}")(x))
            x = record(f"hidden{index}", x)
        return x

    return linen_model(layers, input_shape, num_classes, init, gain)


MODELS = {
    "mlp": ModelSpec(
        build=mlp,
        summary="hidden layers of one width on the flattened picture",
        recipes={
            "default": Recipe(1500, 64, "adam", 0.001, augment="flip,shift"),
            "procedural": Recipe(300, 32, "adam", 0.001),
        },
        reads=("images", "vectors"),
    )
}
