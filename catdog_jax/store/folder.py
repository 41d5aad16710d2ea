"""The run folder of a process that trains: opened under a lock, continued, never overwritten."""

import contextlib
import csv
import datetime
import hashlib
import io
import itertools
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np

from catdog_jax.store import arrays, atomic, manifest
from catdog_jax.store.atomic import StoreError, writing
from catdog_jax.store.lock import FolderInUse, hold
from catdog_jax.store.results import RESULTS, WAVES, intact_record
from catdog_jax.types import FileNote, InputError

if TYPE_CHECKING:
    import xarray as xr

logger = logging.getLogger("catdog_jax.store")
KEPT = 2  # checkpoints of a wave
LOCK = "lock"
WORKER_SECONDS = 30.0  # for the other processes of a run to end after its first one
VISIBLE_SECONDS = 30.0  # for a network file system to show what another process has written


class RunFolder:
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

    def __init__(self, path: Path, lock: BinaryIO, *, joined: bool = False) -> None:
        """Use `open_or_create` or `join` instead."""
        self.path = path
        self.manifest: dict[str, Any] = {}
        self.recipe: dict[str, Any] = {}
        self.finished = False
        self._lock = lock
        self._joined = joined
        self._growable: list[str] = []

    @classmethod
    def open_or_create(
        cls,
        out_dir: str | os.PathLike[str],
        experiment: str,
        name: str,
        recipe: Mapping[str, Any],
        *,
        growable: Collection[str] = ("num_members",),
        fresh: bool = False,
    ) -> Self:
        """Start a run, or continue the one of that name.

        Args:
          out_dir: where runs are kept; created if missing.
          experiment: name of the experiment.
          name: name of the run.
          recipe: JSON-ready settings that decide the bits of the results.
          growable: integers of the recipe that may be larger or smaller than before.
          fresh: leave what exists alone and start `name-2`, `name-3`, … beside it.

        Raises:
          InputError: the name is no folder name, the recipe differs from the run's, the folder
            holds something else, or `out_dir` cannot be written.
          FolderInUse: another process holds the run.
          StoreError: the disk is full.
        """
        manifest.check_name(name)
        asked = manifest.plain(dict(recipe))
        root = Path(out_dir).expanduser() / experiment
        with contextlib.ExitStack() as undo:
            try:
                path = make_folder(root, name, fresh)
                folder = cls(path, hold(path / LOCK))
                undo.callback(folder.close)
                _await_workers(path)
                folder._begin(experiment, asked, growable)
            except OSError as error:
                if atomic.is_disk_full(error):
                    with writing("the run folder", root / name):
                        raise
                blocked = isinstance(error, FileExistsError | NotADirectoryError)
                why = f"{error.filename} is a file" if blocked else error.strerror or error
                raise InputError(
                    f"cannot write to {root / name}: {why}; choose another --out_dir"
                ) from error
            undo.pop_all()
        return folder

    @classmethod
    def join(cls, path: Path, index: int, session: Mapping[str, Any]) -> Self:
        """Open the folder that the first process of a run holds, to train waves of the run.

        The lock of this process keeps another run from beginning while it may still write.

        Args:
          path: the run folder.
          index: number of this process, from 1.
          session: the last of the manifest's `sessions`, as the first process sees it.

        Raises:
          InputError: there is no such folder here, or it is another one.
          FolderInUse: a process of the same number holds it.
        """

        def is_here() -> bool:
            with contextlib.suppress(OSError, InputError):
                found = manifest.read(path)
                return found is not None and found["sessions"][-1:] == [session]
            return False

        if not _appears(is_here, path):
            raise InputError(
                f"{path} is not here as process 0 sees it; give an --out_dir that all processes "
                "share"
            )
        return cls(path, hold(path / f"{LOCK}-{index}"), joined=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others use the run."""
        self._lock.close()

    def update_manifest(self, **entries: Any) -> None:
        """Set top-level entries of the manifest, atomically.

        Args:
          entries: JSON-ready values; `recipe` and `results` are the store's own.

        Raises:
          StoreError: the disk is full, or refuses the write.
        """
        if not entries.keys().isdisjoint({"recipe", "results"}):
            raise ValueError("the manifest's recipe and results are set by the store")
        self._set(**entries)

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
        """Load the last usable checkpoint of a wave; set damaged ones aside, with a warning.

        Args:
          model: its name in this folder.
          wave: number of the wave, from 0.
          like: a pytree of the structure, shapes and dtypes that were saved.

        Returns:
          (step, pytree of numpy arrays), or None where the wave has to start anew.

        Raises:
          StoreError: a whole checkpoint has another structure than `like`.
        """
        place = self._checkpoints(model, wave)
        present = _steps(place)
        for step in reversed(present):
            file = place / f"{step}.npz"
            try:
                found = arrays.read(file)
            except arrays.Damaged as error:
                logger.warning("%s is damaged (%s); trying the one before", file, error)
                with writing(f"beside the checkpoints of {model}", self.path):
                    os.replace(file, place / f"damaged-{step}.npz")  # or it would count as one kept
                continue
            return step, arrays.restructured(found, like, str(file), shapes=True)
        if present:
            logger.warning("no usable checkpoint in %s: this wave starts again", place)
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

    def load_wave(self, model: str, wave: int) -> dict[str, np.ndarray] | None:
        """Load what a finished wave observed; a damaged file is named in a warning.

        Returns:
          The arrays given to `save_wave`, or None where the wave has to be trained: not finished,
          or damaged.
        """
        file = self._wave(model, wave)
        if not file.exists():
            return None
        try:
            found = arrays.read(file)  # all of it: its params have to be whole too
        except arrays.Damaged as error:
            logger.warning("%s is damaged (%s); this wave is trained again", file, error)
            return None
        return {
            name.removeprefix("observed/"): array
            for name, array in found.items()
            if name.startswith("observed/")
        }

    def await_wave(self, model: str, wave: int) -> dict[str, np.ndarray]:
        """Load what a wave observed that a process of this run has finished; NFS may show it late.

        Returns:
          The arrays given to `save_wave`.

        Raises:
          StoreError: it does not come within VISIBLE_SECONDS, or is damaged.
        """
        file = self._wave(model, wave)
        found = self.load_wave(model, wave) if _appears(file.exists, file.parent) else None
        if found is None:
            raise StoreError(
                f"wave {wave} of {model} is missing or damaged in {self.path}; rerun the same "
                "command to train it anew"
            )
        return found

    def load_params(self, model: str, wave: int, like: Any) -> Any:
        """Load the final params of a finished wave.

        Args:
          model: its name in this folder.
          wave: number of the wave, from 0.
          like: a pytree of the wanted structure; shapes are free.

        Returns:
          A pytree of numpy arrays [M, ...].

        Raises:
          StoreError: the file is missing or damaged, or has another structure than `like`.
        """
        file = self._wave(model, wave)
        try:
            found = arrays.read(file, "params")
        except arrays.Damaged as error:
            raise StoreError(f"{file} is damaged ({error}); rerun the same command") from error
        return arrays.restructured(found, like, str(file), shapes=False)

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
            files = {RESULTS: hashlib.sha256(content).hexdigest()}
            for file in sorted((self.path / WAVES).glob("*/*.npz")):
                files[file.relative_to(self.path).as_posix()] = atomic.digest(file)
            record = {key: self.recipe[key] for key in self._growable}
            record |= {"files": files, "written": _now()}
            # The record comes first: the file counts the moment it is there, and while it is not,
            # the record of the results before it still holds.
            others = [r for r in self.manifest["results"] if r["files"][RESULTS] != files[RESULTS]]
            self._set(results=[*others, record])
            with atomic.replacing(self.path / RESULTS) as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
                # Now that a full disk can no longer refuse the results; they come last.
                shutil.rmtree(self.path / "checkpoints", ignore_errors=True)
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

    def _begin(self, experiment: str, asked: dict[str, Any], growable: Collection[str]) -> None:
        """Compare the recipe of now with the run's; where something is to be trained, say so."""
        name = self.path.name
        found = manifest.read(self.path)
        if found is not None:
            manifest.check_recipe(name, found["recipe"], asked, growable)
            atomic.sweep(self.path)
        else:
            found = {"experiment": experiment, "name": name, "recipe": asked}
            found |= {"sessions": [], "results": []}
        self.manifest, self.recipe = found, dict(asked)
        self._growable = [key for key in growable if key in asked]
        record = intact_record(self.path, found)
        if record is not None:
            self.finished = all(record[key] >= asked[key] for key in self._growable)
            self.recipe |= {key: max(asked[key], record[key]) for key in self._growable}
        if not self.finished:
            recipe, sessions, versions = found["recipe"], found["sessions"], manifest.versions()
            _warn_of_other_versions(name, sessions, versions)
            largest = {key: max(asked[key], recipe[key]) for key in self._growable}
            session = {"started": _now(), "versions": versions}
            self._set(recipe=asked | largest, sessions=[*sessions, session])

    def _set(self, **entries: Any) -> None:
        updated = self.manifest | manifest.plain(entries)
        if not self._joined:
            with writing(manifest.FILE, self.path):
                manifest.write(self.path, updated)
        self.manifest = updated

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
    atomic.make_folder(root)
    if fresh:
        for number in itertools.count(1):
            path = root / (name if number == 1 else f"{name}-{number}")
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path
    path = root / name
    path.mkdir(exist_ok=True)
    if not (path / manifest.FILE).exists():
        # A kill before the first manifest leaves no more than the lock and a part of the manifest.
        ours = (LOCK, f".{manifest.FILE}.")
        if others := [file for file in sorted(os.listdir(path)) if not file.startswith(ours)]:
            raise InputError(
                f"{path} is no run folder: it holds {others[0]!r} and no {manifest.FILE}; "
                "choose another --name"
            )
    return path


def _await_workers(path: Path) -> None:
    """Wait for the processes of a run whose first one is gone: they may still write waves.

    Raises:
      FolderInUse: one does not end within WORKER_SECONDS.
    """
    end = time.monotonic() + WORKER_SECONDS
    waiting = sorted(path.glob(f"{LOCK}-*"))
    while waiting:
        try:
            hold(waiting[0]).close()
            waiting.pop(0)
        except FolderInUse:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _appears(is_here: Callable[[], bool], folder: Path) -> bool:
    """Return whether something comes within VISIBLE_SECONDS."""
    end = time.monotonic() + VISIBLE_SECONDS
    while not is_here():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
        with contextlib.suppress(OSError):
            os.listdir(folder)  # has NFS look again
    return True


def _steps(place: Path) -> list[int]:
    return sorted(int(file.stem) for file in place.glob("[0-9]*.npz"))


def _warn_of_other_versions(
    name: str, sessions: Sequence[Mapping[str, Any]], now: Mapping[str, str]
) -> None:
    before = sessions[0]["versions"] if sessions else now
    if changed := [library for library in now if before.get(library) != now[library]]:
        was, is_ = (
            ", ".join(f"{library} {versions.get(library, 'unknown')}" for library in changed)
            for versions in (before, now)
        )
        logger.warning(
            "run %r was begun with %s and continues with %s: its bits may differ from those of an "
            "uninterrupted run",
            name,
            was,
            is_,
        )


def _now() -> str:
    """Write the time, in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
