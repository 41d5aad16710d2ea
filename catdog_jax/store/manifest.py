"""The manifest of a run: one JSON object, sealed by a digest of its own, read here only.

The store's own entries are `experiment` and `name` (of the run), `recipe` (all settings that decide
its numbers), `sessions` (when a process trained, with which libraries) and `results` (one record
for each `results.nc` written: its recipe, and the SHA-256 of it and of every file in waves/).
Experiments add others: command, parts, plans, inputs, data, machine, timings, ….
"""

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from catdog_jax.store import atomic
from catdog_jax.types import InputError

logger = logging.getLogger("catdog_jax.store")
FILE = "manifest.json"
RESULTS = "results.nc"
WAVES = "waves"
_FORMAT = 3  # of run folders; in 2 files did not say where they lie, 1 had no number
_ENTRIES = {"experiment": str, "name": str, "recipe": dict, "sessions": list, "results": list}
_LIBRARIES = ("catdog_jax", "jax", "jaxlib", "numpy", "flax", "optax", "xarray")


def read(folder: Path) -> dict[str, Any] | None:
    """Read the manifest of a run folder; None where there is none.

    Raises:
      InputError: the file is damaged or edited, or of another release.
    """
    file = folder / FILE
    try:
        manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        intact = manifest.pop("format") == _FORMAT and manifest.pop("sha256") == _digest(manifest)
        intact = intact and all(isinstance(manifest[key], kind) for key, kind in _ENTRIES.items())
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        intact = False
    if not intact:
        raise InputError(
            f"{file} is damaged, was edited, or is of another release of catdog_jax; restore it, "
            "use that release, or choose another --name"
        )
    return manifest


def write(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Replace the manifest of a run folder, atomically.

    Args:
      folder: the run folder.
      manifest: plain JSON; see `plain`.
    """
    sealed = {"format": _FORMAT, "sha256": _digest(manifest), **manifest}
    with atomic.replacing(folder / FILE) as file:
        file.write(json.dumps(sealed, indent=1).encode("utf-8") + b"\n")


def intact_record(folder: Path, found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Find the manifest's record of the `results.nc` that is there; None if missing or damaged."""
    digest = atomic.digest(folder / RESULTS)
    for record in found["results"]:
        if record["files"][RESULTS] == digest:
            return dict(record)
    if digest is not None:
        logger.warning("%s is damaged (its digest differs)", folder / RESULTS)
    return None


def run_name(stem: str, recipe: Mapping[str, Any], ignore: Collection[str] = ()) -> str:
    """Name a run after its recipe: a readable stem and a short hash.

    Args:
      stem: readable; characters that a file system may refuse become '-'.
      recipe: JSON-ready settings.
      ignore: settings that do not change the name.

    Returns:
      '<stem>-<8 hex digits>', the same for equal recipes.
    """
    kept = {key: value for key, value in recipe.items() if key not in ignore}
    digest = _digest(plain(kept))[:8]
    readable = re.sub(r"[^A-Za-z0-9._=-]+", "-", stem).strip(".-")[:91]
    return f"{readable}-{digest}" if readable else digest


def check_name(name: str) -> None:
    """Raise if a name is no plain folder name.

    Raises:
      InputError: empty, over 100 characters, with a separator, a control character or a character
        that Windows refuses, or with a dot or a space at its start or end.
    """
    allowed = r'[^/\\:*?"<>|\x00-\x1f\x7f]{1,100}'
    if not re.fullmatch(allowed, name) or name != name.strip(" ."):
        raise InputError(
            f"--name={name[:100]!r} cannot name a folder; use 1 to 100 letters, "
            "digits, '-', '_', '=' or inner dots"
        )


def model_folder(label: str) -> str:
    """Turn a model's label within a run into a folder name that every file system takes."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", label).lstrip(".")[:80]


def plain(value: Any) -> Any:
    """Turn settings into what JSON reads back unchanged: numpy into numbers, paths into text."""
    return json.loads(json.dumps(value, default=_plain_leaf))


def check_recipe(
    name: str, made: Mapping[str, Any], asked: Mapping[str, Any], growable: Collection[str]
) -> None:
    """Raise if a run would be continued with other settings.

    Args:
      name: of the run.
      made: the plain recipe in its manifest.
      asked: the plain recipe of now.
      growable: integers that may differ.

    Raises:
      InputError: they differ; the message names up to three differences.
    """
    different = []
    for key in {**asked, **made}:
        was, wanted = (_canonical(r[key]) if key in r else "unset" for r in (made, asked))
        if was != wanted and key not in growable:
            different.append(f"{key}={was:.60}, not {wanted:.60}")
    if different:
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""
        raise InputError(
            f"run {name!r} was made with {' and '.join(different[:3])}{more}; choose another "
            "--name, or repeat its settings"
        )


def versions() -> dict[str, str]:
    """List the versions of the libraries, and the flags of XLA, that decide the bits of a run."""
    found = dict.fromkeys(_LIBRARIES, "unknown")
    for library in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[library] = importlib.metadata.version(library)
    flags = os.environ.get("XLA_FLAGS", "").split()
    flags = sorted(x for x in flags if "device_count" not in x and "dump" not in x)
    return found | {"XLA_FLAGS": " ".join(flags) or "none"}


def _canonical(value: Any) -> str:
    """Write plain JSON as text that is equal where it is equal (NaN included)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


def _plain_leaf(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)
