"""A cache of compiled programs on the disk, so that a second run starts at once."""

import logging
import os
import tempfile
import warnings
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from catdog_jax.data.cache import cache_dir
from catdog_jax.host import processor_digest
from catdog_jax.types import InputError

OFF = "none"
_log = logging.getLogger(__name__)


def use_compilation_cache(folder: str = "") -> None:
    """Keep compiled programs on the disk; call before the first compilation.

    A program for one processor may not run on another, so each kind of processor has a folder of
    its own. Several processes may share a cache: what one cannot read it compiles again.

    Args:
      folder: where; 'none' for no cache; empty: where JAX_COMPILATION_CACHE_DIR or its setting
        says, else the user's cache folder, which CATDOG_CACHE_DIR moves.

    Raises:
      InputError: the folder cannot be written to.
    """
    jax.config.update("jax_enable_compilation_cache", folder != OFF)
    if folder == OFF:
        compilation_cache.reset_cache()  # what was looked up before is not looked up again
        return
    if not folder and jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    root = Path(folder).expanduser().absolute() if folder else cache_dir().absolute() / "xla"
    path = root / processor_digest()
    there = next(place for place in (path, *path.parents) if os.path.exists(place))
    try:
        with tempfile.TemporaryDirectory(dir=there):  # JAX makes the folder when it writes
            pass
    except OSError as error:
        why = f"{there} cannot be written to ({error.strerror or error})"
        if folder:
            raise InputError(
                f"--compile_cache={folder}: {why}; give another folder, or {OFF}"
            ) from error
        _log.warning("going on without a cache of compiled programs: %s", why)
        return
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    compilation_cache.reset_cache()
    # Of an entry that another process is writing, or was killed over: it is compiled again.
    warnings.filterwarnings("ignore", r"Error (reading|writing) persistent compilation cache")
