"""The folder of a benchmark: always a new one, and its JSON, whole after every cell."""

import json
import math
from pathlib import Path
from typing import Any

from catdog_jax.store import atomic, manifest
from catdog_jax.store import folder as run_folder
from catdog_jax.types import InputError

FILE = "throughput.json"


def new_folder(out_dir: str, name: str) -> Path:
    """Create a folder that was not there: NAME, or NAME-2, NAME-3, ….

    Raises:
      InputError: the name is no folder's, or `out_dir` cannot be written.
    """
    manifest.check_name(name)
    root = Path(out_dir).expanduser() / "throughput"
    try:
        return run_folder.make_folder(root, name, fresh=True)
    except OSError as error:
        raise InputError(
            f"cannot write to {root / name}: {error.strerror or error}; choose another --out_dir"
        ) from error


def write(folder: Path, result: dict[str, Any]) -> None:
    """Put the results so far in the place of those before; nan becomes null, inf 'inf'."""
    text = json.dumps(_plain(result), indent=1, ensure_ascii=False, allow_nan=False)
    with atomic.writing("the results", folder), atomic.replacing(folder / FILE) as file:
        file.write((text + "\n").encode())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
