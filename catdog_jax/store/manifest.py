"""What a run is: its recipe as plain JSON, its name, and what makes two recipes differ."""

import functools
import hashlib
import importlib.metadata
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from catdog_jax.store import atomic
from catdog_jax.types import InputError

FILE = "manifest.json"
_LONGEST = 100
_SHOWN = 3
_LIBRARIES = ("catdog_jax", "jax", "jaxlib", "numpy", "flax", "optax", "orbax-checkpoint", "xarray")


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
    digest = hashlib.sha256(canonical(plain(kept)).encode()).hexdigest()[:8]
    readable = re.sub(r"[^A-Za-z0-9._=-]+", "-", stem).strip(".-")[: _LONGEST - 9]
    return f"{readable}-{digest}" if readable else digest


def check_name(name: str) -> None:
    """Refuse a name that is no plain folder name.

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


def part_folder(part: str) -> str:
    """Turn the name of a model's part into a folder name that every file system takes."""
    readable = re.sub(r"[^A-Za-z0-9._=-]+", "_", part).lstrip(".")
    if readable and len(readable) <= 80:
        return readable
    return f"{readable[:71]}-{hashlib.sha256(part.encode()).hexdigest()[:8]}"


def plain(value: Any) -> Any:
    """Turn settings and facts into what JSON reads back unchanged."""
    return json.loads(json.dumps(value, default=_plain_leaf))


def canonical(value: Any) -> str:
    """Write plain settings as text that is equal where they are equal (NaN included)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def read(folder: Path) -> dict[str, Any] | None:
    """Read the manifest of a run folder; None where there is none.

    Raises:
      InputError: the file is damaged.
    """
    try:
        manifest = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if not isinstance(manifest["recipe"], dict) or not isinstance(manifest["results"], list):
            raise TypeError("a part has another type")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / FILE} is damaged ({error}); restore it, or choose another --name"
        ) from error
    return manifest


def write(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Replace the manifest of a run folder, atomically."""
    with atomic.replacing(folder / FILE) as file:
        file.write(json.dumps(manifest, indent=1).encode("utf-8") + b"\n")


def check_recipe(
    name: str,
    made: Mapping[str, Any],
    asked: Mapping[str, Any],
    growable: Collection[str],
    free: Collection[str],
) -> None:
    """Refuse to continue a run with other settings.

    Args:
      name: of the run.
      made: the plain recipe in its manifest.
      asked: the plain recipe of now.
      growable: numbers that may differ.
      free: settings that may differ.

    Raises:
      InputError: they differ; the message names up to three differences.
    """
    old, new = dict(_settings(made)), dict(_settings(asked))
    differences = [
        f"{key}={_show(old, key)}, not {_show(new, key)}"
        for key in [*new, *(key for key in old if key not in new)]
        if key not in free
        and canonical(old.get(key, _UNSET)) != canonical(new.get(key, _UNSET))
        and not (key in growable and _is_number(old.get(key)) and _is_number(new.get(key)))
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
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


_UNSET = ["unset"]


def _settings(recipe: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in recipe.items():
        if isinstance(value, dict) and value:
            yield from _settings(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _show(settings: Mapping[str, Any], key: str) -> str:
    if key not in settings:
        return "unset"
    value = settings[key]
    plain_text = isinstance(value, str) and value.isprintable() and value
    text = value if plain_text else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain_leaf(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON: {value!r}")
