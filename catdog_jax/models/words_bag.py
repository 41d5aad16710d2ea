"""Bag of words: one weight per word and class on how often each word occurs; order is not seen."""

from jaxtyping import Array, Float, Int

from catdog_jax.models import _words, linear
from catdog_jax.models._shapes import Classes, SentenceShape, Vocabulary
from catdog_jax.models.initializers import INITIALIZERS, Gain, Init
from catdog_jax.registry import checked
from catdog_jax.types import Model, Recipe, Spec


@checked
def bag_of_words(
    input_shape: SentenceShape,
    num_classes: Classes,
    *,
    vocabulary: Vocabulary = 0,
    init: Init = "lecun",
    gain: Gain = 1.0,
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
    draw = INITIALIZERS[init](gain)

    def counts(tokens: Int[Array, "B T"]) -> Float[Array, "B V"]:
        return _words.counts(tokens, vocabulary)

    return linear.affine_in("counts", counts, draw, vocabulary - 1, num_classes)


MODELS = {
    "bag_of_words": Spec(
        bag_of_words, recipes={"default": Recipe(500, 64, "adam", 0.01)}, reads=("tokens",)
    )
}
