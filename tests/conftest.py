"""Run before any test: type checks at run time, four host devices, strict ranks."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of a test's time is compilation: the LLVM passes for speed are left out.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", 4)
# Many tests compile the same programs: once is enough, also across test processes.
jax.config.update(
    "jax_compilation_cache_dir",
    str(Path(os.environ.get("CATDOG_CACHE_DIR") or tempfile.gettempdir()) / "catdog_jax_tests_xla"),
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.config.update("jax_numpy_rank_promotion", "raise")

install_import_hook("catdog_jax", "beartype.beartype")

SHARED = Path(os.environ.get("CATDOG_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real cats and dogs, or a skip that says why."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist (set CATDOG_SHARED)")
    return folder
