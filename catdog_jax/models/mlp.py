"""Multilayer perceptron: hidden layers of one width on the flattened input."""

from typing import Annotated

from flax import linen as nn
from jaxtyping import Array, Float, Num

from catdog_jax.models._linen import Recorder, linen_model
from catdog_jax.models._shapes import Outputs, Shape
from catdog_jax.models.activations import ACTIVATIONS, Activation
from catdog_jax.models.initializers import INITIALIZERS, Gain, Init
from catdog_jax.models.normalization import Norm, NormName
from catdog_jax.registry import Range, checked
from catdog_jax.types import Model, Recipe, Spec


@checked
def mlp(
    input_shape: Shape,
    num_classes: Outputs,
    *,
    depth: Annotated[int, Range(1, 16)] = 2,
    width: Annotated[int, Range(1)] = 256,
    activation: Activation = "relu",
    norm: NormName = "none",
    init: Init = "he",
    gain: Gain = 1.0,
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
    act = ACTIVATIONS[activation]
    draw = INITIALIZERS[init](gain)

    def layers(record: Recorder, inputs: Num[Array, "B ..."]) -> Float[Array, "B D"]:
        x = inputs.reshape(inputs.shape[0], -1)
        for index in range(1, depth + 1):
            x = nn.Dense(width, kernel_init=draw, name=f"hidden{index}")(x)
            x = act(Norm(norm, name=f"norm{index}")(x))
            x = record(f"hidden{index}", x)
        return x

    return linen_model(layers, input_shape, num_classes, init, gain)


MODELS = {
    "mlp": Spec(
        mlp,
        recipes={
            "default": Recipe(1500, 64, "adam", 0.001, augment="flip,shift"),
            "procedural": Recipe(300, 32, "adam", 0.001),
        },
        reads=("images", "vectors"),
    )
}
