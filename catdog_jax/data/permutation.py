"""A shuffle of 0..n-1 that is computed place by place, however large n is."""

import numpy as np
from jaxtyping import Int

ROUNDS = 6


def permuted(
    index: Int[np.ndarray, " N"], size: int, *, seed: int, stream: int = 0
) -> Int[np.ndarray, " N"]:
    """Give the places of some numbers in a fixed pseudo-random order of 0..size-1.

    A Feistel network on the smallest even number of bits that holds `size`, repeated where it
    leaves the range: a bijection of 0..size-1, without a table of it.

    Args:
      index: [N], each in 0..size-1.
      size: 1..2⁶².
      seed: 0..2³²-1.
      stream: 0..2³¹-1; another stream of a seed is another order.

    Returns:
      [N] int64, different for different indices.

    Source: Black, Rogaway 2002, "Ciphers with arbitrary finite domains", sec. 4 (cycle walking).
    """
    half = np.uint64(max(1, -(-(size - 1).bit_length() // 2)))
    key = np.array([(stream << 32) + seed], np.uint64)
    values = _feistel(index.astype(np.uint64), half, key)
    while (outside := values >= size).any():
        values[outside] = _feistel(values[outside], half, key)
    return values.astype(np.int64)


def _feistel(values: np.ndarray, half: np.uint64, key: np.ndarray) -> np.ndarray:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = values >> half, values & mask
    for number in range(ROUNDS):
        left, right = right, left ^ (_mixed(right + (np.uint64(number) << half), key) & mask)
    return (left << half) | right


def _mixed(values: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Scramble 64 bits (Steele et al. 2014, splitmix64)."""
    word = values + _finalised(key + np.uint64(0x9E3779B97F4A7C15))
    return _finalised(word + np.uint64(0x9E3779B97F4A7C15))


def _finalised(word: np.ndarray) -> np.ndarray:
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
