"""A finished run, read back: the labelled results and every member's final params."""

import collections
import functools
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from catdog_jax.store import arrays, atomic, manifest
from catdog_jax.store.atomic import StoreError
from catdog_jax.types import InputError

if TYPE_CHECKING:
    import xarray as xr


logger = logging.getLogger("catdog_jax.store")
RESULTS = "results.nc"
WAVES = "waves"


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run, in memory.

    Attributes:
      path: the run folder.
      data: the results, labelled; the file is closed.
      params: model as typed -> pytree (nested dicts) of numpy arrays [M, ...], the final params of
        all members; read when first asked for.
      manifest: what `manifest.json` holds.
    """

    path: Path
    data: "xr.Dataset"
    params: Mapping[str, Any]
    manifest: Mapping[str, Any]

    def params_like(self, model: str, like: Any) -> Any:
        """Return the params of a model in the structure that its formula takes.

        Args:
          model: as typed.
          like: a pytree of that structure, for instance what `init` returns; shapes are free.

        Returns:
          A pytree of numpy arrays [M, ...].

        Raises:
          StoreError: the structures differ.
        """
        return arrays.restructured(self.params[model], like, f"the params of {model!r}")


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a finished run.

    Args:
      path: the run folder, or the `results.nc` in it.

    Raises:
      InputError: there is no run, it is not finished, or its manifest or results are damaged.
    """
    folder = Path(path).expanduser()
    folder = folder.parent if folder.is_file() else folder
    found = manifest.read(folder)
    if found is None:
        raise InputError(
            f"no run at {str(path)!r}: there is no {manifest.FILE}; give the folder that a "
            "finished command printed"
        )
    record = intact_record(folder, found)
    if record is None:
        raise InputError(f"{folder / RESULTS} is missing or damaged; rerun the run's command")
    import xarray as xr  # takes most of a second to import

    with xr.open_dataset(folder / RESULTS, engine="h5netcdf") as file:
        data = file.load()
    parts = found.get("parts", ())
    params = {p["model"]: functools.partial(_stack, folder, p["part"], record) for p in parts}
    return Run(folder, data, _Params(params), found)


def intact_record(folder: Path, found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Find the manifest's record of the `results.nc` that is there; None if missing or damaged."""
    digest = atomic.digest(folder / RESULTS)
    for record in found["results"]:
        if record["files"][RESULTS] == digest:
            return dict(record)
    if digest is not None:
        logger.warning("%s is damaged (its digest differs)", folder / RESULTS)
    return None


class _Params(collections.UserDict[str, Any]):
    """Model as typed -> params of all members, read on first use: they may be gigabytes."""

    def __getitem__(self, model: str) -> Any:
        if callable(self.data[model]):
            self.data[model] = self.data[model]()
        return self.data[model]


def _stack(folder: Path, part: str, record: Mapping[str, Any]) -> Any:
    """Join the waves of a part over members, and cut those that are not of the results."""
    waves = []
    for file, digest in record["files"].items():
        if not file.startswith(f"{WAVES}/{manifest.model_folder(part)}/"):
            continue
        if atomic.digest(folder / file) != digest:
            raise StoreError(
                f"{folder / file} is missing or damaged; remove {RESULTS} and rerun the command of "
                "this run to train that wave anew"
            )
        waves.append(arrays.read(folder / file).get("params", {}))
    members = record["recipe"].get("num_members")
    return jax.tree.map(lambda *x: np.concatenate(x)[:members], *waves or [{}])
