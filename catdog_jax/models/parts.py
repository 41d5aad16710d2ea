"""What the formulas are made of: settings by name, layers, and the boundary to Flax Linen."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import traverse_util
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from catdog_jax.ops.conv import FORMS, conv
from catdog_jax.ops.pool import global_average
from catdog_jax.registry import OneOf, Range
from catdog_jax.types import First, InputError, Inputs, Key, Logits, Model, Params, Units

Initializer = Callable[..., Array]  # (key, shape, dtype) -> array
Features = tuple[tuple[str, Array], ...]

_ACTIVATIONS = ("elu", "gelu", "identity", "leaky_relu", "relu", "sigmoid", "silu", "tanh")
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {n: getattr(jax.nn, n) for n in _ACTIVATIONS}
# These never fall, so they commute with a maximum and may run after the pool, on a quarter of the
# pixels, without changing a value.
MONOTONE = frozenset(ACTIVATIONS) - {"gelu", "silu"}

# Distributions of starting kernels, times a gain. 'he' is normal of variance 2 / fan-in, 'lecun'
# 1 / fan-in, 'glorot' 2 / (fan-in + fan-out); 'orthogonal' has orthonormal rows or columns. Fan-in
# is the number of inputs of one unit (rows × columns × channels of a convolution), fan-out the
# number of units one input reaches. Biases start at zero everywhere.
# Source: He et al. 2015, eq. 10; Glorot & Bengio 2010, eq. 12; LeCun et al. 1998, sec. 4.6; Saxe et
# al. 2014.
_scaled = jax.nn.initializers.variance_scaling
INITIALIZERS: dict[str, Callable[[float], Initializer]] = {
    "glorot": lambda gain: _scaled(gain**2, "fan_avg", "normal"),
    "he": lambda gain: _scaled(2.0 * gain**2, "fan_in", "normal"),
    "lecun": lambda gain: _scaled(gain**2, "fan_in", "normal"),
    "orthogonal": jax.nn.initializers.orthogonal,
    "zeros": lambda gain: jax.nn.initializers.zeros,
}
HEAD_GAIN = 0.1  # of a deep model's last layer: its first answers are nearly even at any depth

# From the last image to the numbers that the last layer reads.
HEADS = {"average": global_average, "flatten": lambda x: x.reshape(x.shape[0], -1)}

# The types of a builder's arguments: what a formula may be asked to read and to answer, and how.
Shape = Annotated[tuple[int, ...], Range(1)]
ImageShape = Annotated[tuple[int, int, int], Range(1)]  # (H, W, C)
SentenceShape = Annotated[tuple[int], Range(1)]  # (T,), the longest sentence
Classes = Annotated[int, Range(2)]
Outputs = Annotated[int, Range(1)]  # of a formula whose one output may be a regression's number
Vocabulary = Annotated[int, Range(2)]  # number of token ids, padding included
Activation = Annotated[str, OneOf(tuple(ACTIVATIONS))]
Form = Annotated[str, OneOf(FORMS)]
Gain = Annotated[float, Range(above=0)]
Head = Annotated[str, OneOf(tuple(HEADS))]
Init = Annotated[str, OneOf(tuple(INITIALIZERS))]
NormName = Annotated[str, OneOf(("group", "layer", "none", "rms"))]


def check_size(model: str, input_shape: tuple[int, int, int], halvings: int) -> None:
    """Check that an image can be halved so often.

    Raises:
      InputError: no pixel would be left.
    """
    height, width, _ = input_shape
    smallest = 2**halvings
    if min(height, width) < smallest:
        raise InputError(
            f"{model}: image size {height}×{width} is too small to be halved {halvings} times, "
            f"which needs {smallest}×{smallest}; give a larger image size or fewer widths"
        )


def same(x: Array) -> Array:
    """Return what is given."""
    return x


def convolved(
    layer: Params,
    x: Float[Array, "B H W C"],
    stride: int = 1,
    form: str = "direct",
    then: Callable[[Array], Array] = same,
) -> Float[Array, "B P Q K"]:
    """Convolve images with the params of a `Conv`, of which see the settings."""
    y = then(conv(x, layer["kernel"].astype(x.dtype), stride=stride, form=form))
    return y + layer["bias"].astype(y.dtype)[None, None, None] if "bias" in layer else y


class Conv(nn.Module):
    """Convolve, with the parameter names of `nn.Conv` and our own operation.

    Attributes:
      features: channels of the output.
      window: side of the kernel, in pixels.
      kernel_init: draws the kernel [window, window, C, features].
      stride: step between windows; the padding is 'SAME'.
      use_bias: whether a bias per channel is added.
      form: a form of `ops.conv.conv`.
      then: what is done before the bias is added, to fewer pixels where it is a pool.
    """

    features: int
    window: int
    kernel_init: Initializer
    stride: int = 1
    use_bias: bool = True
    form: str = "direct"
    then: Callable[[Array], Array] = same

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B P Q K"]:
        """Return the convolved images."""
        shape = (self.window, self.window, x.shape[-1], self.features)
        layer = {"kernel": self.param("kernel", self.kernel_init, shape, jnp.float32)}
        if self.use_bias:
            zeros = nn.initializers.zeros
            layer["bias"] = self.param("bias", zeros, (self.features,), jnp.float32)
        return convolved(layer, x, self.stride, self.form, self.then)


class Norm(nn.Module):
    """Normalise the features of one example, then scale (and shift) them by learned numbers.

    There are no running statistics, so that `apply(params, x)` stays a function, and examples are
    not coupled: a batch may be cut in parts.

    Attributes:
      kind: 'none'; 'layer' and 'rms' over the features at each place; 'group' over groups of
        features, at most 8 groups of at least two, and all places.
    """

    kind: str

    @nn.compact
    def __call__(self, x: Float[Array, "B ... C"]) -> Float[Array, "B ... C"]:
        """Return the normalised features, of the same shape.

        Raises:
          InputError: a single feature, of which 'layer' and 'group' would make a constant.
        """
        size = x.shape[-1]
        if self.kind in ("group", "layer") and size < 2:
            raise InputError(f"norm={self.kind} needs a width ≥ 2, not 1; give norm=none")
        if self.kind == "layer":
            return nn.LayerNorm(name="layer")(x)
        if self.kind == "rms":
            return nn.RMSNorm(name="rms")(x)
        if self.kind == "group":
            groups = max(n for n in range(1, 9) if size % n == 0 and size >= 2 * n)
            return nn.GroupNorm(num_groups=groups, name="group")(x)
        return x


def one_hot(tokens: Int[Array, "B T"], vocabulary: int) -> Float[Array, "B T V"]:
    """Turn each word into a row of zeros with one 1, [B, T, vocabulary - 1]; padding: all zeros."""
    return jax.nn.one_hot(tokens - 1, vocabulary - 1, dtype=jnp.float32)


def counts(tokens: Int[Array, "B T"], vocabulary: int) -> Float[Array, "B V"]:
    """Count each word of each sentence, [B, vocabulary - 1]; padding is not counted."""
    return one_hot(tokens, vocabulary).sum(axis=1)


def present(tokens: Int[Array, "B T"]) -> Float[Array, "B T 1"]:
    """Mark the places that hold a word by 1, padding by 0."""
    return (tokens > 0).astype(jnp.float32)[:, :, None]


def mean_over_words(x: Float[Array, "B T D"], tokens: Int[Array, "B T"]) -> Float[Array, "B D"]:
    """Average over the places that hold a word; zeros where there is none."""
    mask = present(tokens).astype(x.dtype)
    return (x * mask).sum(axis=1) / jnp.maximum(mask.sum(axis=1), 1.0)


class Embedding(nn.Module):
    """The vectors of the words, the parameter `table` [V, width]; padding has none.

    Attributes:
      width: D.
      scale: standard deviation of a starting vector's numbers.
    """

    width: int
    scale: float

    @nn.compact
    def __call__(self, words: Float[Array, "B ... V"]) -> Float[Array, "B ... D"]:
        """Add up the vectors of the words: of `one_hot` ones each word's own, or of `counts`."""
        draw = nn.initializers.normal(self.scale)
        table = self.param("table", draw, (words.shape[-1], self.width), jnp.float32)
        # A product: its gradient is a product too, where that of a gather is a slow scatter.
        return words.astype(table.dtype) @ table


