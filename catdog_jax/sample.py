"""Which of the training examples a member learns from: a function of a key."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Num

from catdog_jax.types import InputError, Key


class Sample(NamedTuple):
    """A part of N training examples.

    Attributes:
      size: examples of it, n.
      draw: key -> their rows [n] int32, each in 0..N-1.
    """

    size: int
    draw: Callable[[Key], Int[Array, " n"]]


def parse_sample(text: str, num_examples: int) -> Sample:
    """Read --sample.

    Args:
      text: 'bootstrap' (N rows drawn with replacement: Efron 1979), 'subset:0.7' (that share,
        without), or 'leave_out:10' (all but that many).
      num_examples: N.

    Raises:
      InputError: another text, or a sample of no example or of more than there are.
    """
    name, _, number = text.partition(":")
    if text == "bootstrap":
        return Sample(
            num_examples, lambda key: jax.random.randint(key, (num_examples,), 0, num_examples)
        )
    sizes = {
        "subset": lambda: round(float(number) * num_examples),
        "leave_out": lambda: num_examples - int(number),
    }
    try:
        size = sizes[name]()
    except (KeyError, ValueError, OverflowError):
        size = 0
    if not 1 <= size <= num_examples:
        raise InputError(
            f"--sample={text} of {num_examples:,} training examples; give bootstrap, subset:SHARE "
            "(above 0, at most 1) or leave_out:NUMBER (fewer than there are)"
        )
    return Sample(size, lambda key: permutation(key, num_examples)[:size])


def permutation(key: Key, count: int) -> Int[Array, " {count}"]:
    """Draw an order of 0..count-1: sorted by random 32-bit words, equal words by index."""
    words = jax.random.bits(key, (count,), jnp.uint32)
    return jax.lax.sort((words, jnp.arange(count, dtype=jnp.int32)), num_keys=1)[1]


def spread_rows(labels: Num[np.ndarray, "N *K"], most: int) -> Int[np.ndarray, " n"]:
    """Choose so many examples at most, evenly spaced in each class.

    Where classes take turns, every second of all examples would be of one class.

    Args:
      labels: of the examples, see `types.Data`.
      most: of them.

    Returns:
      Their rows, increasing.
    """
    order = np.argsort(labels if labels.ndim == 1 else labels.argmax(axis=1), kind="stable")
    return np.sort(order[np.linspace(0, len(order) - 1, min(most, len(order))).astype(np.int64)])
