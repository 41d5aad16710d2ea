"""Averaged embeddings: a vector per word, their mean, and a perceptron on it; order is not seen."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Int

from catdog_jax.models import _checks, _words
from catdog_jax.models._linen import Features, Recorder, linen_model
from catdog_jax.models.activations import activation as find_activation
from catdog_jax.models.initializers import HEAD_GAIN, initializer
from catdog_jax.types import Model, ModelSpec, Recipe

_MOST_LAYERS = 16


class WordAverage(nn.Module):
    """Linen module of the averaged embeddings; see `word_average` for the attributes."""

    num_classes: int
    vocabulary: int
    width: int
    depth: int
    activation: str
    init_name: str
    gain: float

    @nn.compact
    def __call__(self, inputs: Int[Array, "B T"]) -> Features:
        """Return the named layer outputs, input first, logits last."""
        record = Recorder(inputs)
        act = find_activation(self.activation)
        draw = initializer(self.init_name, self.gain)
        last = initializer(self.init_name, self.gain * HEAD_GAIN)
        embed = _words.Embedding(
            self.vocabulary, self.width, self.gain * self.width**-0.5, name="embedding"
        )
        record("embedding", embed(inputs))
        # From the counts: then the same words in another order are the same numbers to the bit.
        words = _words.counts(inputs, self.vocabulary)
        length = jnp.maximum(words.sum(axis=1, keepdims=True), 1.0)
        x = record("average", embed.sum_of(words / length))
        for index in range(1, self.depth + 1):
            x = act(nn.Dense(self.width, kernel_init=draw, name=f"hidden{index}")(x))
            x = record(f"hidden{index}", x)
        return record.logits(nn.Dense(self.num_classes, kernel_init=last, name="head")(x))


def word_average(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    vocabulary: int = 0,
    width: int = 32,
    depth: int = 1,
    activation: str = "relu",
    init: str = "he",
    gain: float = 1.0,
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
    _words.sentences("word_average", input_shape, num_classes, vocabulary)
    _checks.whole("word_average", "width", width, 1)
    _checks.whole("word_average", "depth", depth, 0, _MOST_LAYERS)
    _checks.positive("word_average", "gain", gain)
    find_activation(activation)
    initializer(init)
    module = WordAverage(num_classes, vocabulary, width, depth, activation, init, gain)
    return linen_model(module, input_shape, jnp.int32)


MODELS = {
    "word_average": ModelSpec(
        build=word_average,
        summary="a vector per word, their mean, and hidden layers on it",
        recipes={
            "default": Recipe(
                num_steps=500,
                batch_size=32,
                optimizer="adamw",
                learning_rate=0.003,
                weight_decay=0.1,
            ),
        },
        reads=("tokens",),
    )
}
