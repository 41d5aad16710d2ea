"""Random numbers of many keys, by numpy: those of `jax.random`, without a program to compile.

Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3",
Threefry-2x32 with 20 rounds; keys and counters are made of it as `jax.random` does with its
setting jax_threefry_partitionable.
"""

import numpy as np
from jaxtyping import Float, UInt32

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)

Keys = UInt32[np.ndarray, "2 B"]


def threefry(
    keys: UInt32[np.ndarray, "2 ..."], counters: UInt32[np.ndarray, "..."]
) -> tuple[np.ndarray, np.ndarray]:
    """Mix a counter below 2³² with keys [2, ...] that broadcast against it, into two words."""
    words = (*keys, keys[0] ^ keys[1] ^ PARITY)
    x, y = keys[0] + np.zeros_like(counters), counters + keys[1]
    for step in range(5):
        for by in ROTATIONS[step % 2]:
            x += y
            y = (y << by | y >> (32 - by)) ^ x
        x += words[(step + 1) % 3]
        y += words[(step + 2) % 3] + np.uint32(step + 1)
    return x, y


def fold_in(seed: int, numbers: UInt32[np.ndarray, " B"]) -> Keys:
    """Make a key of a seed and each number, as `fold_in(key(seed), number)`."""
    return np.stack(threefry(np.array([[0], [seed]], np.uint32), numbers))


def split(keys: Keys) -> tuple[Keys, Keys]:
    """Make two keys of each, as `split(key)`."""
    first, second = (np.full(keys.shape[1:], i, np.uint32) for i in range(2))
    return np.stack(threefry(keys, first)), np.stack(threefry(keys, second))


def bits(keys: Keys, count: int) -> UInt32[np.ndarray, "N B"]:
    """Draw 32-bit words of each key, as `bits(key, (count,))`."""
    x, y = threefry(keys[:, None], np.arange(count, dtype=np.uint32)[:, None])
    return x ^ y


def uniform(keys: Keys, count: int) -> Float[np.ndarray, "N B"]:
    """Draw numbers 0..1 of each key, float32, as `uniform(key, (count,))`."""
    return (bits(keys, count) >> 9 | np.uint32(0x3F800000)).view(np.float32) - np.float32(1)
