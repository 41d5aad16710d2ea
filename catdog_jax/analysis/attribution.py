"""What in a picture speaks for a class: gradients, integrated gradients, occlusion, ascent.

A score is a weighted sum of the logits, one set of weights per picture. Every function takes one
member's score as a function of pictures [B, H, W, C] -> [B]; maps of other members come from the
same function, vmapped or in a loop.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.stats
from jaxtyping import Array, Float, Int

Images = Float[Array, "B H W C"]
Scores = Float[Array, " B"]
Score = Callable[[Images], Scores]
STEP_SIZE = 0.05  # of the ascent: change of a pixel in the first step


def against_others(labels: Int[np.ndarray, " B"], num_classes: int) -> Float[np.ndarray, "B K"]:
    """Weigh the logits so that the score is a class against the mean of the others.

    Args:
      labels: [B] in 0..K-1, the class asked about.
      num_classes: K ≥ 2.

    Returns:
      [B, K] float32: 1 at the class and −1 / (K − 1) elsewhere; with two classes the score is the
      difference of the logits.
    """
    others = np.full((len(labels), num_classes), -1.0 / (num_classes - 1), np.float32)
    others[np.arange(len(labels)), labels] = 1.0
    return others


def saliency(score: Score, images: Images) -> Images:
    """Differentiate the score by the pixels: how much it would change, and which way.

    Args:
      score: one member's.
      images: [B, H, W, C], as the score takes them.

    Returns:
      [B, H, W, C], logits per unit of a pixel. Simonyan et al. draw the largest absolute value over
      the channels.

    Source:
      Simonyan, Vedaldi, Zisserman 2014, "Deep inside convolutional networks", sec. 3.
    """
    return jax.grad(lambda x: jnp.sum(score(x)))(images)


def integrated_gradients(score: Score, images: Images, baseline: Images, *, steps: int) -> Images:
    """Share the score out among the pixels: what each adds on the way from a baseline.

    The parts sum to score(images) − score(baseline) (completeness) up to the error of the
    Gauss-Legendre quadrature. A score that is polynomial along the way is exact; one of a relu net
    has kinks, where the error falls as 1 / steps.

    Args:
      score, images: see `saliency`.
      baseline: [B, H, W, C], the picture that says nothing.
      steps: points between baseline and picture, ≥ 1.

    Returns:
      [B, H, W, C], in units of the logits.

    Source:
      Sundararajan, Taly, Yan 2017, "Axiomatic attribution for deep networks", eq. 1, prop. 1.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    way = images - baseline

    def add(total: Array, point: tuple[Array, Array]) -> tuple[Array, None]:
        place, share = point
        return total + share * saliency(score, baseline + place * way), None

    places, shares = (jnp.asarray(x, images.dtype) for x in (0.5 + 0.5 * nodes, 0.5 * weights))
    mean_gradient, _ = jax.lax.scan(add, jnp.zeros_like(images), (places, shares))
    return way * mean_gradient


def occlusion(
    score: Score, images: Images, baseline: Images, *, window: int, stride: int
) -> Float[Array, "B h w"]:
    """Cover a square of the picture, at every place of a grid: by how much does the score drop?

    Args:
      score, images: see `saliency`.
      baseline: [B, H, W, C], what is seen where a picture is covered.
      window: side of the square, 1 to min(H, W) pixels.
      stride: pixels from one place to the next, ≥ 1.

    Returns:
      [B, h, w], h = (H − window) // stride + 1 and w likewise, in units of the logits: positive
      where the square held something that spoke for the class. Place (i, j) covers the rows from
      i · stride and the columns from j · stride.

    Source:
      Zeiler, Fergus 2014, "Visualizing and understanding convolutional networks", sec. 4.2.
    """
    height, width = images.shape[1:3]
    tops, lefts = (np.arange(0, side - window + 1, stride) for side in (height, width))
    places = jnp.asarray([(top, left) for top in tops for left in lefts], jnp.int32)
    rows, columns = jnp.arange(height)[:, None], jnp.arange(width)[None]

    def covered(place: Array) -> Array:
        hidden = (rows >= place[0]) & (rows < place[0] + window)
        hidden &= (columns >= place[1]) & (columns < place[1] + window)
        return score(jnp.where(hidden[None, :, :, None], baseline, images))

    drops = score(images)[None] - jax.lax.map(covered, places)
    return drops.T.reshape(len(images), len(tops), len(lefts))


