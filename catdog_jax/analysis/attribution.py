"""What in a picture speaks for a class: gradients, integrated gradients, occlusion.

A score is a weighted sum of the logits, one set of weights (a `contrast`) per picture. Every
function takes one member's formula; maps of other members come from the same function, vmapped or
in a loop.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Float, Int

from catdog_jax.types import Inputs, Logits, Params

Apply = Callable[[Params, Inputs], Logits]
Images = Float[Array, "B H W C"]
Contrast = Float[Array, "B K"]
RULES = ("midpoint", "gauss-legendre")


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


def scores(apply: Apply, params: Params, images: Images, contrast: Contrast) -> Float[Array, " B"]:
    """Compute the score of each picture: the weighted sum of its logits.

    Args:
      apply: one member's formula.
      params: its weights.
      images: [B, H, W, C], as the formula takes them.
      contrast: [B, K] weights of the logits.

    Returns:
      [B] float32, in units of the logits.
    """
    return jnp.sum(apply(params, images) * contrast, axis=-1)


def saliency(apply: Apply, params: Params, images: Images, contrast: Contrast) -> Images:
    """Differentiate the score by the pixels: how much it would change, and which way.

    Args:
      apply, params, images, contrast: see `scores`.

    Returns:
      [B, H, W, C], logits per unit of a pixel. Simonyan et al. draw the largest absolute value over
      the channels.

    Source:
      Simonyan, Vedaldi, Zisserman 2014, "Deep inside convolutional networks", sec. 3.
    """
    return jax.grad(lambda x: jnp.sum(scores(apply, params, x, contrast)))(images)


def integrated_gradients(
    apply: Apply,
    params: Params,
    images: Images,
    baseline: Images,
    contrast: Contrast,
    *,
    steps: int = 64,
    rule: str = "midpoint",
) -> Images:
    """Share the score out among the pixels: what each adds on the way from a baseline.

    The parts sum to score(images) − score(baseline) up to the error of the quadrature, which
    `completeness_gap` measures. A score that is polynomial along the way is exact under
    'gauss-legendre'; one of a relu net has kinks, where neither rule is better than 1 / steps.

    Args:
      apply, params, images, contrast: see `scores`.
      baseline: [B, H, W, C], the picture that says nothing.
      steps: points between baseline and picture, ≥ 1.
      rule: 'midpoint' (Riemann sum) or 'gauss-legendre'.

    Returns:
      [B, H, W, C], in units of the logits.

    Raises:
      ValueError: fewer than one step, or an unknown rule.

    Source:
      Sundararajan, Taly, Yan 2017, "Axiomatic attribution for deep networks", eqs. 1 and 3.
    """
    if steps < 1 or rule not in RULES:
        raise ValueError(f"steps={steps}, rule={rule!r}; steps ≥ 1, rule of {', '.join(RULES)}")
    if rule == "midpoint":
        places, shares = (np.arange(steps) + 0.5) / steps, np.full(steps, 1.0 / steps)
    else:
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        places, shares = 0.5 + 0.5 * nodes, 0.5 * weights
    way = images - baseline

    def add(total: Array, point: tuple[Array, Array]) -> tuple[Array, None]:
        place, share = point
        gradient = saliency(apply, params, baseline + place * way, contrast)
        return total + share * gradient, None

    points = jnp.asarray(places, images.dtype), jnp.asarray(shares, images.dtype)
    mean_gradient, _ = jax.lax.scan(add, jnp.zeros_like(images), points)
    return way * mean_gradient


def completeness_gap(
    attributions: Images,
    apply: Apply,
    params: Params,
    images: Images,
    baseline: Images,
    contrast: Contrast,
) -> Float[Array, " B"]:
    """Measure by how much attributions miss what they must sum to.

    Args:
      attributions: [B, H, W, C], of `integrated_gradients`.
      apply, params, images, baseline, contrast: as given there.

    Returns:
      [B], sum of the attributions − (score(images) − score(baseline)), in units of the logits; zero
      for an exact integral.

    Source:
      Sundararajan, Taly, Yan 2017, proposition 1 (completeness).
    """
    change = scores(apply, params, images, contrast) - scores(apply, params, baseline, contrast)
    return jnp.sum(attributions, axis=(1, 2, 3)) - change


def occlusion(
    apply: Apply,
    params: Params,
    images: Images,
    baseline: Images,
    contrast: Contrast,
    *,
    window: int,
    stride: int,
) -> Float[Array, "B h w"]:
    """Cover a square of the picture, at every place of a grid: by how much does the score drop?

    Args:
      apply, params, images, contrast: see `scores`.
      baseline: [B, H, W, C], what is seen where a picture is covered.
      window: side of the square, 1 to min(H, W) pixels.
      stride: pixels from one place to the next, ≥ 1.

    Returns:
      [B, h, w], h = (H − window) // stride + 1 and w likewise, in units of the logits: positive
      where the square held something that spoke for the class. Place (i, j) covers the rows from
      i · stride and the columns from j · stride.

    Raises:
      ValueError: window or stride out of range.

    Source:
      Zeiler, Fergus 2014, "Visualizing and understanding convolutional networks", sec. 4.2.
    """
    height, width = images.shape[1:3]
    if not 1 <= window <= min(height, width) or stride < 1:
        raise ValueError(f"window={window}, stride={stride} on {height}×{width}; both ≥ 1 and fit")
    tops = np.arange(0, height - window + 1, stride)
    lefts = np.arange(0, width - window + 1, stride)
    places = jnp.asarray([(top, left) for top in tops for left in lefts], jnp.int32)
    rows, columns = jnp.arange(height)[:, None], jnp.arange(width)[None]

    def covered(place: Array) -> Array:
        hidden = (rows >= place[0]) & (rows < place[0] + window)
        hidden &= (columns >= place[1]) & (columns < place[1] + window)
        seen = jnp.where(hidden[None, :, :, None], baseline, images)
        return scores(apply, params, seen, contrast)

    drops = scores(apply, params, images, contrast)[None] - jax.lax.map(covered, places)
    return drops.T.reshape(len(images), len(tops), len(lefts))


def map_correlations(
    maps: Float[np.ndarray, "M P D"],
    others: Float[np.ndarray, "N P D"] | None = None,
    *,
    rank: bool = False,
) -> Float[np.ndarray, "M P N P"]:
    """Correlate every map of every member with every map of every other.

    Args:
      maps: [M, P, D], of M members on P pictures, flattened.
      others: of N other members on the same pictures; None for the same ones.
      rank: Spearman's rank correlation, ties at their mean rank, in place of Pearson's.

    Returns:
      [M, P, N, P] float64 in −1..1, nan where a map has one value only.
    """
    left = _standardised(maps, rank)
    right = left if others is None else _standardised(others, rank)
    products = left.reshape(-1, left.shape[-1]) @ right.reshape(-1, right.shape[-1]).T
    return np.clip(products, -1.0, 1.0).reshape(*maps.shape[:2], *right.shape[:2])


def same_picture(correlations: Float[np.ndarray, "M P N P"]) -> Float[np.ndarray, "M N"]:
    """Average, for every two members, over maps of the same picture.

    Returns:
      [M, N] float64, nan where no picture has a correlation.
    """
    each = np.einsum("ipjp->ijp", correlations)
    return _mean(each, np.isfinite(each))


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
    each = np.moveaxis(correlations, 2, 1)
    each = each.reshape(*each.shape[:2], -1)
    return _mean(each, paired.ravel() & np.isfinite(each))


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Average over the last axis, over what is counted; nan where nothing is."""
    number = counted.sum(axis=-1)
    total = np.where(counted, values, 0.0).sum(axis=-1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _standardised(maps: np.ndarray, rank: bool) -> np.ndarray:
    """Centre each map and scale it to length one; nan where it is constant."""
    values = scipy.stats.rankdata(maps, axis=-1) if rank else maps.astype(np.float64)
    centred = values - values.mean(axis=-1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=-1, keepdims=True))
    flat = np.ptp(maps, axis=-1, keepdims=True) == 0
    return np.where(flat, np.nan, centred / np.where(flat, 1.0, length))
