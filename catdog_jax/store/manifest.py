"""The manifest of a run: one JSON object, sealed by a digest of its own, read here only.

The store's own entries are `experiment` and `name` (of the run), `recipe` (all settings that decide
its numbers), `sessions` (when a process trained, with which libraries) and `results` (one record
for each `results.nc` written: how much it holds, and the SHA-256 of it and of every file of
weights). Experiments add others: command, parts, plans, inputs, data, machine, timings, ….
"""

import functools
import hashlib
import importlib.metadata
import json
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from catdog_jax.store.atomic import replacing
from catdog_jax.types import InputError

FILE = "manifest.json"
OWN = {"experiment": str, "name": str, "recipe": dict, "sessions": list, "results": list}
_FORMAT = 2  # of run folders; 1, of the first release, had no number
_LONGEST = 100
_SHOWN = 3
_LIBRARIES = ("catdog_jax", "jax", "jaxlib", "numpy", "flax", "optax", "xarray")


def read(folder: Path) -> dict[str, Any] | None:
    """Read the manifest of a run folder; None where there is none.

    Raises:
      InputError: the file is damaged or edited, or of another release.
    """
    file = folder / FILE
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(manifest, dict) and manifest.pop("format", 1) != _FORMAT:
            raise InputError(
                f"{file} was written by another release of catdog_jax; use that one, or choose "
                "another --name"
            )
        if manifest.pop("sha256") != _digest(manifest):
            raise ValueError("its digest differs")
        if wrong := [key for key, kind in OWN.items() if not isinstance(manifest.get(key), kind)]:
            raise ValueError(f"{wrong[0]} is wrong or missing")
    except FileNotFoundError:
        return None
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file} is damaged or was edited ({error}); restore it, or choose another --name"
        ) from error
    return manifest


def write(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Replace the manifest of a run folder, atomically.

    Args:
      folder: the run folder.
      manifest: plain JSON; see `plain`.
    """
    sealed = {"format": _FORMAT, "sha256": _digest(manifest), **manifest}
    with replacing(folder / FILE) as file:
        file.write(json.dumps(sealed, indent=1).encode("utf-8") + b"\n")


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
    readable = re.sub(r"[^A-Za-z0-9._=-]+", "-", stem).strip(".-")[: _LONGEST - 9]
    return f"{readable}-{digest}" if readable else digest


def check_name(name: str) -> None:
    """Raise if a name is no plain folder name.

    Raises:
      InputError: empty, over 100 characters, with a separator, a control character or a character
        that Windows refuses, or with a dot or a space at its start or end.
    """
    wrong = (
        not name
        or len(name) > _LONGEST
        or len(os.fsencode(name)) > 2 * _LONGEST
        or re.search(r'[/\\:*?"<>|\x00-\x1f\x7f]', name)
        or name != name.strip(" .")
    )
    if wrong:
        shown = name if len(name) <= _LONGEST else f"{name[:20]}…"
        raise InputError(
            f"--name={shown!r} cannot name a folder; use 1 to {_LONGEST} letters, digits, "
            "'-', '_', '=' or inner dots"
        )


def model_folder(label: str) -> str:
    """Turn a model's label within a run into a folder name that every file system takes."""
    readable = re.sub(r"[^A-Za-z0-9._=-]+", "_", label).lstrip(".")
    if readable and len(readable) <= 80:
        return readable
    return f"{readable[:71]}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def plain(value: Any) -> Any:
    """Turn settings into what JSON reads back unchanged.

    Raises:
      TypeError: something is no JSON, numpy array or path.
    """
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
    differences = [
        f"{key}={_show(made, key)}, not {_show(asked, key)}"
        for key in {**asked, **made}
        if _canonical(made.get(key, _UNSET)) != _canonical(asked.get(key, _UNSET))
        and not (key in growable and type(made.get(key)) is type(asked.get(key)) is int)
    ]
    if differences:
        more = len(differences) - _SHOWN
        tail = [f"{more} more setting{'s' if more > 1 else ''}"] if more > 0 else []
        raise InputError(
            f"run {name!r} was made with {' and '.join([*differences[:_SHOWN], *tail])}; "
            "choose another --name, or repeat its settings"
        )


def versions() -> dict[str, str]:
    """List the versions of the libraries that decide the bits of a run."""
    return {library: _version(library) for library in _LIBRARIES}


@functools.cache
def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:  # catdog_jax, in a checkout
        return "unknown"


_UNSET = ["unset"]


def _show(settings: Mapping[str, Any], key: str) -> str:
    if key not in settings:
        return "unset"
    value = settings[key]
    text = value if isinstance(value, str) and value.isprintable() and value else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _canonical(value: Any) -> str:
    """Write plain JSON as text that is equal where it is equal (NaN included)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


def _plain_leaf(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON: {value!r}")
