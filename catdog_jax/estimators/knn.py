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

from catdog_jax.estimators._rows import Labels, Rows
from catdog_jax.models import linear
from catdog_jax.registry import Range
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


def apply(
    params: Neighbours, inputs: Num[Array, "B ..."], k: int, num_classes: int
) -> Float[Array, "B K"]:
    """Let the k nearest examples vote.

    Args:
      params: the training set.
      inputs: [B, ...], D numbers each; see `nearest`.
      k: number of votes, in 1..N. Of equally near examples the earliest in the set votes.
      num_classes: K.

    Returns:
      [B, K] float32, votes for each class, whole numbers that sum to k. Of equal counts the lowest
      class is the prediction, as an argmax finds it and as scikit-learn does.
    """
    chosen = params.labels[nearest(params, inputs, k)]
    return jnp.sum(jax.nn.one_hot(chosen, num_classes, dtype=jnp.float32), axis=1)


def nearest(
    params: Neighbours, inputs: Num[Array, "B ..."] | Num[np.ndarray, "B ..."], k: int
) -> Int[Array, "B {k}"]:
    """Find the k nearest examples of the training set, nearest first.

    Args:
      params: the training set.
      inputs: [B, ...]; where the training set is of pictures, each number is taken for the nearest
        multiple of 1/255.
      k: in 1..N.

    Returns:
      [B, k] int32, their places in the training set.
    """
    rows, exact = linear.flatten(jnp.asarray(inputs)), params.points.dtype == jnp.uint8
    rows = jnp.round(rows * 255.0) - MIDDLE if exact else rows - params.centre[None]
    points = params.points.astype(jnp.float32) - (MIDDLE if exact else params.centre[None])
    kind, columns = (jnp.int32, EXACT_COLUMNS) if exact else (jnp.float32, points.shape[1])

    def square(x: Array) -> Array:
        return jnp.sum(x.astype(kind) ** 2, axis=1)

    lengths = square(points)

    def closest(block: Array) -> Array:
        products = jnp.zeros((len(block), len(points)), kind)
        for start in range(0, points.shape[1], columns):
            part = slice(start, start + columns)
            product = jnp.matmul(block[:, part], points[:, part].T, precision="highest")
            products += product.astype(kind)
        # The squared length of the query changes no order, but makes a whole number positive.
        distances = lengths[None] - 2 * products
        if exact:
            positive = distances + square(block)[:, None] + SMALLEST_NORMAL
            distances = jax.lax.bitcast_convert_type(positive, jnp.float32)
        return jax.lax.top_k(-distances, k)[1]

    size = min(QUERIES, len(rows))
    blocks = -(-len(rows) // size)
    padded = jnp.pad(rows, ((0, blocks * size - len(rows)), (0, 0)))
    found = jax.lax.map(closest, padded.reshape(blocks, size, -1))
    return found.reshape(blocks * size, k)[: len(rows)]


def knn(
    rows: Rows, labels: Labels, num_classes: int, *, k: Annotated[int, Range(1)] = 15
) -> Classifier:
    """Keep the examples; the k nearest by Euclidean distance vote.

    On the training set every example finds itself, so k=1 is always right there.

    Args:
      rows: [N, D] float32, pictures in 0..1 (multiples of 1/255: exact distances, up to
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
    if k > len(rows):
        raise InputError(f"knn: k={k} is not allowed; give 1..{len(rows)}, the training examples")
    levels, centre = np.rint(rows * 255.0), rows.mean(axis=0, dtype=np.float64)
    whole = (np.abs(rows * 255.0 - levels) <= TOLERANCE) & (levels >= 0) & (levels <= 255)
    exact = rows.shape[1] <= LARGEST_EXACT and whole.all()
    points = levels.astype(np.uint8) if exact else rows.astype(np.float32)
    params = Neighbours(jnp.asarray(points), jnp.asarray(labels), jnp.asarray(centre, jnp.float32))
    return Classifier(params, functools.partial(apply, k=k, num_classes=num_classes))


ESTIMATORS = {"knn": Spec(knn)}
