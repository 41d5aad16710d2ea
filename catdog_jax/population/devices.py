"""What the machine offers: devices, their kind, their total memory."""

import os
import warnings
from pathlib import Path, PurePosixPath

import jax
import numpy as np
import psutil
from jax.sharding import AxisType, Mesh

AXIS = "member"


def use_all_cores() -> None:
    """Make every CPU core a device of its own; call before anything touches JAX's devices.

    One CPU device with many threads leaves cores idle; one device per core, each with its own
    members, does not. Without effect on GPU and TPU, or where JAX_NUM_CPU_DEVICES is set.
    """
    if "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    try:
        jax.config.update("jax_num_cpu_devices", num_cores())
    except RuntimeError:
        warnings.warn(
            "JAX is already initialised: call use_all_cores() first thing; going on with "
            f"{jax.local_device_count()} device(s)",
            stacklevel=2,
        )


def num_cores() -> int:
    """Count the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def member_mesh(num_devices: int | None = None) -> Mesh:
    """Lay the local devices, or the first few of them, along the member axis."""
    devices = jax.local_devices()[:num_devices]
    # Auto axes: with the Explicit default a vmapped nn.Conv inside jit raises.
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def total_memory() -> int:
    """Tell the memory of one device in bytes, rounded down to a power of two.

    Total and not free memory, so that the same machine gives the same plan every time. Host
    devices share the host's memory in equal parts.
    """
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        total = host_memory() // jax.local_device_count()
    else:
        stats = device.memory_stats() or {}
        total = int(stats.get("bytes_limit", 8 * 2**30))
    return 1 << (total.bit_length() - 1)


def host_memory(root: Path = Path("/")) -> int:
    """Tell the memory that the processes of this host may use, in bytes.

    That of the machine, or what its control group (of a container or a batch job) is held to,
    whichever is less.

    Args:
      root: where /proc and /sys lie.
    """
    return min([psutil.virtual_memory().total, *_group_limits(root)])


def _group_limits(root: Path) -> list[int]:
    """Read the memory limits of this process's control groups, versions 1 and 2, and above."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    limits = []
    for line in lines:
        number, controllers, group = [*line.split(":", 2), "", ""][:3]
        if number == "0":
            place, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            place, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # A container may see its group at the top, under a path that only the host knows.
        path = PurePosixPath(group.lstrip("/"))
        for part in (path, *path.parents):
            try:
                limits.append(int((place / part / name).read_text(encoding="ascii")))
            except (OSError, ValueError):  # not there, or 'max'
                continue
    return [limit for limit in limits if limit > 0]