def layer_axes(layer: str, before: str, units: str) -> dict[str, str]:
    """Say what the arrays of a layer count: what it reads, and what it makes; see `types.Units`."""
    return {f"{layer}/kernel": f"{before} {units}", f"{layer}/bias": units}


def norm_axes(norm: str, units: str) -> dict[str, str]:
    """Say the same of a `Norm`; groups of features, which have no order of their own, are left."""
    kinds = ("layer/scale", "layer/bias", "rms/scale")
    return {f"{norm}/{kind}": units for kind in kinds}


class Net:
    """What a network's function is given: it makes layers, and keeps their outputs, in order.

    Args:
      x: the inputs, the first output.
      begun: whether they are what the first layer made of them.
      draw: draws the kernels.
      param: the network's own `nn.Module.param`, for weights of no layer.
    """

    def __init__(self, x: Array, begun: bool, draw: Initializer, param: Callable[..., Array]):
        self.outputs, self.begun, self.draw, self.param = [("input", x)], begun, draw, param

    def record(self, name: str, x: Array) -> Array:
        """Keep one layer's output and hand it on."""
        self.outputs.append((name, x))
        return x

    def dense(self, name: str, width: int) -> nn.Dense:
        """Make a linear layer."""
        return nn.Dense(width, kernel_init=self.draw, name=name)


