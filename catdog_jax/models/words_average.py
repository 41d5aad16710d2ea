"""Averaged embeddings: a vector per word, their mean, and a perceptron on it; order is not seen."""

from typing import Annotated

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from catdog_jax.models import parts
from catdog_jax.registry import Range
from catdog_jax.types import Model, Recipe, Spec


def word_average(
    input_shape: parts.SentenceShape,
    num_classes: parts.Classes,
    *,
    vocabulary: parts.Vocabulary = 0,
    width: Annotated[int, Range(1)] = 32,
    depth: Annotated[int, Range(0, 16)] = 1,
    activation: parts.Activation = "relu",
    init: parts.Init = "he",
    gain: parts.Gain = 1.0,
) -> Model:
    """Build averaged embeddings with a perceptron on top.

    Args:
      input_shape: (T,), the longest sentence.
      num_classes: K ≥ 2.
      vocabulary: number of token ids, padding included; the data set's.
      width: numbers of a word's vector, and units of each hidden layer, ≥ 1.
      depth: hidden layers on the average, 0 to 16.
      activation: a name of `parts.ACTIVATIONS`.
      init: initialiser of every kernel, the last one ten times smaller; biases start at zero. The
        vectors of the words start with a length of about 1.
      gain: multiplies the standard deviations, > 0.

    Raises:
      InputError: a setting out of range, or inputs that are no sentences.
    """
    act = parts.ACTIVATIONS[activation]

    def layers(net: parts.Net, inputs: Int[Array, "B T"]) -> Float[Array, "B D"]:
        embed = parts.Embedding(width, gain * width**-0.5, name="embedding")
        net.record("embedding", embed(parts.one_hot(inputs, vocabulary)))
        # From the counts: then the same words in another order are the same numbers to the bit.
        words = parts.counts(inputs, vocabulary)
        length = jnp.maximum(words.sum(axis=1, keepdims=True), 1.0)
        x = net.record("average", embed(words / length))
        for index in range(1, depth + 1):
            x = net.record(f"hidden{index}", act(net.dense(f"hidden{index}", width)(x)))
        return x

    return parts.linen_model(layers, input_shape, num_classes, init, gain, jnp.int32)


RECIPES = {"default": Recipe(500, 32, "adamw", 0.003, weight_decay=0.1)}
MODELS = {"word_average": Spec(word_average, RECIPES, reads=("tokens",))}
