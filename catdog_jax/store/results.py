"""A finished run, read back: the labelled results and every member's final params."""

import functools
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from catdog_jax.store import leaves, manifest, waves
from catdog_jax.store.atomic import StoreError
from catdog_jax.types import InputError

if TYPE_CHECKING:
    import xarray as xr


logger = logging.getLogger("catdog_jax.store")
RESULTS = "results.nc"


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run, in memory.

    Attributes:
      path: the run folder.
      data: the results, labelled; the file is closed.
      params: model entry as typed -> pytree (nested dicts) of numpy arrays [M, ...], the final
        params of all members; read when first asked for.
      manifest: what `manifest.json` holds.
    """

    path: Path
    data: "xr.Dataset"
    params: Mapping[str, Any]
    manifest: Mapping[str, Any]

    def params_like(self, model: str, like: Any) -> Any:
        """Give the params of a model in the structure that its formula takes.

        Args:
          model: its entry, as typed.
          like: a pytree of that structure, for instance what `init` returns; shapes are free.

        Returns:
          A pytree of numpy arrays [M, ...].

        Raises:
          StoreError: the structures differ.
        """
        found = [(p, np.asarray(a)) for p, a in leaves.flatten(self.params[model])]
        return leaves.restructured(found, like, f"the params of {model!r}", shapes=False)


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a finished run.

    Args:
      path: the run folder, or the `results.nc` in it.

    Raises:
      InputError: there is no run, it is not finished, or its results are damaged.
    """
    folder = Path(path).expanduser()
    if folder.name == RESULTS and not folder.is_dir():
        folder = folder.parent
    try:
        return _open(folder, path)
    except OSError as error:
        raise InputError(
            f"cannot read {error.filename or folder}: {error.strerror or error}; give a run "
            "folder that can be read"
        ) from error


def _open(folder: Path, path: str | os.PathLike[str]) -> Run:
    facts = manifest.read(folder) if folder.is_dir() else None
    if facts is None:
        raise InputError(
            f"no run at {str(path)!r}: there is no {manifest.FILE}; give the folder that a "
            "finished command printed"
        )
    if not (folder / RESULTS).exists():
        raise InputError(f"run {str(folder)!r} is not finished; run its command again to go on")
    record = intact_record(folder, facts)
    if record is None:
        raise InputError(
            f"{folder / RESULTS} is damaged; run the command of this run again to write it anew"
        )
    import xarray as xr  # takes most of a second to import

    with xr.open_dataset(folder / RESULTS, engine="h5netcdf") as file:
        data = file.load()
    parts = {entry["model"]: entry["part"] for entry in facts.get("parts", ())}
    members = record.get("num_members")
    return Run(folder, data, _StackedParams(folder, parts, members), facts)


def intact_record(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Find the manifest's record of the `results.nc` that is there; None if missing or damaged."""
    if not (folder / RESULTS).exists():
        return None
    with open(folder / RESULTS, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    for record in facts["results"]:
        if record["sha256"] == digest:
            return record
    logger.warning("%s is damaged (its digest differs)", folder / RESULTS)
    return None


def wave_paths(folder: Path, part: str, wave: int) -> tuple[Path, Path]:
    """Name the files of a finished wave: its arrays and its params."""
    place = folder / "waves" / manifest.part_folder(part)
    return place / f"wave_{wave:05d}.npz", place / f"wave_{wave:05d}.params.npz"


class _StackedParams(Mapping[str, Any]):
    """Model entry -> params of all members, read on first use: they may be gigabytes."""

    def __init__(self, folder: Path, parts: Mapping[str, str], members: int | None) -> None:
        self._parts = dict(parts)
        self._read = functools.cache(lambda part: _stack(folder, part, members))

    def __getitem__(self, model: str) -> Any:
        return self._read(self._parts[model])

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def _stack(folder: Path, part: str, members: int | None) -> Any:
    """Join the waves of a part over members, and cut what a run that is growing has added."""
    stacks: dict[leaves.LeafPath, list[np.ndarray]] = {}
    count = 0
    for wave in range(len(list(wave_paths(folder, part, 0)[1].parent.glob("wave_*.params.npz")))):
        path = wave_paths(folder, part, wave)[1]
        try:
            found = waves.read(path)
        except (leaves.Damaged, OSError) as error:
            raise StoreError(
                f"{path} is damaged ({leaves.reason(error)}); remove {RESULTS} and run the "
                "command of this run again to train that wave anew"
            ) from error
        for name, array in found:
            stacks.setdefault(name, []).append(array)
        count += len(found[0][1]) if found else 0
        if members is not None and count >= members:
            break
    if stacks and members is not None and count < members:
        raise StoreError(f"{folder}: {part} has the params of {count} members, not {members}")
    return leaves.nested((k, np.concatenate(v)[:members]) for k, v in stacks.items())
