"""A small attention model: every word looks at every other word of its sentence."""

from typing import Annotated

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from catdog_jax.models import parts
from catdog_jax.registry import Range
from catdog_jax.types import InputError, Model, Recipe, Spec


class Attention(nn.Module):
    """Let each place gather from the others what it asks for.

    Attributes:
      heads: questions that each place asks at once.
      kernel_init: of the four matrices.
    """

    heads: int
    kernel_init: parts.Initializer

    @nn.compact
    def __call__(
        self, x: Float[Array, "B T D"], mask: Float[Array, "B T 1"]
    ) -> Float[Array, "B T D"]:
        """Return what each place gathered from the places of the mask.

        Source: Vaswani et al. 2017, eq. 1.
        """
        batch, length, width = x.shape
        size = width // self.heads

        def project(name: str, use_bias: bool = False) -> Float[Array, "B T H S"]:
            # A bias of the keys would shift all scores of a place alike: nothing would change.
            dense = nn.Dense(width, use_bias=use_bias, kernel_init=self.kernel_init, name=name)
            return dense(x).reshape(batch, length, self.heads, size)

        query, key, value = project("query"), project("key"), project("value", use_bias=True)
        scores = jnp.einsum("bths,bjhs->bhtj", query, key) * size**-0.5
        scores = jnp.where(mask[:, None, None, :, 0] > 0, scores, -1e9)
        shares = jax.nn.softmax(scores, axis=-1)
        gathered = jnp.einsum("bhtj,bjhs->bths", shares, value).reshape(batch, length, width)
        return nn.Dense(width, kernel_init=self.kernel_init, name="out")(gathered)


def word_attention(
    input_shape: parts.SentenceShape,
    num_classes: parts.Classes,
    *,
    vocabulary: parts.Vocabulary = 0,
    width: Annotated[int, Range(2)] = 32,
    depth: Annotated[int, Range(1, 16)] = 1,
    heads: Annotated[int, Range(1)] = 4,
    activation: parts.Activation = "gelu",
    init: parts.Init = "lecun",
    gain: parts.Gain = 1.0,
) -> Model:
    """Build a small attention model (a transformer encoder, normalised before each layer).

    Args:
      input_shape: (T,), the longest sentence; each place has a vector of its own.
      num_classes: K ≥ 2.
      vocabulary: number of token ids, padding included; the data set's.
      width: numbers of a word's vector, ≥ 2, a multiple of the heads.
      depth: blocks, each attention and then a hidden layer of twice the width, 1 to 16.
      heads: of each attention, ≥ 1.
      activation: a name of `parts.ACTIVATIONS`.
      init: initialiser of every kernel, the last one ten times smaller; biases start at zero. The
        vectors of the words start with a length of about 1.
      gain: multiplies the standard deviations, > 0.

    Raises:
      InputError: a setting out of range, or inputs that are no sentences.

    Source: Vaswani et al. 2017, "Attention is all you need"; Xiong et al. 2020 (normalised before).
    """
    if width % heads:
        raise InputError(
            f"word_attention: heads={heads} do not share width={width} evenly; give a width that "
            "is a multiple of the heads"
        )
    act = parts.ACTIVATIONS[activation]
    scale = gain * width**-0.5

    def layers(net: parts.Net, inputs: Int[Array, "B T"]) -> Float[Array, "B D"]:
        mask = parts.present(inputs)
        embed = parts.Embedding(width, scale, name="embedding")
        x = net.record("embedding", embed(parts.one_hot(inputs, vocabulary)))
        shape = (inputs.shape[1], width)
        places = net.param("places", nn.initializers.normal(scale), shape, jnp.float32)
        x = x + places[None].astype(x.dtype)
        for index in range(1, depth + 1):
            attend = Attention(heads, net.draw, name=f"attention{index}")
            x = x + attend(parts.Norm("layer", name=f"norm{index}a")(x), mask)
            x = net.record(f"attention{index}", x)
            y = parts.Norm("layer", name=f"norm{index}b")(x)
            y = act(net.dense(f"wide{index}", 2 * width)(y))
            x = net.record(f"block{index}", x + net.dense(f"narrow{index}", width)(y))
        x = parts.mean_over_words(parts.Norm("layer", name="norm")(x), inputs)
        return net.record("average", x)

    return parts.linen_model(layers, input_shape, num_classes, init, gain, jnp.int32)


RECIPES = {"default": Recipe(1000, 32, "adamw", 0.003, weight_decay=0.1)}
MODELS = {"word_attention": Spec(word_attention, RECIPES, reads=("tokens",))}
