"""Taking a run folder: finding or creating it, and saying what is about to be done in it."""

import datetime
import itertools
import logging
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from catdog_jax.store import atomic, manifest
from catdog_jax.store.lock import FolderInUse, FolderLock
from catdog_jax.types import InputError

logger = logging.getLogger("catdog_jax.store")
LOCK = "lock"
WORKER_SECONDS = 30.0
VISIBLE_SECONDS = 30.0
_OWN = {LOCK, f".{manifest.FILE}.tmp"}  # what a kill before the first manifest leaves


def folder(root: Path, name: str, fresh: bool) -> Path:
    """Create the folder of a run, or find it.

    Args:
      root: the folder of the experiment; created if missing.
      name: name of the run.
      fresh: never take a folder that exists; add '-2', '-3', … to the name instead.

    Raises:
      InputError: the folder holds something that is no run.
      OSError: the folder cannot be created.
    """
    atomic.make_folder(root)
    if not fresh:
        path = root / name
        path.mkdir(exist_ok=True)
        if not (path / manifest.FILE).exists() and (others := set(os.listdir(path)) - _OWN):
            raise InputError(
                f"{path} is no run folder: it holds {min(others)!r} and no {manifest.FILE}; "
                "choose another --name"
            )
        return path
    for number in itertools.count(1):
        path = root / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
            break
        except FileExistsError:
            continue
    return path


def facts(
    path: Path,
    asked: dict[str, Any],
    growable: Collection[str],
    free: Collection[str],
    experiment: str,
) -> dict[str, Any]:
    """Read the manifest of a run that is to be continued, or write that of a new one.

    Args:
      path: the run folder, locked.
      asked: the plain recipe of now.
      growable, free: settings that may differ; see `RunFolder.open`.
      experiment: its name, for a new manifest.

    Raises:
      InputError: the recipe differs from the run's.
    """
    found = manifest.read(path)
    if found is None:
        found = {
            "experiment": experiment,
            "name": path.name,
            "recipe": asked,
            "results": [],
            "sessions": [],
        }
        manifest.write(path, found)
    else:
        manifest.check_recipe(path.name, found["recipe"], asked, growable, free)
        atomic.sweep(path)
    return found


def session(
    found: dict[str, Any], asked: dict[str, Any], growable: Collection[str]
) -> dict[str, Any]:
    """Say what a process that trains changes in the manifest: one more session, a larger recipe.

    Args:
      found: the manifest.
      asked: the plain recipe of now.
      growable: numbers of the recipe; the largest ever asked for stays in the manifest.
    """
    made, earlier = found["recipe"], found["sessions"]
    now_running = manifest.versions()
    if earlier and earlier[0]["versions"] != now_running:
        before = earlier[0]["versions"]
        changed = [k for k, v in now_running.items() if before.get(k) != v]
        logger.warning(
            "run %r was begun with %s and continues with %s: its bits may differ from those of an "
            "uninterrupted run",
            found["name"],
            ", ".join(f"{k} {before.get(k, 'unknown')}" for k in changed),
            ", ".join(f"{k} {now_running[k]}" for k in changed),
        )
    largest = {key: max(made[key], asked[key]) for key in growable if key in made}
    this = {"started": now(), "versions": now_running}
    return {"recipe": asked | largest, "sessions": [*earlier, this]}


def worker_lock(index: int) -> str:
    """Name the lock file of the process `index` of a run, beside that of the first one."""
    return f"{LOCK}-{index}"


def refuse_workers(path: Path) -> None:
    """Wait for the processes of a run whose first one is gone: they may still write waves.

    Raises:
      FolderInUse: one does not end within WORKER_SECONDS.
    """
    end = time.monotonic() + WORKER_SECONDS
    for place in sorted(path.glob(f"{LOCK}-*")):
        while True:
            try:
                FolderLock(place).release()
                break
            except FolderInUse:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)


def awaited_session(path: Path, session: Mapping[str, Any]) -> bool:
    """Return whether a folder is the one whose manifest has this last session; NFS may be late."""
    end = time.monotonic() + VISIBLE_SECONDS
    while True:
        try:
            found = manifest.read(path)
        except (OSError, InputError):
            found = None
        if found and found.get("sessions") and found["sessions"][-1] == session:
            return True
        if time.monotonic() > end:
            return False
        time.sleep(0.2)


def now() -> str:
    """Write the time, in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
