"""Residual network: stages of pre-activation basic blocks, no batch statistics.

Every branch is scaled by 1/sqrt(n), n the number of blocks: without normalisation, the sum over all
of them then stays of the size of one.

Source: He et al. 2016, Identity mappings in deep residual networks, fig. 1(b).
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Annotated, Any

from flax import linen as nn
from jaxtyping import Array, Float

from catdog_jax.models import parts
from catdog_jax.registry import Range
from catdog_jax.types import Model, Params, Recipe, Spec


class Block(nn.Module):
    """One pre-activation basic block: x + scale · conv(act(conv(act(x)))).

    Attributes:
      width: channels of the output.
      stride: 1, or 2 where the image is halved; the shortcut is then a 1×1 convolution.
      scale: factor of the branch.
      act: the activation.
      norm, form: see `resnet`.
      draw: initialiser of the kernels.
    """

    width: int
    stride: int
    scale: float
    act: Callable[[Array], Array]
    norm: str
    draw: parts.Initializer
    form: str

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B P Q D"]:
        """Return the sum of shortcut and branch."""
        conv = functools.partial(parts.Conv, self.width, kernel_init=self.draw, form=self.form)
        h = self.act(parts.Norm(self.norm, name="norm1")(x))
        shortcut = x
        if self.stride > 1 or x.shape[-1] != self.width:
            shortcut = conv(1, stride=self.stride, use_bias=False, name="shortcut")(h)
        h = conv(3, stride=self.stride, name="conv1")(h)
        h = self.act(parts.Norm(self.norm, name="norm2")(h))
        return shortcut + self.scale * conv(3, name="conv2")(h)


def resnet(
    input_shape: parts.ImageShape,
    num_classes: parts.Classes,
    *,
    widths: Annotated[tuple[int, ...], Range(1)] = (16, 32, 64),
    blocks: Annotated[int, Range(1)] = 1,
    stem_stride: Annotated[int, Range(1, 2)] = 1,
    head: parts.Head = "average",
    activation: parts.Activation = "relu",
    norm: parts.NormName = "none",
    init: parts.Init = "he",
    gain: parts.Gain = 1.0,
    conv: parts.Form = "direct",
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
      activation: a name of `parts.ACTIVATIONS`.
      norm: 'none', 'layer', 'group' or 'rms', before each activation.
      init: initialiser of every kernel, the last one ten times smaller; biases start at zero.
      gain: multiplies the initialiser's standard deviation, > 0.
      conv: form of the convolution, of `ops.conv.FORMS`: how it is computed, not what.

    Raises:
      InputError: a setting out of range, or an image too small.
    """
    parts.check_size("resnet", input_shape, len(widths) - 2 + stem_stride)
    act = parts.ACTIVATIONS[activation]
    scale = 1 / math.sqrt(blocks * len(widths))

    def layers(net: parts.Net, inputs: Float[Array, "B H W C"]) -> Float[Array, "B D"]:
        stem = parts.Conv(widths[0], 3, net.draw, stem_stride, form=conv, name="stem")
        x = net.record("stem", inputs if net.begun else stem(inputs))
        for stage, width in enumerate(widths, 1):
            for index in range(1, blocks + 1):
                name = f"block{stage}_{index}"
                stride = 2 if stage > 1 and index == 1 else 1
                block = Block(width, stride, scale, act, norm, net.draw, conv, name=name)
                x = net.record(name, block(x))
        x = act(parts.Norm(norm, name="norm")(x))
        return net.record(head, parts.HEADS[head](x))

    def first(layer: Params, x: Float[Array, "B H W C"]) -> Float[Array, "B P Q D"]:
        return parts.convolved(layer, x, stem_stride, conv)

    # What is added up along the shortcuts of a stage is numbered alike in all of its blocks.
    stream, axes = "stage1", parts.layer_axes("stem", "-", "stage1")
    for stage, index in itertools.product(range(1, len(widths) + 1), range(1, blocks + 1)):
        name, units = f"block{stage}_{index}", f"stage{stage}"
        axes |= parts.norm_axes(f"{name}/norm1", stream)
        axes |= {f"{name}/shortcut/kernel": f"{stream} {units}"} if stream != units else {}
        axes |= parts.layer_axes(f"{name}/conv1", stream, name)
        axes |= parts.norm_axes(f"{name}/norm2", name)
        axes |= parts.layer_axes(f"{name}/conv2", name, units)
        stream = units
    axes |= parts.norm_axes("norm", stream) | {"head/kernel": f"{stream} -"}
    stem: Any = {"first": ("stem", first), "linear": ("stem", first)}
    stem["axes"] = None if norm == "group" else axes
    return parts.linen_model(layers, input_shape, num_classes, init, gain, **stem)


RECIPES = {
    "default": Recipe(1500, 64, "adam", 0.002, augment="flip,shift"),
    "cifar10": Recipe(3000, 64, "adam", 0.002, augment="flip,shift"),
    "procedural": Recipe(130, 32, "adam", 0.006),
}
MODELS = {"resnet": Spec(resnet, RECIPES)}
