"""The run folder: the only place that writes results."""

from catdog_jax.store.atomic import FolderInUse, StoreError
from catdog_jax.store.folder import RunFolder
from catdog_jax.store.manifest import run_name

__all__ = ["FolderInUse", "RunFolder", "StoreError", "run_name"]
