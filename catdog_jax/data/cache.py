"""Decoded and drawn arrays kept between runs, so that a picture is decoded or drawn once.

A data set is one file, named by a digest of the source's content and of every setting. It is
written beside its name and then moved there, so a reader sees all of it or nothing; of two
processes that write the same file the last one wins, with equal content. A damaged file is noticed
(the zip container carries checksums) and made again. No fault of the cache ever stops a run.
"""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from PIL import __version__ as pillow_version

from catdog_jax.types import Dataset, FileNote, Split

_log = logging.getLogger(__name__)
_VERSION = 3  # of the file's layout and of what decoding gives: raise it when either changes


def cache_dir() -> Path:
    """Return the folder of the cache: CATDOG_CACHE_DIR, or the user's cache folder.

    Without a home it is one that no system can make, and no cache is kept.
    """
    nowhere = Path(os.devnull, "no home folder")
    with contextlib.suppress(RuntimeError):  # without a home
        chosen = os.environ.get("CATDOG_CACHE_DIR") or platformdirs.user_cache_dir("catdog_jax")
        path = os.path.expanduser(chosen)
        return nowhere if path.startswith("~") else Path(path)
    return nowhere


def cached(key: Mapping[str, Any], build: Callable[[], Dataset]) -> Dataset:
    """Return the data set of `key` from the cache, or build it and keep it.

    Args:
      key: JSON-ready; decides the result: the source's digest and all settings.
      build: makes the data set.
    """
    text = json.dumps({**key, "version": _VERSION, "pillow": pillow_version}, sort_keys=True)
    path = cache_dir() / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.npz"
    if (found := _read(path)) is not None:
        return found
    dataset = build()
    try:
        _write(path, dataset)
    except OSError as error:
        _log.warning("going on without a cache: %s; set CATDOG_CACHE_DIR to another folder", error)
    return dataset


def _write(path: Path, dataset: Dataset) -> None:
    splits = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}
    meta = {key: getattr(dataset, key) for key in ("name", "class_names", "provenance", "files")}
    meta["ids"] = {part: split.ids for part, split in splits.items()}
    # Names may hold bytes that are no UTF-8; ASCII escapes carry them through.
    arrays: dict[str, Any] = {"meta": np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)}
    for part, split in splits.items():
        named = {"inputs": split.inputs, "labels": split.labels, **split.factors}
        arrays |= {f"{part}/{what}": values for what, values in named.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="unfinished-") as folder:
        np.savez(Path(folder, path.name), **arrays)
        os.replace(Path(folder, path.name), path)


def _read(path: Path) -> Dataset | None:
    """Read a data set; None where there is none, or where it is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
        meta = json.loads(arrays.pop("meta").tobytes())

        def split(part: str) -> Split:
            own = {key.split("/")[1]: arrays[key] for key in arrays if key.startswith(f"{part}/")}
            return Split(own.pop("inputs"), own.pop("labels"), tuple(meta["ids"][part]), own)

        train, valid, test = map(split, meta["ids"])
        names, files = tuple(meta["class_names"]), tuple(FileNote(*note) for note in meta["files"])
        return Dataset(meta["name"], train, valid, test, names, meta["provenance"], files)
    except (FileNotFoundError, NotADirectoryError):
        return None
    # A damaged zip raises BadZipFile, zlib.error, struct.error, KeyError, ... : all mean "again".
    except Exception as error:
        _log.warning("the cached %s is damaged (%s) and is made again", path, type(error).__name__)
        return None
