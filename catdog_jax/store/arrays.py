"""Pytrees of arrays in .npz files: one format for checkpoints and finished waves.

The same arrays give the same bytes. `numpy.load` reads the files too: an entry is named by its path
in the tree, joined with '/'; bfloat16 is there a structure of one uint16 named 'bfloat16'.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from catdog_jax.store.atomic import StoreError, replacing


class Damaged(Exception):
    """What was read is not what was written; the message says how, in a few words."""


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """List the leaves of a pytree as numpy arrays, by their path.

    Args:
      tree: a pytree of arrays and numbers; random keys as their key data.

    Raises:
      TypeError: a leaf is no array of numbers, booleans or text.
      ValueError: two leaves have the same path.
    """
    found: dict[str, np.ndarray] = {}
    for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name, array = _name(keys), np.asarray(leaf, order="C")
        if array.dtype.hasobject:
            raise TypeError(f"leaf {name} is {type(leaf).__name__}, not an array of numbers")
        if name in found:
            raise ValueError(f"two leaves share the path {name!r}")
        found[name] = array
    return found


def write(path: Path, tree: Any) -> None:
    """Write a pytree, atomically.

    Args:
      path: the .npz file; its folder is created.
      tree: as for `flatten`.
    """
    found = flatten(tree)
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in found.items():
            if array.dtype.kind == "V":  # bfloat16 and its kin, of which .npy knows the size only
                array = array.view([(array.dtype.name, f"u{array.itemsize}")])
            # A bare ZipInfo carries the date 1980-01-01: no clock in the bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def read(path: Path, under: str = "") -> dict[str, np.ndarray]:
    """Read what `write` wrote.

    Args:
      path: the .npz file.
      under: read only what is under this key at the root of the tree.

    Returns:
      Arrays by their path in the tree, or below `under`, joined with '/'; '' is the root itself.

    Raises:
      Damaged: the file is missing, or is not what was written.
    """
    found = {}
    try:
        # Not numpy.load: it leaves a file that is no zip open, and believes an entry's header
        # before zipfile has compared the entry's CRC-32.
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            for entry in archive.namelist():
                name = entry.removesuffix(".npy")
                if under and name.split("/")[0] != under:
                    continue
                content = io.BytesIO(archive.read(entry))
                array = np.lib.format.read_array(content, allow_pickle=False)
                if array.dtype.names:
                    array = array.view(array.dtype.names[0])
                found[name.removeprefix(under).removeprefix("/")] = array
    except MemoryError:
        raise
    except Exception as error:  # a damaged zip can make zipfile raise anything
        why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise Damaged(why.splitlines()[0][:100]) from error
    return found


def nested(found: Mapping[str, np.ndarray]) -> Any:
    """Rebuild what was read as nested dicts of arrays; a lone array at the root comes back bare."""
    tree: dict[str, Any] = {}
    for name, array in found.items():
        *above, last = name.split("/")
        place = tree
        for key in above:
            place = place.setdefault(key, {})
        place[last] = array
    return tree[""] if list(tree) == [""] else tree


def restructured(found: Mapping[str, np.ndarray], like: Any, where: str, *, shapes: bool) -> Any:
    """Put what was read into the structure of another pytree.

    Args:
      found: arrays by name.
      like: a pytree of the wanted structure; its leaves are arrays or ShapeDtypeStructs.
      where: where the arrays come from, for the message.
      shapes: whether shapes and dtypes must match too.

    Raises:
      StoreError: the structures differ.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(like)
    wanted = {_name(keys): leaf for keys, leaf in leaves}
    problem = ""
    if strange := sorted(found.keys() ^ wanted.keys()):
        problem = f"{'holds' if strange[0] in found else 'lacks'} {strange[0]}"
    elif shapes:
        for name, leaf in wanted.items():
            is_, other = (f"{x.dtype}{list(x.shape)}" for x in (found[name], leaf))
            if is_ != other:
                problem = f"holds {name} as {is_}, not {other}"
    if problem:
        raise StoreError(
            f"{where} {problem}: another version of the program made it; resume with that one, or "
            "use --fresh"
        )
    return jax.tree_util.tree_unflatten(treedef, [found[name] for name in wanted])


def _name(keys: Any) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator="/")
