"""A network's weights in about a thousand numbers, for keeping whole trajectories."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from catdog_jax.types import Params


def sketch(params: Params, seed: int = 0, size: int = 1024) -> Float[Array, " {size}"]:
    """Add all weights into `size` buckets, each weight with a random sign.

    A count sketch: linear, the same for every member, and inner products keep their value on
    average over seeds, E⟨Sx, Sy⟩ = ⟨x, y⟩, with Var‖Sx‖² ≤ 2‖x‖⁴ / size. The signs are hashes of
    (seed, index). The buckets are cyclic shifts: the weights are cut into rows of `size`, and row r
    is rolled by a hash of (seed, r) before the rows are added. Two weights so share a bucket with
    probability ≤ 1 / size, as in the paper, and there is no scatter: on a GPU a scattered sum is
    slow, or differs in its last bits from run to run.

    Args:
      params: pytree of float arrays, D < 2³² numbers in all.
      seed: which sketch, 0..2³²-1; sketches compare only under the same seed and size.
      size: how many numbers to keep, ≥ 1.

    Returns:
      [size] float32, in units of the weights.

    Source:
      Charikar, Chen, Farach-Colton 2002, "Finding frequent items in data streams", sec. 3;
      variance: Weinberger et al. 2009, "Feature hashing for large scale multitask learning", eq. 3.
    """
    leaves = jax.tree.leaves(params)
    weights = jnp.concatenate([jnp.ravel(leaf).astype(jnp.float32) for leaf in leaves])
    rows = -(-weights.size // size)
    weights = jnp.pad(weights, (0, rows * size - weights.size))
    index = jnp.arange(rows * size, dtype=jnp.uint32)
    sign = 1.0 - 2.0 * (_hash(index, seed, 0) >> 31).astype(jnp.float32)
    shift = (_hash(jnp.arange(rows, dtype=jnp.uint32), seed, 1) % size).astype(jnp.int32)
    column = (jnp.arange(size)[None, :] + shift[:, None]) % size
    return jnp.take_along_axis((sign * weights).reshape(rows, size), column, axis=1).sum(axis=0)


def _hash(index: UInt32[Array, " n"], seed: int, stream: int) -> UInt32[Array, " n"]:
    """Mix (index, seed, stream) into 32 random bits.

    Source:
      Appleby 2008, MurmurHash3, the 32-bit finaliser, twice.
    """
    start = np.uint32((seed * 0x9E3779B1 + stream * 0x85EBCA77 + 0x2545F491) % 2**32)
    return _mix(_mix(index ^ start) + np.uint32(seed % 2**32))


def _mix(bits):
    bits = (bits ^ (bits >> 16)) * np.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * np.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)
