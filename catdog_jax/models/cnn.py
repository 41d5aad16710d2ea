"""Convolutional network: stages of convolutions, each closed by a max-pool of two."""

from flax import linen as nn
from jaxtyping import Array, Float

from catdog_jax import registry
from catdog_jax.models import _checks
from catdog_jax.models._linen import Conv, Features, Recorder, linen_model
from catdog_jax.models.activations import MONOTONE
from catdog_jax.models.activations import activation as find_activation
from catdog_jax.models.initializers import HEAD_GAIN, initializer
from catdog_jax.models.normalization import Norm, check_norm
from catdog_jax.ops.conv import FORMS
from catdog_jax.ops.pool import global_average, max_pool
from catdog_jax.types import Model, ModelSpec, Recipe

DEFAULT_WIDTHS = (32, 64, 128, 128)
HEADS = {"average": global_average, "flatten": lambda x: x.reshape(x.shape[0], -1)}


class CNN(nn.Module):
    """Linen module of the convolutional network; see `cnn` for the attributes."""

    num_classes: int
    widths: tuple[int, ...]
    convs: int
    kernel_size: int
    head: str
    activation: str
    norm: str
    init_name: str
    gain: float
    form: str

    @nn.compact
    def __call__(self, inputs: Float[Array, "B H W C"]) -> Features:
        """Return the named layer outputs, input first, logits last."""
        record = Recorder(inputs)
        act = find_activation(self.activation)
        draw = initializer(self.init_name, self.gain)
        last = initializer(self.init_name, self.gain * HEAD_GAIN)
        x = inputs
        for stage, width in enumerate(self.widths, 1):
            for index in range(1, self.convs + 1):
                name = f"{stage}_{index}"
                x = Conv(width, self.kernel_size, draw, form=self.form, name=f"conv{name}")(x)
                x = Norm(self.norm, name=f"norm{name}")(x)
                if index < self.convs:
                    x = record(f"conv{name}", act(x))
            # Same values either way for an activation that never falls; a quarter of the work.
            x = act(max_pool(x)) if self.activation in MONOTONE else max_pool(act(x))
            x = record(f"stage{stage}", x)
        x = record(self.head, HEADS[self.head](x))
        return record.logits(nn.Dense(self.num_classes, kernel_init=last, name="head")(x))


def _fitting(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Cut the default widths to the stages that leave a pixel."""
    stages = max(min(input_shape[:2]).bit_length() - 1, 1)
    return DEFAULT_WIDTHS[:stages]


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
    _checks.task("cnn", input_shape, num_classes)
    widths = widths or _fitting(input_shape)
    _checks.widths("cnn", widths)
    _checks.image("cnn", input_shape, 2 ** len(widths), len(widths))
    _checks.whole("cnn", "convs", convs, 1)
    _checks.whole("cnn", "kernel_size", kernel_size, 1)
    _checks.positive("cnn", "gain", gain)
    check_norm("cnn", norm, min(widths))
    find_activation(activation)
    initializer(init)
    if head not in HEADS:
        raise registry.unknown("head", head, HEADS)
    if conv not in FORMS:
        raise registry.unknown("convolution form", conv, FORMS)
    module = CNN(num_classes, widths, convs, kernel_size, head, activation, norm, init, gain, conv)
    return linen_model(module, input_shape)


MODELS = {
    "cnn": ModelSpec(
        build=cnn,
        summary="stages of convolutions, each halving the image by max-pool",
        recipes={
            "default": Recipe(
                num_steps=1500,
                batch_size=64,
                optimizer="adam",
                learning_rate=0.002,
                augment="flip,shift",
            ),
            "cifar10": Recipe(
                num_steps=3000,
                batch_size=64,
                optimizer="adam",
                learning_rate=0.002,
                augment="flip,shift",
            ),
            "procedural": Recipe(
                num_steps=200,
                batch_size=32,
                optimizer="adam",
                learning_rate=0.003,
            ),
        },
    )
}