def total_variation(images: Images) -> Scores:
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
    score: Score,
    start: Images,
    *,
    steps: int,
    variation: float,
    rms: float,
    low: Float[np.ndarray, " C"],
    high: Float[np.ndarray, " C"],
) -> tuple[Images, Scores, Scores]:
    """Climb from an input to one of a large score, held back by what is no picture.

    Maximises score(x) − variation · TV(x) with Adam and a step that falls to zero along a cosine.
    Deterministic: the same start gives the same input.

    Args:
      score: one member's.
      start: [B, H, W, C], as the score takes them, for instance small noise.
      steps: ≥ 1.
      variation: weight of the total variation, ≥ 0.
      rms: the root mean square that each input is scaled to after every step, > 0: a bound on the
        length in place of a price on it, for which a formula that normalises its layers would give
        the faintest pattern.
      low, high: [C], the darkest and the brightest value of each channel.

    Returns:
      The inputs [B, H, W, C], within the bounds, their scores [B], and the scores [B] of the inputs
      that it began with.

    Source:
      Simonyan, Vedaldi, Zisserman 2014, "Deep inside convolutional networks", sec. 2 (the score);
      Mahendran, Vedaldi 2015 (total variation).
    """
    tx = optax.adam(optax.cosine_decay_schedule(STEP_SIZE, steps))
    bottom, top = (jnp.asarray(bound, jnp.float32)[None, None, None] for bound in (low, high))

    def scaled(x: Array) -> Array:
        length = jnp.sqrt(jnp.mean(x**2, axis=(1, 2, 3), keepdims=True))
        return x * (rms / jnp.maximum(length, 1e-12))

    def loss(x: Array) -> Array:
        # Scaled in here too: the gradient is then along the sphere, and zero at the best input.
        x = scaled(x)
        return jnp.sum(variation * total_variation(x) - score(x))

    def climb(carry: tuple[Array, optax.OptState], _: None) -> tuple[tuple, None]:
        x, state = carry
        updates, state = tx.update(jax.grad(loss)(x), state)
        return (jnp.clip(scaled(x + jnp.asarray(updates)), bottom, top), state), None

    start = jnp.clip(scaled(start), bottom, top)
    (found, _), _ = jax.lax.scan(climb, (start, tx.init(start)), length=steps)
    return found, score(found), score(start)


def map_correlations(
    maps: Float[np.ndarray, "M P D"], others: Float[np.ndarray, "N P D"], *, rank: bool = False
) -> Float[np.ndarray, "M P N P"]:
    """Correlate every map of every member with every map of every other.

    Args:
      maps: [M, P, D], of M members on P pictures, flattened.
      others: of N members on the same pictures; the same ones or others.
      rank: Spearman's rank correlation, ties at their mean rank, in place of Pearson's.

    Returns:
      [M, P, N, P] float64 in −1..1, nan where a map has one value only.
    """
    left, right = (_standardised(x, rank).reshape(-1, x.shape[-1]) for x in (maps, others))
    return np.clip(left @ right.T, -1.0, 1.0).reshape(*maps.shape[:2], *others.shape[:2])


def same_picture(correlations: Float[np.ndarray, "M P N P"]) -> Float[np.ndarray, "M N"]:
    """Average, for every two members, over maps of the same picture.

    Returns:
      [M, N] float64, nan where no picture has a correlation.
    """
    return _mean(np.einsum("ipjp->ijp", correlations))


def other_picture(
    correlations: Float[np.ndarray, "M P N P"], labels: Int[np.ndarray, " P"]
) -> Float[np.ndarray, "M N"]:
    """Average, for every two members, over maps of different pictures of the same class.

    What `same_picture` must exceed before it says that members look at the same thing in a picture,
    and not at the same places whatever the picture.

    Args:
      correlations: of `map_correlations`.
      labels: [P], classes of the pictures; other classes have scores of other signs.

    Returns:
      [M, N] float64, nan where no class has two pictures.
    """
    paired = (labels[:, None] == labels[None, :]) & ~np.eye(len(labels), dtype=bool)
    return _mean(np.moveaxis(correlations, 2, 1)[..., paired])


def _mean(values: np.ndarray) -> np.ndarray:
    """Average what is finite over the last axis; nan where nothing is."""
    return np.ma.masked_invalid(values).mean(axis=-1).filled(np.nan)


def _standardised(maps: np.ndarray, rank: bool) -> np.ndarray:
    """Centre each map and scale it to length one; nan where it is constant."""
    values = scipy.stats.rankdata(maps, axis=-1) if rank else maps.astype(np.float64)
    centred = values - values.mean(axis=-1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=-1, keepdims=True))
    flat = np.ptp(maps, axis=-1, keepdims=True) == 0
    return np.where(flat, np.nan, centred / np.where(flat, 1.0, length))
