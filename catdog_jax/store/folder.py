"""The run folder of a process that trains: opened under a lock, continued, never overwritten."""

import csv
import hashlib
import io
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catdog_jax.store import atomic, claim, manifest
from catdog_jax.store.atomic import is_disk_full, writing
from catdog_jax.store.lock import FolderLock
from catdog_jax.store.results import RESULTS, intact_record
from catdog_jax.store.wave_folder import WaveFolder
from catdog_jax.types import FileNote, InputError

if TYPE_CHECKING:
    import xarray as xr


class RunFolder(WaveFolder):
    """One run on the disk, held by this process; a context manager.

    Attributes:
      path: the folder, `<out_dir>/<experiment>/<name>`.
      manifest: what `manifest.json` holds.
      recipe: what is to be done: the recipe as asked, its growable numbers not below those of the
        results that exist.
      finished: whether the results hold as much as was asked, so that nothing is left to train.
    """

    def __init__(
        self,
        path: Path,
        lock: FolderLock,
        facts: dict[str, Any],
        recipe: Mapping[str, Any],
        growable: Collection[str],
    ) -> None:
        super().__init__(path, lock)
        self.manifest = facts
        self.recipe = dict(recipe)
        self._growable = tuple(growable)
        record = intact_record(path, facts) or {}
        self.finished = bool(record) and all(
            record.get(key, 0) >= recipe[key] for key in growable if key in recipe
        )
        for key in set(growable) & set(recipe) & set(record):
            self.recipe[key] = max(recipe[key], record[key])

    @classmethod
    def open(
        cls,
        out_dir: str | os.PathLike[str],
        experiment: str,
        name: str,
        recipe: Mapping[str, Any],
        *,
        growable: Collection[str] = ("num_members",),
        free: Collection[str] = ("data_dir",),
        fresh: bool = False,
    ) -> "RunFolder":
        """Start a run, or continue the one of that name.

        Args:
          out_dir: where runs are kept; created if missing.
          experiment: name of the experiment.
          name: name of the run.
          recipe: JSON-ready settings that decide the bits of the results.
          growable: numbers of the recipe that may be larger or smaller than before.
          free: settings of the recipe that do not decide the bits.
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
        lock = None
        try:
            path = claim.folder(root, name, fresh)
            lock = FolderLock(path / claim.LOCK)
            claim.refuse_workers(path)
            facts = claim.facts(path, asked, growable, free, experiment)
            folder = cls(path, lock, facts, asked, growable)
            if not folder.finished:
                folder._set(**claim.session(facts, asked, growable))
            return folder
        except BaseException as error:
            if lock is not None:
                lock.release()
            if isinstance(error, OSError) and not is_disk_full(error):
                blocked = isinstance(error, FileExistsError | NotADirectoryError)
                why = f"{error.filename} is a file" if blocked else error.strerror or error
                raise InputError(
                    f"cannot write to {root / name}: {why}; choose another --out_dir"
                ) from error
            with writing("the run folder", root / name):
                raise

    def update_manifest(self, **facts: Any) -> None:
        """Set top-level entries of the manifest, atomically.

        Args:
          facts: JSON-ready values; `recipe` and `results` are the store's own.
        """
        if not facts.keys().isdisjoint({"recipe", "results"}):
            raise ValueError("the manifest's recipe and results are set by the store")
        self._set(**facts)

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
            digest = hashlib.sha256(content).hexdigest()
            record = {key: self.recipe[key] for key in self._growable if key in self.recipe}
            record |= {"sha256": digest, "written": claim.now()}
            # The record comes first: the file counts the moment it is there, and while it is not,
            # the record of the results before it still holds.
            others = [old for old in self.manifest["results"] if old["sha256"] != digest]
            self._set(results=[*others, record])
            with atomic.replacing(self.path / RESULTS) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                # Now that a full disk can no longer refuse the results; they come last.
                atomic.remove_folder(self.path / "checkpoints")
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

    def _set(self, **facts: Any) -> None:
        updated = self.manifest | manifest.plain(facts)
        with writing(manifest.FILE, self.path):
            manifest.write(self.path, updated)
        self.manifest = updated
