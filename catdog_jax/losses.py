"""Numbers per example; the caller reduces."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num


def cross_entropy(
    logits: Float[Array, "B K"],
    labels: Int[Array, " B"] | Float[Array, "B K"],
    smoothing: Float[Array, ""] | float = 0.0,
) -> Float[Array, " B"]:
    """Compute the softmax cross-entropy of each example.

    Args:
      logits: [B, K] float32.
      labels: [B] int32 in 0..K-1; or [B, K] float32, a probability of each class.
      smoothing: share of the target spread evenly over all K classes, 0 <= smoothing < 1.

    Returns:
      [B] float32, nats.

    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture", sec. 7 (smoothing).
    """
    log_probabilities = jax.nn.log_softmax(logits)
    if labels.ndim == 2:
        picked = jnp.sum(labels * log_probabilities, axis=1)
        return -(1.0 - smoothing) * picked - smoothing * jnp.mean(log_probabilities, axis=1)
    own = labels[:, None] == jnp.arange(logits.shape[1])[None]
    # Not `take_along_axis`: its gradient is a scatter, one element at a time.
    picked = jnp.sum(jnp.where(own, log_probabilities, 0.0), axis=1)
    return -(1.0 - smoothing) * picked - smoothing * jnp.mean(log_probabilities, axis=1)


def correct(
    logits: Float[Array, "B K"], labels: Int[Array, " B"] | Float[Array, "B K"]
) -> Bool[Array, " B"]:
    """Tell for each example whether the largest logit is its label's (the first of equals)."""
    labels = jnp.argmax(labels, axis=1) if labels.ndim == 2 else labels
    return jnp.argmax(logits, axis=1) == labels


def squared_error(
    outputs: Float[Array, "B 1"],
    targets: Num[Array, " B"],
    smoothing: Float[Array, ""] | float = 0.0,
) -> Float[Array, " B"]:
    """Compute the squared difference of a predicted number and the true one.

    Args:
      outputs: [B, 1] float32, the one output of a regression.
      targets: [B], in the same unit.
      smoothing: not used; here so that all losses are called alike.

    Returns:
      [B] float32, in the unit of the targets squared.
    """
    del smoothing
    return jnp.square(outputs[:, 0] - targets)


def same_sign(outputs: Float[Array, "B 1"], targets: Num[Array, " B"]) -> Bool[Array, " B"]:
    """Tell for each example whether the predicted number has the sign of the true one."""
    return jnp.sign(outputs[:, 0]) == jnp.sign(targets)


class Objective(NamedTuple):
    """What a learner makes small, and how its answers are counted.

    Attributes:
      loss: (outputs [B, K], labels [B], smoothing) -> [B].
      right: (outputs, labels) -> [B] bool; its mean is what metrics call accuracy.
    """

    loss: Callable[..., Float[Array, " B"]]
    right: Callable[..., Bool[Array, " B"]]


CLASSIFICATION = Objective(cross_entropy, correct)
REGRESSION = Objective(squared_error, same_sign)
