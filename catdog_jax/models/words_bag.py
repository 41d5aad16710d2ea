"""Bag of words: one weight per word and class on how often each word occurs; order is not seen."""

import functools

from catdog_jax.models import linear, parts
from catdog_jax.types import Model, Recipe, Spec


def bag_of_words(
    input_shape: parts.SentenceShape,
    num_classes: parts.Classes,
    *,
    vocabulary: parts.Vocabulary = 0,
    init: parts.Init = "lecun",
    gain: parts.Gain = 1.0,
) -> Model:
    """Build the linear classifier of word counts; its params and formula are those of `linear`.

    Args:
      input_shape: (T,), the longest sentence.
      num_classes: K ≥ 2.
      vocabulary: number of token ids, padding included; the data set's.
      init: initialiser of the weights; the bias starts at zero.
      gain: multiplies the initialiser's standard deviation, > 0.

    Returns:
      The model; its params are `linear.LinearParams` of [vocabulary - 1, K] weights.

    Raises:
      InputError: a setting out of range, or inputs that are no sentences.
    """
    counts = functools.partial(parts.counts, vocabulary=vocabulary)
    return linear.affine(vocabulary - 1, num_classes, init, gain, "counts", counts)


RECIPES = {"default": Recipe(500, 64, "adam", 0.01)}
MODELS = {"bag_of_words": Spec(bag_of_words, RECIPES, reads=("tokens",))}
