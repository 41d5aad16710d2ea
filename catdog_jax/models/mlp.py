"""Multilayer perceptron: hidden layers of one width on the flattened input."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Num

from catdog_jax.models import _checks
from catdog_jax.models._linen import Features, Recorder, linen_model
from catdog_jax.models.activations import activation as find_activation
from catdog_jax.models.initializers import HEAD_GAIN, initializer
from catdog_jax.models.normalization import Norm, check_norm
from catdog_jax.types import Model, ModelSpec, Recipe

_MOST_LAYERS = 16


class MLP(nn.Module):
    """Linen module of the perceptron; see `mlp` for the attributes."""

    num_classes: int
    depth: int
    width: int
    activation: str
    norm: str
    init_name: str
    gain: float

    @nn.compact
    def __call__(self, inputs: Num[Array, "B ..."]) -> Features:
        """Return the named layer outputs, input first, logits last."""
        record = Recorder(inputs)
        act = find_activation(self.activation)
        draw = initializer(self.init_name, self.gain)
        last = initializer(self.init_name, self.gain * HEAD_GAIN)
        x = inputs.reshape(inputs.shape[0], -1).astype(jnp.float32)
        for index in range(1, self.depth + 1):
            x = nn.Dense(self.width, kernel_init=draw, name=f"hidden{index}")(x)
            x = act(Norm(self.norm, name=f"norm{index}")(x))
            x = record(f"hidden{index}", x)
        return record.logits(nn.Dense(self.num_classes, kernel_init=last, name="head")(x))


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
    _checks.whole("mlp", "depth", depth, 1, _MOST_LAYERS)
    _checks.whole("mlp", "width", width, 1)
    _checks.positive("mlp", "gain", gain)
    check_norm("mlp", norm, width)
    find_activation(activation)
    initializer(init)
    module = MLP(num_classes, depth, width, activation, norm, init, gain)
    return linen_model(module, input_shape)


MODELS = {
    "mlp": ModelSpec(
        build=mlp,
        summary="hidden layers of one width on the flattened picture",
        recipes={
            "default": Recipe(
                num_steps=1500,
                batch_size=64,
                optimizer="adam",
                learning_rate=0.001,
                augment="flip,shift",
            ),
            "procedural": Recipe(
                num_steps=300,
                batch_size=32,
                optimizer="adam",
                learning_rate=0.001,
            ),
        },
        reads=("images", "vectors"),
    )
}
