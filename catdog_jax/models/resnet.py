"""Residual network: stages of pre-activation basic blocks, no batch statistics.

Every branch is scaled by 1/sqrt(n), n the number of blocks: without normalisation, the sum over all
of them then stays of the size of one.

Source: He et al. 2016, Identity mappings in deep residual networks, fig. 1(b).
"""

import math

from flax import linen as nn
from jaxtyping import Array, Float

from catdog_jax import registry
from catdog_jax.models import _checks
from catdog_jax.models._linen import Conv, Features, Recorder, linen_model
from catdog_jax.models.activations import activation as find_activation
from catdog_jax.models.cnn import HEADS
from catdog_jax.models.initializers import HEAD_GAIN, initializer
from catdog_jax.models.normalization import Norm, check_norm
from catdog_jax.ops.conv import FORMS
from catdog_jax.types import Model, ModelSpec, Recipe


class Block(nn.Module):
    """One pre-activation basic block: x + scale · conv(act(conv(act(x)))).

    Attributes:
      width: channels of the output.
      stride: 1, or 2 where the image is halved; the shortcut is then a 1×1 convolution.
      scale: factor of the branch.
      activation, norm, init_name, gain, form: see `resnet`.
    """

    width: int
    stride: int
    scale: float
    activation: str
    norm: str
    init_name: str
    gain: float
    form: str

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B P Q D"]:
        """Return the sum of shortcut and branch."""
        act = find_activation(self.activation)
        draw = initializer(self.init_name, self.gain)
        h = act(Norm(self.norm, name="norm1")(x))
        shortcut = x
        if self.stride > 1 or x.shape[-1] != self.width:
            shortcut = Conv(
                self.width, 1, draw, self.stride, use_bias=False, form=self.form, name="shortcut"
            )(h)
        h = Conv(self.width, 3, draw, self.stride, form=self.form, name="conv1")(h)
        h = act(Norm(self.norm, name="norm2")(h))
        h = Conv(self.width, 3, draw, form=self.form, name="conv2")(h)
        return shortcut + self.scale * h


class ResNet(nn.Module):
    """Linen module of the residual network; see `resnet` for the attributes."""

    num_classes: int
    widths: tuple[int, ...]
    blocks: int
    stem_stride: int
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
        scale = 1 / math.sqrt(self.blocks * len(self.widths))
        stem = Conv(self.widths[0], 3, draw, self.stem_stride, form=self.form, name="stem")
        x = record("stem", stem(inputs))
        for stage, width in enumerate(self.widths, 1):
            for index in range(1, self.blocks + 1):
                name = f"block{stage}_{index}"
                stride = 2 if stage > 1 and index == 1 else 1
                block = Block(
                    width,
                    stride,
                    scale,
                    self.activation,
                    self.norm,
                    self.init_name,
                    self.gain,
                    self.form,
                    name=name,
                )
                x = record(name, block(x))
        x = act(Norm(self.norm, name="norm")(x))
        x = record(self.head, HEADS[self.head](x))
        return record.logits(nn.Dense(self.num_classes, kernel_init=last, name="head")(x))


def resnet(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    widths: tuple[int, ...] = (16, 32, 64),
    blocks: int = 1,
    stem_stride: int = 1,
    head: str = "average",
    activation: str = "relu",
    norm: str = "none",
    init: str = "he",
    gain: float = 1.0,
    conv: str = "direct",
) -> Model:
    """Build a residual network: a stem, stages of blocks, one linear layer on the last image.

    Args:
      input_shape: (H, W, C), H and W ≥ 2 to the power of the number of halvings: one before each
        stage but the first, and one in the stem where its stride is 2.
      num_classes: K ≥ 2.
      widths: channels of each stage, each ≥ 1; from the second on, a stage begins by halving.
      blocks: blocks per stage, ≥ 1.
      stem_stride: step of the first convolution: 1, or 2 to halve the image at once, for about a
        quarter of the work.
      head: 'average' over the last image, or 'flatten' it.
      activation: a name of `activations.ACTIVATIONS`.
      norm: 'none', 'layer', 'group' or 'rms', before each activation.
      init: initialiser of every kernel, the last one ten times smaller; biases start at zero.
      gain: multiplies the initialiser's standard deviation, > 0.
      conv: form of the convolution, of `ops.conv.FORMS`: how it is computed, not what.

    Raises:
      InputError: a setting out of range, or an image too small.
    """
    _checks.task("resnet", input_shape, num_classes)
    _checks.widths("resnet", widths)
    _checks.whole("resnet", "blocks", blocks, 1)
    _checks.whole("resnet", "stem_stride", stem_stride, 1, 2)
    halvings = len(widths) - 2 + stem_stride
    _checks.image("resnet", input_shape, 2**halvings, len(widths))
    _checks.positive("resnet", "gain", gain)
    check_norm("resnet", norm, min(widths))
    find_activation(activation)
    initializer(init)
    if head not in HEADS:
        raise registry.unknown("head", head, HEADS)
    if conv not in FORMS:
        raise registry.unknown("convolution form", conv, FORMS)
    module = ResNet(
        num_classes, widths, blocks, stem_stride, head, activation, norm, init, gain, conv
    )
    return linen_model(module, input_shape)


MODELS = {
    "resnet": ModelSpec(
        build=resnet,
        summary="residual blocks in stages, without batch statistics",
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
                num_steps=130,
                batch_size=32,
                optimizer="adam",
                learning_rate=0.006,
            ),
        },
    )
}
