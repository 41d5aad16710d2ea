"""What the formulas that read sentences share: words to vectors, and where a sentence ends."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int


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
    """The vectors of the words, the parameter `table` [vocabulary - 1, width]; padding has none.

    Attributes:
      vocabulary: number of token ids, padding included.
      width: D.
      scale: standard deviation of a starting vector's numbers.
    """

    vocabulary: int
    width: int
    scale: float

    def setup(self) -> None:
        """Draw the table."""
        draw = nn.initializers.normal(self.scale)
        self.table = self.param("table", draw, (self.vocabulary - 1, self.width), jnp.float32)

    def __call__(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """Look the words up; zeros for padding."""
        # A product: its gradient is a product too, where that of a gather is a slow scatter.
        return one_hot(tokens, self.vocabulary).astype(self.table.dtype) @ self.table

    def sum_of(self, words: Float[Array, "B V"]) -> Float[Array, "B D"]:
        """Add up the vectors of counted words."""
        return words.astype(self.table.dtype) @ self.table
