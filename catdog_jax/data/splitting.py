"""Which example goes to train, valid or test: a function of its own content, never of order."""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int8

from catdog_jax.types import InputError

PARTS = ("train", "valid", "test")


def content_key(content: bytes) -> bytes:
    """Digest the encoded bytes of one example: SHA-256, 32 bytes."""
    return hashlib.sha256(content).digest()


def stable_split(
    keys: Sequence[bytes | str], fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
) -> Int8[np.ndarray, " N"]:
    """Assign each example to a part by a hash of its own key.

    An example's part depends on nothing but its key: not on order, nor on what else is there.
    Equal keys get equal parts.

    Args:
      keys: N contents or content digests.
      fractions: expected shares of train, valid and test, each ≥ 0, sum 1.

    Returns:
      0 train, 1 valid, 2 test.
    """
    edges = np.cumsum(fractions)[:2]
    return np.searchsorted(edges, _uniform(keys), side="right").astype(np.int8)


def split_every_class(
    keys: Sequence[bytes],
    labels: Int[np.ndarray, " N"],
    fractions: tuple[float, float, float],
    class_names: Sequence[str],
) -> Int8[np.ndarray, " N"]:
    """Split as `stable_split` does, and leave no class out of a part that is asked for.

    Only where a class is so small that a part got none of it, the examples whose hash is nearest
    to that part move there; this too depends on contents only.

    Args:
      keys: N content digests.
      labels: 0..K-1.
      fractions: as for `stable_split`; a part with fraction 0 stays empty.
      class_names: K names, for messages.

    Returns:
      0 train, 1 valid, 2 test.

    Raises:
      InputError: a class has fewer different examples than there are parts.
    """
    part = stable_split(keys, fractions)
    hashes = _uniform(keys)
    wanted = [p for p in range(3) if fractions[p] > 0]
    for label, name in enumerate(class_names):
        members = labels == label
        values = np.unique(hashes[members])
        if len(values) < len(wanted):
            shares = "/".join(f"{100 * fractions[p]:.0f}" for p in wanted)
            raise InputError(
                f"class {name!r} has only {len(values)} different readable pictures, too few to "
                f"divide {shares} into {', '.join(PARTS[p] for p in wanted)}; add pictures"
            )
        # Parts are intervals of the hash, in order: the last takes from the top, then the others.
        low = np.searchsorted(values, np.concatenate([[0.0], np.cumsum(fractions)[:2]]))
        top = len(values)
        for p in reversed(wanted):
            need_below = sum(q < p for q in wanted)
            start = min(max(int(low[p]), need_below), top - 1) if p != wanted[0] else 0
            inside = (hashes >= values[start]) & (hashes <= values[top - 1])
            part[members & inside] = p
            top = start
    return part


def content_order(
    keys: Sequence[bytes], labels: Int[np.ndarray, " N"], ids: Sequence[str]
) -> Int[np.ndarray, " N"]:
    """Order examples by content, so that no file or record order is left; it mixes the classes."""
    order = sorted(range(len(keys)), key=lambda i: (keys[i], int(labels[i]), ids[i]))
    return np.array(order, dtype=np.int64)


def split_fractions(valid: float, divided: bool) -> tuple[float, float, float]:
    """Choose the shares for a source with a test part of its own (`divided`) or without.

    Raises:
      InputError: `valid` is not in 0..0.5.
    """
    if not 0.0 <= valid <= 0.5:
        raise InputError(f"valid={valid} is not a fraction from 0 to 0.5")
    if divided:
        return 1.0 - valid, valid, 0.0
    valid = valid or 0.1
    return 0.9 - valid, valid, 0.1


def _uniform(keys: Sequence[bytes | str]) -> np.ndarray:
    def one(key: bytes | str) -> float:
        raw = key.encode() if isinstance(key, str) else key
        digest = hashlib.blake2b(raw, digest_size=8, person=b"catdog split").digest()
        return (int.from_bytes(digest, "big") >> 11) / 2**53

    return np.array([one(key) for key in keys], dtype=np.float64)
