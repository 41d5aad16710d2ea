"""Pytrees as named arrays with digests, so that what is read back is what was written."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import ml_dtypes  # noqa: F401  (gives np.dtype the name 'bfloat16')
import numpy as np

from catdog_jax.store.atomic import StoreError

LeafPath = tuple[str, ...]  # from the root: dict keys, field names, positions


class Damaged(Exception):
    """What was read is not what was written; the message says how."""


def flatten(tree: Any) -> list[tuple[LeafPath, np.ndarray]]:
    """List the leaves of a pytree, in the order of JAX, as numpy arrays.

    Args:
      tree: a pytree of arrays and numbers; random keys as their key data.

    Raises:
      TypeError: a leaf is no array of numbers, booleans or text.
    """
    found = []
    for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        path = tuple(jax.tree_util.keystr((key,), simple=True) for key in keys)
        array = np.asarray(leaf)
        if array.dtype.hasobject:
            raise TypeError(f"leaf {show(path)} is {type(leaf).__name__}, not an array of numbers")
        found.append((path, array))
    return found


def nested(leaves: Iterable[tuple[LeafPath, np.ndarray]]) -> Any:
    """Rebuild leaves as nested dicts of arrays; a lone leaf at the root comes back bare."""
    tree: dict[str, Any] = {}
    for path, array in leaves:
        if not path:
            return array
        place = tree
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = array
    return tree


def restructured(
    leaves: Iterable[tuple[LeafPath, np.ndarray]], like: Any, where: str, *, shapes: bool
) -> Any:
    """Put leaves into the structure of another pytree.

    Args:
      leaves: (path, array) pairs.
      like: a pytree of the wanted structure; its leaves are arrays or ShapeDtypeStructs.
      where: where the leaves come from, for the message.
      shapes: whether shapes and dtypes must match too.

    Raises:
      StoreError: the structures differ.
    """
    found = dict(leaves)
    wanted, treedef = jax.tree_util.tree_flatten_with_path(like)
    paths = [tuple(jax.tree_util.keystr((key,), simple=True) for key in k) for k, _ in wanted]
    strange = sorted(set(found) ^ set(paths))
    if strange:
        side = "holds" if strange[0] in found else "lacks"
        raise StoreError(f"{where} {side} {show(strange[0])}: {_OTHER_PROGRAM}")
    for path, (_, leaf) in zip(paths, wanted, strict=True):
        if not shapes:
            continue
        array = found[path]
        dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
        if array.shape != np.shape(leaf) or array.dtype != dtype:
            raise StoreError(
                f"{where} holds {show(path)} as {array.dtype}{list(array.shape)}, not "
                f"{dtype}{list(np.shape(leaf))}: {_OTHER_PROGRAM}"
            )
    return jax.tree_util.tree_unflatten(treedef, [found[path] for path in paths])


_OTHER_PROGRAM = "another version of the program made it; go on with that one, or use --fresh"


def describe(path: LeafPath, array: np.ndarray) -> dict[str, Any]:
    """Record what identifies a leaf: path, dtype, shape, SHA-256 of its bytes (C order)."""
    extended = array.dtype.kind == "V"  # bfloat16 and its kin have no letter of their own
    return {
        "path": list(path),
        "dtype": array.dtype.name if extended else array.dtype.str,
        "shape": list(array.shape),
        "sha256": _digest(array),
    }


def verified(array: Any, record: Mapping[str, Any]) -> tuple[LeafPath, np.ndarray]:
    """Compare an array with its record.

    Args:
      array: as it was read; None for a leaf without elements, which is not stored.
      record: what `describe` returned when it was written.

    Raises:
      Damaged: it is another array.
    """
    dtype, shape = np.dtype(record["dtype"]), tuple(record["shape"])
    path = tuple(record["path"])
    array = np.empty(shape, dtype) if array is None else np.asarray(array)
    if array.dtype != dtype or array.shape != shape:
        raise Damaged(f"{show(path)} is {array.dtype}{list(array.shape)}, not {dtype}{list(shape)}")
    if _digest(array) != record["sha256"]:
        raise Damaged(f"the digest of {show(path)} differs")
    return path, array


def show(path: LeafPath) -> str:
    """Write a leaf's path for a person."""
    return "/".join(path) or "(root)"


def reason(error: Exception) -> str:
    """Say in a few words why something could not be read."""
    if isinstance(error, Damaged):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {Path(str(error.filename)).name}"
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:100]}"


def _digest(array: np.ndarray) -> str:
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return hashlib.sha256(flat.data).hexdigest()
