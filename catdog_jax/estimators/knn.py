"""k nearest neighbours: nothing is learned but the examples, its params *are* the data.

Distances between pictures are exact. Pixels are whole numbers 0..255, and after subtracting 128 a
float32 matrix product over 1024 of them never leaves ±2²⁴, where float32 holds every whole number:
no order of summation can round. The parts are added as int32, which holds every squared distance
of pictures of up to 32,767 numbers. Features that are no pictures are compared in float32.
"""

import functools
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num, UInt8

from catdog_jax.estimators._examples import Examples, Labels, as_rows
from catdog_jax.models import linear
from catdog_jax.registry import Range, checked
from catdog_jax.types import Classifier, InputError, Spec

QUERIES = 256  # compared with all the data at a time: bounds the memory
MIDDLE = 128.0
EXACT_COLUMNS = 1024  # 2¹⁰ products of at most 2⁷ · 2⁷ sum to at most 2²⁴
# A distance is sorted as the float32 whose bits are the distance + 2²³ (so that none is subnormal):
# floats > 0 are ordered like their bits, and the fast top_k of XLA on CPU is for floats only.
SMALLEST_NORMAL = 1 << 23
LARGEST_EXACT = (0x7F7FFFFF - SMALLEST_NORMAL) // 255**2  # numbers per picture
TOLERANCE = 1e-3  # of 1/255: a number this near to a whole one is a pixel


class Neighbours(NamedTuple):
    """The training set.

    Attributes:
      points: [N, D] uint8 where the examples are pictures, otherwise float32.
      labels: [N] int32.
      centre: [D] float32, the mean of the points in the units of the inputs.
    """

    points: UInt8[Array, "N D"] | Float[Array, "N D"] | Any
    labels: Int[Array, " N"] | Any
    centre: Float[Array, " D"] | Any


@functools.partial(jax.jit, static_argnames=("k", "num_classes"))
def apply(
    params: Neighbours, inputs: Num[Array, "B ..."], k: int, num_classes: int
) -> Float[Array, "B K"]:
    """Let the k nearest examples vote.

    Args:
      params: the training set.
      inputs: [B, ...], D numbers each. Where the training set is of pictures and these are not
        (a number that is no multiple of 1/255), distances are computed in float32.
      k: number of votes, in 1..N. Of equally near examples the earliest in the set votes.
      num_classes: K.

    Returns:
      [B, K] float32, votes for each class, whole numbers that sum to k. Of equal counts the lowest
      class is the prediction, as an argmax finds it and as scikit-learn does.
    """
    chosen = params.labels[nearest(params, inputs, k)]
    return jnp.sum(jax.nn.one_hot(chosen, num_classes, dtype=jnp.float32), axis=1)


@functools.partial(jax.jit, static_argnames="k")
def nearest(
    params: Neighbours, inputs: Num[Array, "B ..."] | Num[np.ndarray, "B ..."], k: int
) -> Int[Array, "B {k}"]:
    """Find the k nearest examples of the training set, nearest first.

    Args:
      params: the training set.
      inputs: [B, ...], see `apply`.
      k: in 1..N.

    Returns:
      [B, k] int32, their places in the training set.
    """
    rows = linear.flatten(jnp.asarray(inputs))
    measured = functools.partial(_nearest, params, k, _float_distances)
    if params.points.dtype != jnp.uint8:
        return measured(rows)
    exactly = functools.partial(_nearest, params, k, _pixel_distances)
    return jax.lax.cond(_are_pixels(rows), exactly, measured, rows)


def _are_pixels(rows: Array) -> Array:
    levels = rows * 255.0
    whole = jnp.round(levels)
    return jnp.all((jnp.abs(levels - whole) <= TOLERANCE) & (whole >= 0) & (whole <= 255))


def _nearest(params: Neighbours, k: int, distances: Any, rows: Array) -> Array:
    size = min(QUERIES, rows.shape[0])
    blocks = -(-rows.shape[0] // size)
    padded = jnp.pad(rows, ((0, blocks * size - rows.shape[0]), (0, 0)))
    keys = distances(params)
    found = jax.lax.map(
        lambda block: jax.lax.top_k(-keys(block), k)[1], padded.reshape(blocks, size, -1)
    )
    return found.reshape(blocks * size, k)[: rows.shape[0]]


def _pixel_distances(params: Neighbours) -> Any:
    """Squared distances in units of 1/255², exact, as floats of the same order."""
    points = params.points.astype(jnp.float32) - MIDDLE

    def square(whole: Array) -> Array:
        return jnp.sum(whole.astype(jnp.int32) ** 2, axis=1)

    lengths = square(points)

    def keys(block: Array) -> Array:
        queries = jnp.round(block * 255.0) - MIDDLE
        products = jnp.zeros((block.shape[0], points.shape[0]), jnp.int32)
        for start in range(0, points.shape[1], EXACT_COLUMNS):
            part = slice(start, start + EXACT_COLUMNS)
            products += _product(queries[:, part], points[:, part]).astype(jnp.int32)
        whole = square(queries)[:, None] + lengths[None] - 2 * products
        return jax.lax.bitcast_convert_type(whole + SMALLEST_NORMAL, jnp.float32)

    return keys


def _float_distances(params: Neighbours) -> Any:
    """Squared distances less the squared length of the query, which changes no order."""
    unit = 255.0 if params.points.dtype == jnp.uint8 else 1.0
    points = params.points.astype(jnp.float32) / unit - params.centre[None]
    lengths = jnp.sum(points**2, axis=1)

    def keys(block: Array) -> Array:
        return lengths[None] - 2.0 * _product(block - params.centre[None], points)

    return keys


def _product(queries: Array, points: Array) -> Array:
    return jnp.matmul(queries, points.T, precision=jax.lax.Precision.HIGHEST)


@checked
def knn(
    images: Examples, labels: Labels, num_classes: int, *, k: Annotated[int, Range(1)] = 15
) -> Classifier:
    """Keep the examples; the k nearest by Euclidean distance vote.

    On the training set every example finds itself, so k=1 is always right there.

    Args:
      images: [N, ...] float32, pictures in 0..1 (multiples of 1/255: exact distances, up to
        32,767 numbers each) or features.
      labels: [N] int32.
      num_classes: K ≥ 2.
      k: number of votes, 1..N.

    Returns:
      A classifier whose params are `Neighbours`, the training set itself.

    Raises:
      InputError: a class without an example, or more votes than examples.

    Source:
      Fix, Hodges 1951; Cover, Hart 1967, "Nearest neighbor pattern classification".
    """
    rows, classes = as_rows(images), np.asarray(labels)
    if k > len(rows):
        raise InputError(f"knn: k={k} is not allowed; give 1..{len(rows)}, the training examples")
    rows = rows.astype(np.float32)
    centre = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    exact = rows.shape[1] <= LARGEST_EXACT and bool(_are_pixels(jnp.asarray(rows)))
    points = np.rint(rows * 255.0).astype(np.uint8) if exact else rows
    params = Neighbours(jnp.asarray(points), jnp.asarray(classes, jnp.int32), jnp.asarray(centre))
    return Classifier(params, functools.partial(apply, k=k, num_classes=num_classes))


ESTIMATORS = {"knn": Spec(knn)}
