"""The run folder of a process that trains: opened under a lock, continued, never overwritten."""

import contextlib
import csv
import hashlib
import io
import os
import shlex
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from catdog_jax import interrupt
from catdog_jax.store import arrays, atomic, manifest
from catdog_jax.store.atomic import StoreError, hold, writing
from catdog_jax.store.manifest import RESULTS, WAVES, logger
from catdog_jax.types import FileNote, InputError

if TYPE_CHECKING:
    import xarray as xr

KEPT = 2  # checkpoints of a wave
LOCK = "lock"
VISIBLE_SECONDS = 30.0  # for a network file system to show what another process has written


class RunFolder(contextlib.AbstractContextManager["RunFolder"]):
    """One run on the disk, open for a process that trains; a context manager.

    Any process of a run may write any of its waves, also from checkpoints that another one left.
    `model` is below what a model is called in the folder, for instance '00_mlp'.

    Attributes:
      path: the folder, `<out_dir>/<experiment>/<name>`.
      manifest: what `manifest.json` holds; in a process that has joined what it adds, in memory.
      recipe: what is to be done: the recipe as asked, its growable numbers not below those of the
        results that exist.
      finished: whether the results hold as much as was asked, so that nothing is left to train.
    """

    def __init__(self, path: Path, lock: BinaryIO | None, *, joined: bool = False) -> None:
        """Use `open_or_create` or `join` instead."""
        self.path = path
        self.manifest: dict[str, Any] = {}
        self.recipe: dict[str, Any] = {}
        self.finished = False
        self._lock = lock
        self._joined = joined

    @classmethod
    def open_or_create(
        cls,
        root: Path,
        name: str,
        recipe: Mapping[str, Any],
        *,
        growable: Collection[str] = ("num_members",),
        fresh: bool = False,
    ) -> "RunFolder":
        """Start a run, or continue the one of that name.

        Args:
          root: the folder of the experiment, `<out_dir>/<experiment>`; created if missing.
          name: name of the run.
          recipe: JSON-ready settings that decide the bits of the results.
          growable: integers of the recipe that may be larger or smaller than before.
          fresh: leave what exists alone and start `name-2`, `name-3`, … beside it.

        Raises:
          InputError: the name is no folder name, the recipe differs from the run's, the folder
            holds something else, or `root` cannot be written.
          StoreError: another process holds the run, or the disk is full.
        """
        manifest.check_name(name)
        asked = manifest.plain(dict(recipe))
        with contextlib.ExitStack() as undo:
            try:
                path = make_folder(root, name, fresh)
                folder = cls(path, hold(path / LOCK))
                undo.callback(folder.close)
                # Processes of a run whose first one is gone may still write waves.
                for place in path.glob(f"{LOCK}-*"):
                    hold(place).close()
                folder._begin(asked, growable)
            except OSError as error:
                if not fresh and (done := cls._readable(root / name, asked, growable)):
                    return done
                raise InputError(
                    f"cannot write to {root / name} ({error}); choose another --out_dir"
                ) from error
            undo.pop_all()
        return folder

    @classmethod
    def join(cls, path: Path, index: int, session: Mapping[str, Any]) -> "RunFolder":
        """Open the folder that the first process of a run holds, to train waves of the run.

        The lock of this process keeps another run from beginning while it may still write.

        Args:
          path: the run folder.
          index: number of this process, from 1.
          session: the last of the manifest's `sessions`, as the first process sees it.

        Raises:
          InputError: there is no such folder here, or it is another one.
          StoreError: a process of the same number holds it.
        """

        def is_here() -> bool:
            found = manifest.read(path)
            return found is not None and found["sessions"][-1] == session

        if not _appears(is_here, path):
            raise InputError(f"{path} is not here as process 0 sees it; give all one --out_dir")
        return cls(path, hold(path / f"{LOCK}-{index}"), joined=True)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others use the run."""
        if self._lock:
            self._lock.close()

    @classmethod
    def _readable(
        cls, path: Path, asked: dict[str, Any], growable: Collection[str]
    ) -> "RunFolder | None":
        """Open a finished run that may only be read; None where it is none, or not finished."""
        folder = cls(path, None)
        with contextlib.suppress(OSError):
            folder._begin(asked, growable, read_only=True)
        return folder if folder.finished else None

    def update_manifest(self, **entries: Any) -> None:
        """Set top-level entries of the manifest, atomically.

        Args:
          entries: JSON-ready values.

        Raises:
          StoreError: the disk is full, or refuses the write.
        """
        updated = self.manifest | manifest.plain(entries)
        if not self._joined:
            with writing(manifest.FILE, self.path):
                manifest.write(self.path, updated)
        self.manifest = updated

    def save_checkpoint(self, model: str, wave: int, step: int, tree: Any) -> None:
        """Save the state of a wave in training; the last two are kept.

        Args:
          model: its name in this folder.
          wave: number of the wave, from 0.
          step: training steps done, ≥ 0.
          tree: a pytree of numpy arrays; random keys as their key data.

        Raises:
          StoreError: the disk is full, or refuses the write.
        """
        place = self._checkpoints(model, wave)
        with writing(f"the checkpoint of {model} at step {step}", self.path):
            arrays.write(place / f"{step}.npz", tree)
            for old in _steps(place)[:-KEPT]:
                (place / f"{old}.npz").unlink(missing_ok=True)

    def load_checkpoint(self, model: str, wave: int, like: Any) -> tuple[int, Any] | None:
        """Load the last usable checkpoint of a wave; remove damaged ones, with a warning.

        Args:
          model: its name in this folder.
          wave: number of the wave, from 0.
          like: a pytree of the structure that was saved.

        Returns:
          (step, pytree of numpy arrays), or None where the wave has to start anew.

        Raises:
          StoreError: a whole checkpoint has another structure than `like`.
        """
        place = self._checkpoints(model, wave)
        for step in reversed(_steps(place)):
            file = place / f"{step}.npz"
            try:
                return step, arrays.restructured(arrays.read(file), like, file)
            except arrays.Damaged as error:
                logger.warning("%s; trying the one before", error)
                file.unlink(missing_ok=True)  # or it would count as one of those kept
        return None

    def save_wave(
        self, model: str, wave: int, observed: Mapping[str, np.ndarray], params: Any
    ) -> None:
        """Keep a finished wave, then remove its checkpoints.

        Args:
          model: its name in this folder.
          wave: number of the wave, from 0.
          observed: arrays by name; axis of members first where it has one.
          params: the final params, a pytree of arrays [M, ...].

        Raises:
          StoreError: the disk is full, or refuses the write.
        """
        with writing(f"wave {wave} of {model}", self.path):
            tree = {"observed": dict(observed), "params": params}
            arrays.write(self._wave(model, wave), tree)
            shutil.rmtree(self._checkpoints(model, wave), ignore_errors=True)

    def has_wave(self, model: str, wave: int) -> bool:
        """Return whether a wave is there, whole or damaged."""
        return self._wave(model, wave).exists()

    def load_wave(self, model: str, wave: int) -> dict[str, Any] | None:
        """Load a finished wave; a damaged file is named in a warning.

        Returns:
          What was given to `save_wave` as 'observed' and 'params', both nested dicts of arrays, or
          None where the wave has to be trained: not finished, or damaged.
        """
        file = self._wave(model, wave)
        try:
            return arrays.read(file)
        except arrays.Damaged as error:
            if file.exists():
                logger.warning("%s; this wave is trained again", error)
            return None

    def await_wave(self, model: str, wave: int) -> dict[str, Any]:
        """Load a wave that a process of this run has finished; NFS may show it late.

        Returns:
          See `load_wave`.

        Raises:
          StoreError: it does not come within VISIBLE_SECONDS, or is damaged.
        """
        file = self._wave(model, wave)
        found = self.load_wave(model, wave) if _appears(file.exists, file.parent) else None
        if found is None:
            raise StoreError(f"{file} is missing or damaged; rerun the same command to resume")
        return found

    def write_results(self, dataset: "xr.Dataset") -> None:
        """Write `results.nc`, last of all, and remove the checkpoints.

        Args:
          dataset: the results; no clock, rate or memory figure, so that a continued run gives
            the same bytes.

        Raises:
          StoreError: the disk is full, or refuses the write.
        """
        with writing(RESULTS, self.path):
            # In memory first: HDF5 meets a full disk only when it closes the file, and not well.
            content = dataset.to_netcdf(engine="h5netcdf")
            waves = sorted((self.path / WAVES).glob("*/*.npz"))
            files = {p.relative_to(self.path).as_posix(): atomic.digest(p) for p in waves}
            files[RESULTS] = hashlib.sha256(content).hexdigest()
            record = {"recipe": self.recipe, "files": files}
            # The record comes first: the file counts the moment it is there, and while it is not,
            # the record of the results before it still holds.
            others = [r for r in self.manifest["results"] if r["files"][RESULTS] != files[RESULTS]]
            self.update_manifest(results=[*others, record])
            # Waves are kept by now, and no checkpoint is of use; the results come last.
            shutil.rmtree(self.path / "checkpoints", ignore_errors=True)
            with atomic.replacing(self.path / RESULTS) as file:
                file.write(content)
            self.finished = True

    def write_files(self, notes: Sequence[FileNote]) -> None:
        """Write `files.csv`: one row for each file of the data that was not used as it is.

        Args:
          notes: path, action and reason of each.

        Raises:
          StoreError: the disk is full, or refuses the write.
        """
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([FileNote._fields, *notes])
        with writing("files.csv", self.path), atomic.replacing(self.path / "files.csv") as file:
            file.write(text.getvalue().encode("utf-8", "backslashreplace"))

    def write_flags(self, command: str) -> None:
        """Write the flags of the command that makes the run, as `--flagfile` reads them.

        Raises:
          StoreError: the disk is full, or refuses the write.
        """
        text = "".join(f"{word}\n" for word in shlex.split(command)[3:])
        with writing("flags.txt", self.path), atomic.replacing(self.path / "flags.txt") as file:
            file.write(text.encode())

    def _begin(
        self, asked: dict[str, Any], growable: Collection[str], read_only: bool = False
    ) -> None:
        """Compare the recipe of now with the run's; where something is to be trained, say so."""
        new = {"experiment": self.path.parent.name, "name": self.path.name, "recipe": asked}
        found = manifest.read(self.path) or {**new, "sessions": [], "results": []}
        manifest.check_recipe(self.path.name, found["recipe"], asked, growable)
        for leftover in () if read_only else self.path.rglob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        self.manifest, self.recipe = found, dict(asked)
        record = manifest.intact_record(self.path, found)
        if record is not None:
            made = record["recipe"]
            most = {key: max(asked[key], made[key]) for key in growable if key in asked}
            files = [
                self.path / x
                for x, digest in record["files"].items()
                if atomic.digest(self.path / x) != digest
            ]
            for file in files:
                logger.warning("%s is missing or damaged; what it held is computed again", file)
                if not read_only:
                    file.unlink(missing_ok=True)
            self.finished = not files and all(made[key] == x for key, x in most.items())
            self.recipe |= most
        if not (self.finished or read_only):
            sessions, versions = found["sessions"], manifest.versions()
            begun = sessions[0]["versions"] if sessions else versions
            other = [f"{k} {v}" for k, v in begun.items() if v != versions.get(k)]
            if other:
                words = "run %r was begun with %s: from here on its bits may differ"
                logger.warning(words, self.path.name, " and ".join(other))
            now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
            session = {"started": now, "versions": versions}
            self.update_manifest(recipe=self.recipe, sessions=[*sessions, session])

    def _checkpoints(self, model: str, wave: int) -> Path:
        return self.path / "checkpoints" / manifest.model_folder(model) / f"wave_{wave:05d}"

    def _wave(self, model: str, wave: int) -> Path:
        return self.path / WAVES / manifest.model_folder(model) / f"wave_{wave:05d}.npz"


