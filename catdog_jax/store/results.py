"""Which `results.nc` a run folder holds, going by its manifest."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catdog_jax.store import atomic

logger = logging.getLogger("catdog_jax.store")
RESULTS = "results.nc"
WAVES = "waves"


def intact_record(folder: Path, found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Find the manifest's record of the `results.nc` that is there; None if missing or damaged."""
    digest = atomic.digest(folder / RESULTS)
    for record in found["results"]:
        if record["files"][RESULTS] == digest:
            return dict(record)
    if digest is not None:
        logger.warning("%s is damaged (its digest differs)", folder / RESULTS)
    return None
