"""The waves of a run folder: checkpoints while they train, arrays and params when they are done."""

import contextlib
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from catdog_jax.store import atomic, checkpoint, claim, leaves, manifest, waves
from catdog_jax.store.atomic import StoreError, writing
from catdog_jax.store.lock import FolderLock
from catdog_jax.store.results import wave_paths
from catdog_jax.types import InputError

logger = logging.getLogger("catdog_jax.store")
Held = TypeVar("Held", bound="WaveFolder")


class WaveFolder:
    """What of a run folder any process of the run may write: its own waves; a context manager.

    Attributes:
      path: the run folder.
    """

    def __init__(self, path: Path, lock: FolderLock) -> None:
        self.path = path
        self._lock = lock

    def __enter__(self: Held) -> Held:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others use the run."""
        self._lock.release()

    def save_checkpoint(self, part: str, wave: int, step: int, tree: Any) -> None:
        """Save the state of a wave in training; the last two are kept.

        Args:
          part: the model's part of the run, for instance '00_mlp'.
          wave: number of the wave, from 0.
          step: training steps done.
          tree: a pytree of numpy arrays; random keys as their key data.

        Raises:
          StoreError: the disk is full, or refuses the write.
        """
        with writing(f"the checkpoint of {part} at step {step}", self.path):
            checkpoint.save(self._checkpoints(part, wave), step, tree)

    def load_checkpoint(self, part: str, wave: int, like: Any) -> tuple[int, Any] | None:
        """Load the last usable checkpoint of a wave; a damaged one is named in a warning.

        Args:
          part: the model's part of the run.
          wave: number of the wave, from 0.
          like: a pytree of the structure, shapes and dtypes that were saved.

        Returns:
          (step, pytree of numpy arrays), or None where the wave has to start anew.

        Raises:
          StoreError: a whole checkpoint has another structure than `like`.
        """
        with writing(f"beside the checkpoints of {part}", self.path):
            return checkpoint.load(self._checkpoints(part, wave), like)

    def save_wave(
        self, part: str, wave: int, arrays: Mapping[str, np.ndarray], params: Any
    ) -> None:
        """Keep a finished wave, then remove its checkpoints.

        Args:
          part: the model's part of the run.
          wave: number of the wave, from 0.
          arrays: what was observed; axis of members first where it has one.
          params: the final params, a pytree of arrays [M, ...] of the wave's real members.

        Raises:
          StoreError: the disk is full, or refuses the write.
        """
        observed, weights = wave_paths(self.path, part, wave)
        with writing(f"wave {wave} of {part}", self.path):
            waves.write(weights, leaves.flatten(params))
            # Its existence means done, so it comes second.
            waves.write(observed, [((name,), np.asarray(a)) for name, a in arrays.items()])
            atomic.remove_folder(self._checkpoints(part, wave))

    def load_wave(self, part: str, wave: int) -> dict[str, np.ndarray] | None:
        """Load what a finished wave observed; a damaged file is named in a warning.

        Returns:
          The arrays given to `save_wave`, or None where the wave has to be trained: not finished,
          or its arrays or params are damaged.
        """
        observed, weights = wave_paths(self.path, part, wave)
        if not observed.exists():
            return None
        file = weights
        try:
            waves.read(weights)
            file = observed
            return {path[0]: array for path, array in waves.read(observed)}
        except (leaves.Damaged, OSError) as error:
            why = leaves.reason(error)
            logger.warning("%s is damaged (%s); this wave is trained again", file, why)
            return None

    def await_wave(self, part: str, wave: int) -> dict[str, np.ndarray]:
        """Load what a wave observed that a process of this run has finished; NFS may show it late.

        Returns:
          The arrays given to `save_wave`.

        Raises:
          StoreError: it does not come within VISIBLE_SECONDS, or is damaged.
        """
        files = wave_paths(self.path, part, wave)
        end = time.monotonic() + claim.VISIBLE_SECONDS
        while True:
            with contextlib.suppress(OSError):
                os.listdir(files[0].parent)  # has NFS look again
            if all(file.exists() for file in files):
                found = self.load_wave(part, wave)
                break
            if time.monotonic() > end:
                found = None
                break
            time.sleep(0.2)
        if found is None:
            raise StoreError(
                f"wave {wave} of {part} is missing or damaged in {self.path}; run the command "
                "again to train it anew"
            )
        return found

    def load_params(self, part: str, wave: int, like: Any = None) -> Any:
        """Load the final params of a finished wave.

        Args:
          part: the model's part of the run.
          wave: number of the wave, from 0.
          like: a pytree of the wanted structure; None gives nested dicts.

        Returns:
          A pytree of numpy arrays [M, ...].

        Raises:
          StoreError: the file is missing or damaged, or has another structure than `like`.
        """
        weights = wave_paths(self.path, part, wave)[1]
        try:
            found = waves.read(weights)
        except (leaves.Damaged, OSError) as error:
            raise StoreError(
                f"{weights} is damaged ({leaves.reason(error)}); run the command again"
            ) from error
        if like is None:
            return leaves.nested(found)
        return leaves.restructured(found, like, str(weights), shapes=False)

    def _checkpoints(self, part: str, wave: int) -> Path:
        return self.path / "checkpoints" / manifest.part_folder(part) / f"wave_{wave:05d}"


class WorkerFolder(WaveFolder):
    """A run folder that another process holds, for one that trains waves of the run.

    Its lock keeps another run from beginning while this process may still write.

    Attributes:
      manifest: what this process adds to the manifest; kept in memory, for the holder to write.
    """

    def __init__(self, path: Path, lock: FolderLock) -> None:
        super().__init__(path, lock)
        self.manifest: dict[str, Any] = {}

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], index: int, session: Mapping[str, Any]
    ) -> "WorkerFolder":
        """Open the folder that the first process of a run holds.

        Args:
          path: the run folder.
          index: number of this process, from 1.
          session: the last entry of the manifest's `sessions`, as the first process sees it.

        Raises:
          InputError: there is no such folder here, or it is another one.
          FolderInUse: a process of the same number holds it.
        """
        folder = Path(path)
        found = claim.awaited_session(folder, session)
        if not found:
            raise InputError(
                f"{folder} is not here as process 0 sees it; give an --out_dir that all processes "
                "share"
            )
        return cls(folder, FolderLock(folder / claim.worker_lock(index)))

    def update_manifest(self, **facts: Any) -> None:
        """Keep top-level entries for the manifest.

        Args:
          facts: JSON-ready values.
        """
        self.manifest |= manifest.plain(facts)
