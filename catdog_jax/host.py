"""What the machine and its JAX are, as far as results or limits depend on it."""

import contextlib
import hashlib
import platform
from pathlib import Path, PurePosixPath
from typing import Any

import jax
import psutil

# Settings of JAX that decide numbers, and what they are unless somebody sets them.
_DECIDING = {
    "jax_default_matmul_precision": None,
    "jax_default_prng_impl": "threefry2x32",
    "jax_enable_x64": False,
    "jax_random_seed_offset": 0,
    "jax_threefry_partitionable": True,
}


def jax_settings() -> dict[str, Any]:
    """Return the settings of JAX that decide numbers and are not as usual."""
    found = {name: jax.config.values[name] for name in _DECIDING}
    return {name: value for name, value in found.items() if value != _DECIDING[name]}


def processor_digest() -> str:
    """Digest what the system says of this processor: its name and its feature flags."""
    words = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        words += sorted({x for x in lines if x.startswith(("flags", "Features", "model name"))})
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]


def host_memory(root: Path = Path("/")) -> int:
    """Tell the memory that the processes of this host may use, in bytes.

    That of the machine, or what its control groups (of a container or a batch job; versions 1 and
    2) and those above are held to, whichever is least.

    Args:
      root: where /proc and /sys lie.
    """
    files = {
        "": (root / "sys/fs/cgroup", "memory.max"),  # version 2 names no controllers
        "memory": (root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    }
    limits = [psutil.virtual_memory().total]
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            # A container may see its group at the top, under a path that only the host knows.
            path = PurePosixPath(group.lstrip("/"))
            for place, name in (files[x] for x in controllers.split(",") if x in files):
                for part in (path, *path.parents):
                    with contextlib.suppress(OSError, ValueError):  # not there, or 'max'
                        limits.append(int((place / part / name).read_text(encoding="ascii")))
    return min(limits)
