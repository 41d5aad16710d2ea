"""The boundary to Flax Linen: a module comes in, three pure functions go out."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from catdog_jax.models.initializers import HEAD_GAIN, INITIALIZERS, Initializer
from catdog_jax.ops.conv import conv
from catdog_jax.types import Inputs, Key, Logits, Model, Params

Features = tuple[tuple[str, Array], ...]


class Conv(nn.Module):
    """Convolve, with the parameter names of `nn.Conv` and our own operation.

    Attributes:
      features: channels of the output.
      window: side of the kernel, in pixels.
      kernel_init: draws the kernel [window, window, C, features].
      stride: step between windows; the padding is 'SAME'.
      use_bias: whether a bias per channel is added.
      form: a form of `ops.conv.conv`.
    """

    features: int
    window: int
    kernel_init: Initializer
    stride: int = 1
    use_bias: bool = True
    form: str = "direct"

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B P Q K"]:
        """Return the convolved images."""
        shape = (self.window, self.window, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = conv(x, kernel.astype(x.dtype), stride=self.stride, form=self.form)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return y + bias.astype(y.dtype)[None, None, None]


class Recorder:
    """Collects the named outputs of the layers, in order.

    Args:
      x: the inputs, recorded first.
      param: the network's own `nn.Module.param`, for weights of no layer.
    """

    def __init__(self, x: Array, param: Callable[..., Array]):
        self.outputs: list[tuple[str, Array]] = [("input", x)]
        self.param = param

    def __call__(self, name: str, x: Array) -> Array:
        """Record one layer's output and hand it on."""
        self.outputs.append((name, x))
        return x


class Network(nn.Module):
    """The Linen module of the layers that a function calls, and of a linear layer on top.

    Attributes:
      layers: (recorder, inputs [B, ...]) -> [B, D], what the last layer, 'head', reads.
      num_classes: K.
      head_init: draws the kernel of the last layer.
    """

    layers: Callable[[Recorder, Array], Array]
    num_classes: int
    head_init: Initializer

    @nn.compact
    def __call__(self, inputs: Array) -> Features:
        """Return the named layer outputs, input first, logits last."""
        record = Recorder(inputs, self.param)
        x = self.layers(record, inputs)
        x = nn.Dense(self.num_classes, kernel_init=self.head_init, name="head")(x)
        record("logits", x.astype(jnp.float32))
        return tuple(record.outputs)


def linen_model(
    layers: Callable[[Recorder, Array], Array],
    input_shape: tuple[int, ...],
    num_classes: int,
    init: str,
    gain: float,
    dtype: DTypeLike = jnp.float32,
) -> Model:
    """Turn a network into init, apply and features.

    Args:
      layers, num_classes: see `Network`.
      input_shape: shape of one example, without the batch.
      init, gain: initialiser of the kernels, and its factor; the last layer's is HEAD_GAIN times
        smaller.
      dtype: of the inputs; int32 for token ids.

    Returns:
      The model; its params are nested plain dicts of float32 arrays.
    """
    module = Network(layers, num_classes, INITIALIZERS[init](gain * HEAD_GAIN))

    def start(key: Key) -> Params:
        # Under jit the forward pass that finds the shapes is never run.
        return module.init(key, jnp.zeros((1, *input_shape), dtype))["params"]

    def features(params: Params, inputs: Inputs) -> Features:
        outputs: Any = module.apply({"params": params}, inputs)
        return outputs

    def apply(params: Params, inputs: Inputs) -> Logits:
        return features(params, inputs)[-1][1]

    jitted: Callable[[Key], Params] = jax.jit(start)
    return Model(init=jitted, apply=apply, features=features)