def make_folder(root: Path, name: str, fresh: bool) -> Path:
    """Create the folder of a run, or find it.

    Args:
      root: the folder of the experiment; created if missing.
      name: name of the run.
      fresh: never take a folder that exists; add '-2', '-3', … to the name instead.

    Raises:
      InputError: the folder holds something that is no run.
      OSError: the folder cannot be created.
    """
    root.mkdir(parents=True, exist_ok=True)
    path, number = root / name, 2
    while fresh and path.exists():
        path, number = root / f"{name}-{number}", number + 1
    path.mkdir(exist_ok=not fresh)
    # A kill before the first manifest leaves no more than the lock and a part of the manifest.
    others = [p.name for p in path.iterdir() if not p.name.startswith((LOCK, ".manifest.json."))]
    if others and not (path / manifest.FILE).exists():
        raise InputError(
            f"{path} is no run folder: it holds {min(others)!r} and no {manifest.FILE}; "
            "choose another --name"
        )
    return path


def _appears(is_here: Callable[[], bool], folder: Path) -> bool:
    """Return whether something comes within VISIBLE_SECONDS."""
    end = time.monotonic() + VISIBLE_SECONDS
    while True:
        with contextlib.suppress(OSError):
            os.listdir(folder)  # has NFS look again
            if is_here():
                return True
        if time.monotonic() > end:
            return False
        interrupt.check()
        time.sleep(0.2)


def _steps(place: Path) -> list[int]:
    return sorted(int(file.stem) for file in place.glob("[0-9]*.npz"))
