"""Arrays in one .npz file with their digests: what a finished wave leaves behind."""

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catdog_jax.store import atomic, leaves

INDEX = "__index__"


def write(path: Path, found: Sequence[tuple[leaves.LeafPath, np.ndarray]]) -> None:
    """Write arrays atomically; the same arrays give the same bytes.

    Args:
      path: the .npz file; `numpy.load` reads it too (bfloat16 there as uint16).
      found: (path, array) pairs; an entry is named by its path, joined with '/'.

    Raises:
      ValueError: two paths give the same name.
    """
    names = [_name(p) for p, _ in found]
    if len({INDEX, *names}) <= len(names):
        raise ValueError(f"{path.name}: entries share a name, or are called {INDEX!r}: {names}")
    text = json.dumps([leaves.describe(p, array) for p, array in found])
    sealed = json.dumps({"leaves": text, "sha256": hashlib.sha256(text.encode()).hexdigest()})
    with atomic.replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        _add(archive, INDEX, np.frombuffer(sealed.encode(), np.uint8))
        for name, (_, array) in zip(names, found, strict=True):
            _add(archive, name, array)


def read(path: Path) -> list[tuple[leaves.LeafPath, np.ndarray]]:
    """Read and verify what `write` wrote.

    Returns:
      (path, array) pairs in the order they were written.

    Raises:
      FileNotFoundError: there is no such file.
      leaves.Damaged: the file is not what was written.
    """
    try:
        # Not numpy.load: it leaves a file that is no zip open.
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            sealed = json.loads(_get(archive, INDEX).tobytes())
            if hashlib.sha256(sealed["leaves"].encode()).hexdigest() != sealed["sha256"]:
                raise leaves.Damaged("the digest of its index differs")
            return [_restored(archive, record) for record in json.loads(sealed["leaves"])]
    except (FileNotFoundError, MemoryError, leaves.Damaged):
        raise
    except Exception as error:  # a damaged zip can make numpy raise anything
        raise leaves.Damaged(leaves.reason(error)) from error


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    stored = array.view(f"u{array.itemsize}") if array.dtype.kind == "V" else array
    # A bare ZipInfo carries the date 1980-01-01: no clock in the bytes.
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
        np.lib.format.write_array(entry, stored, allow_pickle=False)


def _get(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as entry:
        array: np.ndarray = np.lib.format.read_array(entry, allow_pickle=False)
    return array


def _restored(archive: zipfile.ZipFile, record: dict[str, Any]) -> tuple[leaves.LeafPath, Any]:
    array, dtype = _get(archive, _name(record["path"])), np.dtype(record["dtype"])
    return leaves.verified(array.view(dtype) if dtype.kind == "V" else array, record)


def _name(path: Sequence[str]) -> str:
    return "/".join(path) or "(root)"
