"""Numbers per example; the caller reduces."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def cross_entropy(
    logits: Float[Array, "B K"], labels: Int[Array, " B"], smoothing: float = 0.0
) -> Float[Array, " B"]:
    """Compute the softmax cross-entropy of each example.

    Args:
      logits: [B, K] float32.
      labels: [B] int32 in 0..K-1.
      smoothing: share of the target spread evenly over all K classes, 0 <= smoothing < 1.

    Returns:
      [B] float32, nats.

    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture", sec. 7 (smoothing).
    """
    log_probabilities = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]
    return -(1.0 - smoothing) * picked - smoothing * jnp.mean(log_probabilities, axis=1)


def correct(logits: Float[Array, "B K"], labels: Int[Array, " B"]) -> Bool[Array, " B"]:
    """Tell for each example whether the largest logit is its label's (the first of equals)."""
    return jnp.argmax(logits, axis=1) == labels
