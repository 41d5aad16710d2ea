"""A cache of compiled programs on the disk, so that a second run starts at once."""

import hashlib
import os
import platform
from pathlib import Path

import jax
import platformdirs


def use_compilation_cache() -> None:
    """Keep compiled programs in the user's cache folder; call before the first compilation.

    Without effect where JAX_COMPILATION_CACHE_DIR or its setting names another place. A program
    for one processor may not run on another, so each kind of processor has a folder of its own.
    CATDOG_CACHE_DIR moves the cache.
    """
    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    root = os.environ.get("CATDOG_CACHE_DIR") or platformdirs.user_cache_dir("catdog_jax")
    jax.config.update("jax_compilation_cache_dir", str(Path(root) / "xla" / _processor()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _processor() -> str:
    """Tell this kind of processor by its feature flags, as far as the system says them."""
    words = [platform.machine(), platform.processor()]
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    words += sorted(
        {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    )
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]
