"""Pytrees of arrays in .npz files: one format for checkpoints and finished waves.

The same arrays give the same bytes. `numpy.load` reads the files too: an entry is named by its path
in the tree, joined with '/'; bfloat16 is there a structure of one uint16 named 'bfloat16'.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from catdog_jax.store.atomic import StoreError, replacing


class Damaged(StoreError):
    """A file is not what was written; the message names it."""


def flatten(tree: Any) -> dict[str, Any]:
    """List the leaves of a pytree by their path, joined with '/'."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(k, simple=True, separator="/"): leaf for k, leaf in leaves}


def write(path: Path, tree: Any) -> None:
    """Write a pytree, atomically.

    Args:
      path: the .npz file; its folder is created.
      tree: a pytree of arrays and numbers, its root no array; random keys as their key data.

    Raises:
      TypeError: a leaf is a random key.
      ValueError: a leaf is no array of numbers, booleans or text.
    """
    found = {name: np.asarray(leaf, order="C") for name, leaf in flatten(tree).items()}
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.comment = _comment(path, len(found))
        for name, array in found.items():
            if array.dtype.kind == "V":  # bfloat16 and its kin, of which .npy knows the size only
                array = array.view([(array.dtype.name, f"u{array.itemsize}")])
            # A bare ZipInfo carries the date 1980-01-01: no clock in the bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def read(path: Path) -> dict[str, Any]:
    """Read what `write` wrote.

    Returns:
      Nested dicts of arrays; what held no array is left out.

    Raises:
      Damaged: the file is missing, or is not what was written.
    """
    tree: dict[str, Any] = {}
    try:
        # Not numpy.load: it leaves a file that is no zip open, and believes an entry's header
        # before zipfile has compared the entry's CRC-32.
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            # Damage to the list of entries at the end of the file could hide some of them.
            if archive.comment != _comment(path, len(archive.namelist())):
                raise ValueError("entries are missing, or it is another file")
            for entry in archive.namelist():
                content = io.BytesIO(archive.read(entry))
                array = np.lib.format.read_array(content, allow_pickle=False)
                *above, name = entry.removesuffix(".npy").split("/")
                place = tree
                for key in above:
                    place = place.setdefault(key, {})
                place[name] = array.view(array.dtype.names[0]) if array.dtype.names else array
    except MemoryError:
        raise
    except Exception as error:  # a damaged zip can make zipfile raise anything
        why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise Damaged(f"{path} is damaged ({why.splitlines()[0]:.100})") from error
    return tree


def _comment(path: Path, num_entries: int) -> bytes:
    """Say how much a file holds, and where it lies in its run folder: it stands for no other."""
    return f"{num_entries} {'/'.join(path.parts[-3:])}".encode()


def restructured(tree: Any, like: Any, where: object) -> Any:
    """Put arrays into the structure of another pytree.

    Args:
      tree: what `read` returned, or a part of it.
      like: a pytree of the wanted structure; its leaves do not matter.
      where: where the arrays come from, for the message.

    Raises:
      StoreError: the structures differ.
    """
    found, wanted = flatten(tree), flatten(like)
    if strange := sorted(found.keys() ^ wanted.keys()):
        raise StoreError(
            f"{where} {'holds' if strange[0] in found else 'lacks'} {strange[0]}: another version "
            "of the program made it; resume with that one, or use --fresh"
        )
    return jax.tree.unflatten(jax.tree.structure(like), [found[name] for name in wanted])
