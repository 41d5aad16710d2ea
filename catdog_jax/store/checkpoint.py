"""The last two checkpoints of a wave in training, by Orbax, each verified when it is read.

A checkpoint is a folder named by its step: `arrays/` is Orbax's, `index.json` the digests of its
files and leaves. It is filled under a temporary name and renamed when all of it is on the disk.
"""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catdog_jax.store import atomic, leaves

logger = logging.getLogger("catdog_jax.store")
KEPT = 2


def save(folder: Path, step: int, tree: Any) -> None:
    """Write a checkpoint and remove all but the last two.

    Args:
      folder: the wave's checkpoints.
      step: training steps done, ≥ 0.
      tree: a pytree of numpy arrays; random keys as their key data.
    """
    found = leaves.flatten(tree)
    place, temporary = folder / str(step), folder / f".saving-{step}.tmp"
    atomic.remove_folder(temporary)
    try:
        atomic.make_folder(temporary)
        arrays = {_name(i, path): array for i, (path, array) in enumerate(found) if array.size}
        if arrays:
            with _checkpointer() as checkpointer:
                checkpointer.save((temporary / "arrays").absolute(), arrays)
        index = {
            "step": step,
            "files": _file_digests(temporary),
            "leaves": [leaves.describe(path, array) for path, array in found],
        }
        sealed = json.dumps({"sha256": _seal(index), "index": index}, indent=1)
        (temporary / "index.json").write_text(sealed, encoding="utf-8")
        for part in sorted(temporary.rglob("*"), reverse=True):
            atomic.sync(part)
        atomic.sync(temporary)
        atomic.remove_folder(place)
        os.replace(temporary, place)
    except BaseException:
        atomic.remove_folder(temporary)
        raise
    atomic.sync(folder)
    for old in steps(folder)[:-KEPT]:
        atomic.remove_folder(folder / str(old))


def load(folder: Path, like: Any) -> tuple[int, Any] | None:
    """Read the newest checkpoint that is whole; name and set aside those that are not.

    Args:
      folder: the wave's checkpoints.
      like: a pytree of the structure, shapes and dtypes that were saved.

    Returns:
      (step, pytree of numpy arrays), or None where there is no usable checkpoint.

    Raises:
      StoreError: a whole checkpoint has another structure, shape or dtype than `like`.
    """
    present = steps(folder)
    for step in reversed(present):
        place = folder / str(step)
        try:
            found = _read(place, step)
        except MemoryError:
            raise
        except Exception as error:  # a damaged file can make Orbax raise anything
            logger.warning(
                "checkpoint %s is damaged (%s); trying the one before", place, leaves.reason(error)
            )
            # Out of the way, or it would count as one of the last two.
            aside = folder / f"damaged-{step}"
            atomic.remove_folder(aside)
            os.replace(place, aside)
            continue
        return step, leaves.restructured(found, like, f"checkpoint {place}", shapes=True)
    if present:
        logger.warning("no usable checkpoint in %s: this wave starts again", folder)
    return None


def steps(folder: Path) -> list[int]:
    """List the steps of the checkpoints in a wave's folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(int(place.name) for place in folder.iterdir() if place.name.isdecimal())


def _read(place: Path, step: int) -> list[tuple[leaves.LeafPath, Any]]:
    sealed = json.loads((place / "index.json").read_text(encoding="utf-8"))
    index = sealed["index"]
    if sealed["sha256"] != _seal(index) or index["step"] != step:
        raise leaves.Damaged("the digest of index.json differs")
    # Orbax meets a damaged file with stray errors from its own threads: look before it does.
    there = _file_digests(place)
    for name, digest in index["files"].items():
        if there.get(name) != digest:
            raise leaves.Damaged(f"{name} {'has changed' if name in there else 'is missing'}")
    arrays: dict[str, Any] = {}
    if any(0 not in record["shape"] for record in index["leaves"]):
        with _checkpointer() as checkpointer:
            arrays = checkpointer.restore((place / "arrays").absolute())
    return [
        leaves.verified(arrays.get(_name(i, record["path"])), record)
        for i, record in enumerate(index["leaves"])
    ]


def _file_digests(place: Path) -> dict[str, str]:
    digests = {}
    for path in sorted((place / "arrays").rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            digests[path.relative_to(place).as_posix()] = digest
    return digests


def _seal(index: Any) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def _name(position: int, path: leaves.LeafPath | list[str]) -> str:
    # The position keeps apart {'a.b': …} and {'a': {'b': …}}.
    return f"{position:05d} {'.'.join(path)}"


@contextlib.contextmanager
def _checkpointer() -> Iterator[Any]:
    """Open Orbax for this process alone: the holder of the lock writes, no other one waits."""
    import jax
    import orbax.checkpoint as ocp  # half a second that reading a finished run need not pay

    here = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=here, active_processes={here}, barrier_sync_key_prefix=f"catdog_jax_{here}"
    )
    absl = logging.getLogger("absl")
    absl.addFilter(_not_from_orbax)
    try:
        handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
        with ocp.Checkpointer(handler, multiprocessing_options=alone) as checkpointer:
            yield checkpointer
    finally:
        absl.removeFilter(_not_from_orbax)


def _not_from_orbax(record: logging.LogRecord) -> bool:
    # Orbax logs each step of its own, and tracebacks of errors that it also raises.
    return "orbax" not in record.pathname
