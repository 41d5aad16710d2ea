"""The input that a member finds most typical of a class, by gradient ascent on the pixels."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from catdog_jax.analysis.attribution import Apply, Contrast, Images, scores
from catdog_jax.types import Params


class Maximised(NamedTuple):
    """Inputs found by ascent.

    Attributes:
      images: [B, H, W, C], within the bounds.
      scores: [B], of these inputs, in units of the logits.
      start_scores: [B], of the inputs that it began with.
    """

    images: Images
    scores: Float[Array, " B"]
    start_scores: Float[Array, " B"]


def total_variation(images: Images) -> Float[Array, " B"]:
    """Add up how much neighbouring pixels differ.

    Args:
      images: [B, H, W, C].

    Returns:
      [B], the sum over pixels and channels of the length of the difference to the pixel on the
      right and the one below; beyond the edge nothing differs.

    Source:
      Mahendran, Vedaldi 2015, "Understanding deep image representations by inverting them", eq. 3
      with beta = 1, smoothed by 1e-4 so that it has a gradient everywhere.
    """
    right = jnp.pad(jnp.diff(images, axis=2), ((0, 0), (0, 0), (0, 1), (0, 0)))
    below = jnp.pad(jnp.diff(images, axis=1), ((0, 0), (0, 1), (0, 0), (0, 0)))
    return jnp.sum(jnp.sqrt(right**2 + below**2 + 1e-8) - 1e-4, axis=(1, 2, 3))


def maximising_input(
    apply: Apply,
    params: Params,
    start: Images,
    contrast: Contrast,
    *,
    steps: int = 256,
    step_size: float = 0.05,
    l2: float = 0.0,
    variation: float = 0.0,
    rms: float | None = None,
    low: Float[np.ndarray, " C"] | None = None,
    high: Float[np.ndarray, " C"] | None = None,
) -> Maximised:
    """Climb from an input to one of a large score, held back by what is no picture.

    Maximises score(x) − l2 · |x|² − variation · TV(x) with Adam and a step that falls to zero along
    a cosine. Deterministic: the same start gives the same input.

    Args:
      apply: one member's formula.
      params: its weights.
      start: [B, H, W, C], as the formula takes them, for instance small noise.
      contrast: [B, K] weights of the logits; score = their weighted sum.
      steps: ≥ 1.
      step_size: change of a pixel in the first step, > 0.
      l2: weight of the squared length, ≥ 0.
      variation: weight of the total variation, ≥ 0.
      rms: the root mean square that each input is scaled to after every step, > 0: a bound on the
        length in place of a price on it. A formula that normalises its layers gives a large score
        to the faintest pattern, which l2 would then ask for. None for no scaling.
      low, high: [C], the darkest and the brightest value of each channel; None for no bound.

    Returns:
      The inputs and their scores.

    Source:
      Simonyan, Vedaldi, Zisserman 2014, "Deep inside convolutional networks", sec. 2 (the score and
      l2); Mahendran, Vedaldi 2015 (total variation).
    """
    if steps < 1:
        raise ValueError(f"steps={steps}; at least 1")
    bottom = -np.inf if low is None else np.asarray(low, np.float32)[None, None, None]
    top = np.inf if high is None else np.asarray(high, np.float32)[None, None, None]
    tx = optax.adam(optax.cosine_decay_schedule(step_size, steps))

    def scaled(x: Array) -> Array:
        if rms is None:
            return x
        length = jnp.sqrt(jnp.mean(x**2, axis=(1, 2, 3), keepdims=True))
        return x * (rms / jnp.maximum(length, 1e-12))

    def held(x: Array) -> Array:
        return jnp.clip(scaled(x), bottom, top)

    def loss(x: Array) -> Array:
        # Scaled in here too: the gradient is then along the sphere, and zero at the best input.
        x = scaled(x)
        price = l2 * jnp.sum(x**2, axis=(1, 2, 3)) + variation * total_variation(x)
        return jnp.sum(price - scores(apply, params, x, contrast))

    def climb(carry: tuple[Array, optax.OptState], _: None) -> tuple[tuple, None]:
        x, state = carry
        updates, state = tx.update(jax.grad(loss)(x), state)
        return (held(x + jnp.asarray(updates)), state), None

    start = held(start)
    (found, _), _ = jax.lax.scan(climb, (start, tx.init(start)), length=steps)
    return Maximised(
        found, scores(apply, params, found, contrast), scores(apply, params, start, contrast)
    )
