"""Draws the figures of a finished run into its folder."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr


def draw(data: "xr.Dataset", folder: Path, table: Mapping[str, str | Callable[..., Any]]) -> None:
    """Draw every figure of a table into `folder/figures`, where it is not there yet.

    A figure that has nothing to show in this run is None, and left out. Two processes that print
    the same finished run may draw at the same time.

    Args:
      data: what the figures read, of `results.nc`; axis `member`.
      folder: of the run.
      table: name of the file -> function of `data`, or where it lies below `catdog_jax.figures`,
        like 'training.disagreement': matplotlib is imported when there is something to draw, for a
        run should begin to train at once.
    """
    place = folder / "figures"
    place.mkdir(exist_ok=True)
    stamp = f"{data.sizes['member']} members"
    for name, figure in table.items():
        path = place / f"{name}.png"
        if path.exists() and _stamp(path) == stamp:
            continue
        if sys.stderr.isatty():
            print(f"drawing {name} …", end="\r", file=sys.stderr, flush=True)
        if isinstance(figure, str):
            module, _, function = figure.rpartition(".")
            figure = getattr(importlib.import_module(f"catdog_jax.figures.{module}"), function)
        drawn = figure(data)
        if drawn is None:
            continue
        part = place / f"{name}.{os.getpid()}.part"
        try:
            drawn.savefig(part, format="png", dpi=150, metadata={"Comment": stamp})
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _stamp(path: Path) -> str:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return str(image.info.get("Comment", ""))
    except OSError:  # damaged: it is drawn again
        return ""
