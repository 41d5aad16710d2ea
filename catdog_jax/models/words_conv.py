"""Convolution over embeddings: a few neighbouring words at a time, wherever they stand."""

from typing import Annotated

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from catdog_jax.models import parts
from catdog_jax.registry import OneOf, Range
from catdog_jax.types import Model, Recipe, Spec


def neighbours(x: Float[Array, "B T D"], window: int) -> Float[Array, "B T E"]:
    """Lay the vectors of each place's window side by side, [B, T, window · D].

    The window is centred (an even one reaches further to the right); beyond the ends are zeros.
    """
    before = (window - 1) // 2
    padded = jnp.pad(x, ((0, 0), (before, window - 1 - before), (0, 0)))
    return jnp.concatenate([padded[:, i : i + x.shape[1]] for i in range(window)], axis=-1)


def word_conv(
    input_shape: parts.SentenceShape,
    num_classes: parts.Classes,
    *,
    vocabulary: parts.Vocabulary = 0,
    width: Annotated[int, Range(1)] = 32,
    window: Annotated[int, Range(1)] = 3,
    depth: Annotated[int, Range(1, 16)] = 1,
    pool: Annotated[str, OneOf(("mean", "max"))] = "max",
    activation: parts.Activation = "relu",
    init: parts.Init = "he",
    gain: parts.Gain = 1.0,
) -> Model:
    """Build a convolution over embeddings.

    Args:
      input_shape: (T,), the longest sentence.
      num_classes: K ≥ 2.
      vocabulary: number of token ids, padding included; the data set's.
      width: numbers of a word's vector, and channels of each convolution, ≥ 1.
      window: neighbouring words that a convolution sees, ≥ 1.
      depth: convolutions one on the other, 1 to 16; together they see
        depth · (window - 1) + 1 neighbouring words.
      pool: over the words, 'max' (is it anywhere?) or 'mean' (how often?).
      activation: a name of `parts.ACTIVATIONS`.
      init: initialiser of every kernel, the last one ten times smaller; biases start at zero. The
        vectors of the words start with a length of about 1.
      gain: multiplies the standard deviations, > 0.

    Raises:
      InputError: a setting out of range, or inputs that are no sentences.

    Source: Kim 2014, "Convolutional neural networks for sentence classification" (one layer, max).
    """
    act = parts.ACTIVATIONS[activation]

    def layers(net: parts.Net, inputs: Int[Array, "B T"]) -> Float[Array, "B D"]:
        mask = parts.present(inputs)
        embed = parts.Embedding(width, gain * width**-0.5, name="embedding")
        x = net.record("embedding", embed(parts.one_hot(inputs, vocabulary)))
        for index in range(1, depth + 1):
            # One matrix product: a convolution would be a grouped one under vmap over members.
            x = act(net.dense(f"conv{index}", width)(neighbours(x, window)))
            x = net.record(f"conv{index}", x * mask.astype(x.dtype))
        if pool == "mean":
            return net.record("pooled", parts.mean_over_words(x, inputs))
        x = jnp.where(mask > 0, x, jnp.finfo(x.dtype).min).max(axis=1)
        return net.record("pooled", jnp.where(mask.max(axis=1) > 0, x, 0.0))

    return parts.linen_model(layers, input_shape, num_classes, init, gain, jnp.int32)


RECIPES = {"default": Recipe(800, 32, "adamw", 0.003, weight_decay=0.1)}
MODELS = {"word_conv": Spec(word_conv, RECIPES, reads=("tokens",))}
