"""Averaged embeddings: a vector per word, their mean, and a perceptron on it; order is not seen."""

from typing import Annotated

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from catdog_jax.models import _words
from catdog_jax.models._linen import Recorder, linen_model
from catdog_jax.models._shapes import Classes, SentenceShape, Vocabulary
from catdog_jax.models.activations import ACTIVATIONS, Activation
from catdog_jax.models.initializers import INITIALIZERS, Gain, Init
from catdog_jax.registry import Range, checked
from catdog_jax.types import Model, Recipe, Spec


@checked
def word_average(
    input_shape: SentenceShape,
    num_classes: Classes,
    *,
    vocabulary: Vocabulary = 0,
    width: Annotated[int, Range(1)] = 32,
    depth: Annotated[int, Range(0, 16)] = 1,
    activation: Activation = "relu",
    init: Init = "he",
    gain: Gain = 1.0,
) -> Model:
    """Build averaged embeddings with a perceptron on top.

    Args:
      input_shape: (T,), the longest sentence.
      num_classes: K ≥ 2.
      vocabulary: number of token ids, padding included; the data set's.
      width: numbers of a word's vector, and units of each hidden layer, ≥ 1.
      depth: hidden layers on the average, 0 to 16.
      activation: a name of `activations.ACTIVATIONS`.
      init: initialiser of every kernel, the last one ten times smaller; biases start at zero. The
        vectors of the words start with a length of about 1.
      gain: multiplies the standard deviations, > 0.

    Raises:
      InputError: a setting out of range, or inputs that are no sentences.
    """
    act = ACTIVATIONS[activation]
    draw = INITIALIZERS[init](gain)

    def layers(record: Recorder, inputs: Int[Array, "B T"]) -> Float[Array, "B D"]:
        embed = _words.Embedding(vocabulary, width, gain * width**-0.5, name="embedding")
        record("embedding", embed(inputs))
        # From the counts: then the same words in another order are the same numbers to the bit.
        words = _words.counts(inputs, vocabulary)
        length = jnp.maximum(words.sum(axis=1, keepdims=True), 1.0)
        x = record("average", embed.sum_of(words / length))
        for index in range(1, depth + 1):
            x = act(nn.Dense(width, kernel_init=draw, name=f"hidden{index}")(x))
            x = record(f"hidden{index}", x)
        return x

    return linen_model(layers, input_shape, num_classes, init, gain, jnp.int32)


MODELS = {
    "word_average": Spec(
        word_average,
        recipes={"default": Recipe(500, 32, "adamw", 0.003, weight_decay=0.1)},
        reads=("tokens",),
    )
}
