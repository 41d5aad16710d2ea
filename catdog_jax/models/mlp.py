"""Multilayer perceptron: hidden layers of one width on the flattened input."""

from typing import Annotated, Any

from jaxtyping import Array, Float, Num

from catdog_jax.models import parts
from catdog_jax.registry import Range
from catdog_jax.types import Model, Params, Recipe, Spec


def mlp(
    input_shape: parts.Shape,
    num_classes: parts.Outputs,
    *,
    depth: Annotated[int, Range(1, 16)] = 2,
    width: Annotated[int, Range(1)] = 256,
    activation: parts.Activation = "relu",
    norm: parts.NormName = "none",
    init: parts.Init = "he",
    gain: parts.Gain = 1.0,
) -> Model:
    """Build a multilayer perceptron.

    Args:
      input_shape: shape of one example, without the batch.
      num_classes: K ≥ 2 logits, or 1 for a regression.
      depth: hidden layers, 1 to 16.
      width: units of each hidden layer, ≥ 1.
      activation: a name of `parts.ACTIVATIONS`.
      norm: 'none', 'layer', 'group' or 'rms', before the activation.
      init: initialiser of every kernel, the last one ten times smaller; biases start at zero.
      gain: multiplies the initialiser's standard deviation, > 0.

    Raises:
      InputError: a setting out of range.
    """
    act = parts.ACTIVATIONS[activation]

    def layers(net: parts.Net, inputs: Num[Array, "B ..."]) -> Float[Array, "B D"]:
        x = inputs.reshape(inputs.shape[0], -1)
        for index in range(1, depth + 1):
            if not net.begun or index > 1:
                x = net.dense(f"hidden{index}", width)(x)
            x = parts.Norm(norm, name=f"norm{index}")(x)
            x = net.record(f"hidden{index}", act(x))
        return x

    def first(layer: Params, inputs: Num[Array, "B ..."]) -> Float[Array, "B D"]:
        return inputs.reshape(inputs.shape[0], -1) @ layer["kernel"] + layer["bias"][None]

    before, axes = "-", dict[str, str]()
    for index in range(1, depth + 1):
        units = f"hidden{index}"
        axes |= parts.layer_axes(units, before, units) | parts.norm_axes(f"norm{index}", units)
        before = units
    axes["head/kernel"] = f"{before} -"
    known: Any = {"axes": None if norm == "group" else axes, "linear": ("hidden1", first)}
    return parts.linen_model(layers, input_shape, num_classes, init, gain, **known)


RECIPES = {
    "default": Recipe(1500, 64, "adam", 0.001, augment="flip,shift"),
    "procedural": Recipe(300, 32, "adam", 0.001),
}
MODELS = {"mlp": Spec(mlp, RECIPES, reads=("images", "vectors"))}