class Network(nn.Module):
    """The Linen module of the layers that a function calls, and of a linear layer on top.

    Attributes:
      layers: (net, inputs [B, ...]) -> [B, D], what the last layer, 'head', reads.
      num_classes: K.
      initializer: gain -> what draws the kernels.
      gain: of all but the last layer, whose is HEAD_GAIN times smaller.
    """

    layers: Callable[[Net, Array], Array]
    num_classes: int
    initializer: Callable[[float], Initializer]
    gain: float

    @nn.compact
    def __call__(self, inputs: Array, begun: bool = False) -> Features:
        """Return the named layer outputs, input first, logits last."""
        net = Net(inputs, begun, self.initializer(self.gain), self.param)
        x = self.layers(net, inputs)
        draw = self.initializer(self.gain * HEAD_GAIN)
        head = nn.Dense(self.num_classes, kernel_init=draw, name="head")
        net.record("logits", head(x).astype(jnp.float32))
        return tuple(net.outputs)


def linen_model(
    layers: Callable[[Net, Array], Array],
    input_shape: tuple[int, ...],
    num_classes: int,
    init: str,
    gain: float,
    dtype: DTypeLike = jnp.float32,
    first: tuple[str, Callable[[Params, Array], Array]] | None = None,
    axes: Mapping[str, str] | None = None,
    linear: tuple[str, Callable[[Params, Array], Array]] | None = None,
) -> Model:
    """Turn a network into init, apply and features.

    Args:
      layers, num_classes, gain: see `Network`.
      input_shape: shape of one example, without the batch.
      init: a name of INITIALIZERS.
      dtype: of the inputs; int32 for token ids.
      first: name of the first layer, and (its params, inputs) -> what it makes of them; `layers`
        leaves it out where it has `begun`. See `types.First`.
      axes: see `types.Units`; None where units cannot be numbered anew.
      linear: as `first`, for `types.Units`.

    Returns:
      The model; its params are nested plain dicts of float32 arrays.
    """
    module = Network(layers, num_classes, INITIALIZERS[init], gain)

    @jax.jit  # so that the forward pass that finds the shapes is never run
    def start(key: Key) -> Params:
        return module.init(key, jnp.zeros((1, *input_shape), dtype))["params"]

    def features(params: Params, inputs: Inputs) -> Any:
        return module.apply({"params": params}, inputs)

    def apply(params: Params, inputs: Inputs) -> Logits:
        return features(params, inputs)[-1][1]

    def rest(params: Params, made: Array) -> Logits:
        outputs: Any = module.apply({"params": params}, made, begun=True)
        return outputs[-1][1]

    def outputs(params: Params, inputs: Inputs) -> dict[str, Array]:
        kept: Any = {"capture_intermediates": True, "mutable": ["intermediates"]}
        _, found = module.apply({"params": params}, inputs, **kept)
        called = traverse_util.flatten_dict(found["intermediates"], sep="/")
        made = {path.removesuffix("/__call__"): x for path, (x,) in called.items()}
        return {path: x for path, x in made.items() if f"{path}/kernel" in (axes or {})}

    begin = First(*linear, rest) if linear else None
    units = None if axes is None else Units(axes, outputs, begin)
    return Model(start, apply, features, First(*first, rest) if first else None, units)
