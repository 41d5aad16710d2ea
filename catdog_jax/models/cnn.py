"""Convolutional network: stages of convolutions, each closed by a max-pool of two."""

from jaxtyping import Array, Float

from catdog_jax.models import _checks
from catdog_jax.models._linen import Conv, Recorder, linen_model
from catdog_jax.models.activations import MONOTONE
from catdog_jax.models.activations import activation as find_activation
from catdog_jax.models.initializers import initializer
from catdog_jax.models.normalization import Norm, check_norm
from catdog_jax.ops.conv import FORMS
from catdog_jax.ops.pool import global_average, max_pool
from catdog_jax.registry import check_known, check_whole
from catdog_jax.types import Model, ModelSpec, Recipe

DEFAULT_WIDTHS = (32, 64, 128, 128)
HEADS = {"average": global_average, "flatten": lambda x: x.reshape(x.shape[0], -1)}


def cnn(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    widths: tuple[int, ...] = (),
    convs: int = 1,
    kernel_size: int = 3,
    head: str = "average",
    activation: str = "relu",
    norm: str = "none",
    init: str = "he",
    gain: float = 1.0,
    conv: str = "direct",
) -> Model:
    """Build a convolutional network.

    Args:
      input_shape: (H, W, C), H and W ≥ 2 to the power of the number of stages.
      num_classes: K ≥ 2.
      widths: channels of each stage, each ≥ 1; () for 32-64-128-128, or as many of these stages as
        the image has room for.
      convs: convolutions per stage, ≥ 1.
      kernel_size: side of every kernel in pixels, ≥ 1.
      head: 'average' over the last image, or 'flatten' it.
      activation: a name of `activations.ACTIVATIONS`.
      norm: 'none', 'layer', 'group' or 'rms', after each convolution.
      init: initialiser of every kernel, the last one ten times smaller; biases start at zero.
      gain: multiplies the initialiser's standard deviation, > 0.
      conv: form of the convolution, of `ops.conv.FORMS`: how it is computed, not what.

    Raises:
      InputError: a setting out of range, or an image too small.
    """
    widths = widths or DEFAULT_WIDTHS[: max(min(input_shape[:2]).bit_length() - 1, 1)]
    _checks.image("cnn", input_shape, num_classes, widths, len(widths))
    check_whole("cnn", "convs", convs, 1)
    check_whole("cnn", "kernel_size", kernel_size, 1)
    check_norm("cnn", norm, min(widths))
    check_known("head", head, HEADS)
    check_known("convolution form", conv, FORMS)
    act = find_activation(activation)
    draw = initializer(init, gain, "cnn")

    def layers(record: Recorder, x: Float[Array, "B H W C"]) -> Float[Array, "B D"]:
        for stage, width in enumerate(widths, 1):
            for index in range(1, convs + 1):
                name = f"{stage}_{index}"
                x = Conv(width, kernel_size, draw, form=conv, name=f"conv{name}")(x)
                x = Norm(norm, name=f"norm{name}")(x)
                if index < convs:
                    x = record(f"conv{name}", act(x))
            # Same values either way for an activation that never falls; a quarter of the work.
            x = act(max_pool(x)) if activation in MONOTONE else max_pool(act(x))
            x = record(f"stage{stage}", x)
        return record(head, HEADS[head](x))

    return linen_model(layers, input_shape, num_classes, init, gain)


MODELS = {
    "cnn": ModelSpec(
        build=cnn,
        summary="stages of convolutions, each halving the image by max-pool",
        recipes={
            "default": Recipe(1500, 64, "adam", 0.002, augment="flip,shift"),
            "cifar10": Recipe(3000, 64, "adam", 0.002, augment="flip,shift"),
            "procedural": Recipe(200, 32, "adam", 0.003),
        },
    )
}
