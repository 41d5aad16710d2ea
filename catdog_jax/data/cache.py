"""Decoded and drawn arrays kept between runs, so that a picture is decoded or drawn once.

An entry is one file, named by a digest of the source's content and of every setting. It is written
beside its name and then moved there, so a reader sees all of it or nothing; of two processes that
write the same entry the last one wins, with equal content. A damaged entry is noticed (the zip
container carries checksums) and made again. No fault of the cache ever stops a run.
"""

import contextlib
import hashlib
import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from PIL import __version__ as pillow_version

from catdog_jax.data.pictures import DECODE_VERSION
from catdog_jax.types import Dataset, FileNote, Split

_log = logging.getLogger(__name__)
_PARTS = ("train", "valid", "test")
_LAYOUT = 2
_WHOLE = 4 * 2**30  # bytes; larger sources are not read whole for their digest
_ENDS = 2**20
_DAY = 86_400.0


def cache_dir() -> Path:
    """Tell the folder of the cache: CATDOG_CACHE_DIR, or the user's cache folder."""
    chosen = os.environ.get("CATDOG_CACHE_DIR")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("catdog_jax"))


def cached(key: Mapping[str, Any], build: Callable[[], Dataset]) -> Dataset:
    """Return the data set of `key` from the cache, or build it and keep it.

    Args:
      key: JSON-ready facts that decide the result: the source's digest and all settings.
      build: makes the data set.
    """
    facts = {**key, "layout": _LAYOUT, "decode": DECODE_VERSION, "pillow": pillow_version}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    path = cache_dir() / f"{digest[:40]}.npz"
    found = _read(path)
    if found is not None:
        return found
    dataset = build()
    try:
        _write(path, dataset)
    except OSError as error:
        _log.warning(
            "going on without a cache: %s cannot be written (%s); set CATDOG_CACHE_DIR to a "
            "folder with room",
            path.parent,
            error.strerror or error,
        )
    return dataset


def digest_files(paths: Iterable[Path]) -> str:
    """Digest names and content of files, in order of their names.

    Up to 4 GiB in all every byte is read (about a second per GB). Beyond that a file counts by its
    name, size, time of change, and its first and last MiB.

    Returns:
      BLAKE2b as hex digits.
    """
    files = sorted(paths, key=lambda path: path.name)
    whole = sum(path.stat().st_size for path in files) <= _WHOLE
    total = hashlib.blake2b(digest_size=32)
    for path in files:
        total.update(os.fsencode(path.name) + b"\0")
        with path.open("rb") as file:
            if whole:
                total.update(hashlib.file_digest(file, "blake2b").digest())
            else:
                status = os.fstat(file.fileno())
                total.update(f"{status.st_size} {status.st_mtime_ns}".encode())
                total.update(file.read(_ENDS))
                file.seek(max(status.st_size - _ENDS, 0))
                total.update(file.read(_ENDS))
    return total.hexdigest()


def processor_digest() -> str:
    """Tell this kind of processor by its feature flags, as far as the system says them."""
    words = [platform.machine(), platform.processor()]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    words += sorted(
        {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    )
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]


def _write(path: Path, dataset: Dataset) -> None:
    arrays: dict[str, np.ndarray] = {}
    for name in _PARTS:
        split: Split = getattr(dataset, name)
        arrays[f"{name}_images"], arrays[f"{name}_labels"] = split.inputs, split.labels
        arrays |= {f"{name}_factor_{factor}": x for factor, x in split.factors.items()}
    meta = {
        "name": dataset.name,
        "class_names": dataset.class_names,
        "provenance": dict(dataset.provenance),
        "files": [list(note) for note in dataset.files],
        "ids": {name: getattr(dataset, name).ids for name in _PARTS},
        "factors": {name: list(getattr(dataset, name).factors) for name in _PARTS},
    }
    # Names may hold bytes that are no UTF-8; ASCII escapes carry them through.
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _read(path: Path) -> Dataset | None:
    """Read an entry; None where there is none, or where it is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        meta = json.loads(arrays["meta"].tobytes())
        splits = {
            name: Split(
                arrays[f"{name}_images"],
                arrays[f"{name}_labels"],
                tuple(meta["ids"][name]),
                {factor: arrays[f"{name}_factor_{factor}"] for factor in meta["factors"][name]},
            )
            for name in _PARTS
        }
        return Dataset(
            name=meta["name"],
            train=splits["train"],
            valid=splits["valid"],
            test=splits["test"],
            class_names=tuple(meta["class_names"]),
            provenance=meta["provenance"],
            files=tuple(FileNote(*note) for note in meta["files"]),
        )
    except OSError:  # nothing there, or not for us to read; writing will tell
        return None
    # A damaged zip raises BadZipFile, zlib.error, struct.error, KeyError, ... : all mean "again".
    except Exception as error:
        _log.warning("the cached %s is damaged (%s) and is made again", path, type(error).__name__)
        return None


def _sweep(folder: Path) -> None:
    """Remove what killed processes left half-written more than a day ago."""
    for stale in folder.glob("*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - stale.stat().st_mtime > _DAY:
                stale.unlink()
