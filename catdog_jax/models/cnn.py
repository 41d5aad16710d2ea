"""Convolutional network: stages of convolutions, each closed by a max-pool of two."""

import functools
from collections.abc import Callable
from typing import Annotated

from jaxtyping import Array, Float

from catdog_jax.models import parts
from catdog_jax.ops.conv import FOR_MAP
from catdog_jax.ops.pool import max_pool
from catdog_jax.registry import Range
from catdog_jax.types import Model, Params, Recipe, Spec


def cnn(
    input_shape: parts.ImageShape,
    num_classes: parts.Classes,
    *,
    widths: Annotated[tuple[int, ...], Range(1)] = (),
    convs: Annotated[int, Range(1)] = 1,
    kernel_size: Annotated[int, Range(1)] = 3,
    head: parts.Head = "average",
    activation: parts.Activation = "relu",
    norm: parts.NormName = "none",
    init: parts.Init = "he",
    gain: parts.Gain = 1.0,
    conv: parts.Form = "direct",
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
      activation: a name of `parts.ACTIVATIONS`.
      norm: 'none', 'layer', 'group' or 'rms', after each convolution.
      init: initialiser of every kernel, the last one ten times smaller; biases start at zero.
      gain: multiplies the initialiser's standard deviation, > 0.
      conv: form of the convolution, of `ops.conv.FORMS`: how it is computed, not what.

    Raises:
      InputError: a setting out of range, or an image too small.
    """
    widths = widths or (32, 64, 128, 128)[: max(min(input_shape[:2]).bit_length() - 1, 1)]
    parts.check_size("cnn", input_shape, len(widths))
    act = parts.ACTIVATIONS[activation]
    pool = functools.partial(max_pool, by_slices=conv in FOR_MAP)
    # Before what never falls, a pool gives the same values for a quarter of the work.
    pools = (pool, parts.same) if activation in parts.MONOTONE else (parts.same, pool)

    def around(last: bool) -> tuple[Callable[[Array], Array], ...]:
        """Choose what is done before the bias, before the activation and after it."""
        before, after = pools if last else (parts.same, parts.same)
        return (before, parts.same, after) if norm == "none" else (parts.same, before, after)

    def first(layer: Params, x: Float[Array, "B H W C"]) -> Float[Array, "B P Q K"]:
        then, _, after = around(convs == 1)
        return after(act(parts.convolved(layer, x, 1, conv, then)))

    def layers(net: parts.Net, x: Float[Array, "B H W C"]) -> Float[Array, "B D"]:
        for stage, width in enumerate(widths, 1):
            for index in range(1, convs + 1):
                name, last = f"{stage}_{index}", index == convs
                then, before, after = around(last)
                convolve = functools.partial(parts.Conv, width, kernel_size, net.draw, then=then)
                if not net.begun or name != "1_1":
                    x = convolve(form=conv, name=f"conv{name}")(x)
                    x = after(act(before(parts.Norm(norm, name=f"norm{name}")(x))))
                x = net.record(f"stage{stage}" if last else f"conv{name}", x)
        return net.record(head, parts.HEADS[head](x))

    apart, before, axes = ("conv1_1", first) if norm == "none" else None, "-", dict[str, str]()
    for name in (f"{s}_{i}" for s in range(1, len(widths) + 1) for i in range(1, convs + 1)):
        units = f"conv{name}"
        axes |= parts.layer_axes(units, before, units) | parts.norm_axes(f"norm{name}", units)
        before = units
    axes["head/kernel"] = f"{before} -"
    known = None if norm == "group" else axes
    return parts.linen_model(layers, input_shape, num_classes, init, gain, first=apart, axes=known)


RECIPES = {
    "default": Recipe(1500, 64, "adam", 0.002, augment="flip,shift"),
    "cifar10": Recipe(3000, 64, "adam", 0.002, augment="flip,shift"),
    "procedural": Recipe(200, 32, "adam", 0.003),
}
MODELS = {"cnn": Spec(cnn, RECIPES)}
