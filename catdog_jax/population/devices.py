"""What the machine offers: devices, their kind, their total memory."""

import functools
import os
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, Mesh
from jaxtyping import Array, PyTree

from catdog_jax.host import host_memory
from catdog_jax.population import distributed
from catdog_jax.train import ALONE, Sharing

AXIS = "member"
SHARED_AXIS = "batch"  # of devices that share a member's examples
_IN_PLACE = "xla_cpu_copy_insertion_use_region_analysis"
_LEVEL = "xla_backend_optimization_level"


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
    return len(distributed.usable_cores())


def member_mesh(
    num_devices: int | None = None, share: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
    """Lay devices out: members along one axis, the devices that share a member along the other.

    Args:
      num_devices: how many; all by default.
      share: devices that share each member's examples; divides `num_devices`.
      devices: the local ones by default; those of a machine that is not here, to compile for it.
    """
    chosen = np.array((devices or jax.local_devices())[:num_devices]).reshape(-1, share)
    # Auto axes: with the Explicit default a vmapped nn.Conv inside jit raises.
    return Mesh(chosen, (AXIS, SHARED_AXIS), axis_types=(AxisType.Auto,) * 2)


def loop_options(mesh: Mesh) -> dict[str, bool]:
    """Choose the compiler's options for a training loop on these devices.

    On CPU, by default, XLA copies the optimiser's moments at every step: it does not see that the
    old ones are read for the last time before the new ones take their place. Its analysis by
    regions does. Measured on two cores, member-steps/s without and with: mlp 204 and 228,
    mlp:width=32:depth=1 1,720 and 2,080, linear 33,800 and 35,800, cnn 32.9 and 34.7. No bit of
    the result depends on it.
    """
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    return _known(_IN_PLACE, True) if on_cpu else {}


def once_options() -> dict[str, Any]:
    """Choose the compiler's options for a program that runs once, like that of starting weights.

    On CPU LLVM takes long to optimise the generator of random numbers, whose rounds are written
    out: the start of a convolutional network was compiled in 5.6 s, and in 1.7 s at LLVM's first
    level. No bit of the result depends on it. A level that a person has set stays.
    """
    asked = _LEVEL in os.environ.get("XLA_FLAGS", "")
    return _known(_LEVEL, "1") if jax.default_backend() == "cpu" and not asked else {}


@functools.cache
def _known(option: str, value: Any) -> dict[str, Any]:
    """Set an option, where this version's compiler has it."""
    try:
        jax.jit(lambda: 0, compiler_options={option: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return {option: value}


def sharing(devices: int) -> Sharing:
    """Share the examples of a member over the second axis of a mesh: one all-reduce a step."""
    if devices == 1:
        return ALONE

    def part(tree: PyTree) -> PyTree:
        rank = jax.lax.axis_index(SHARED_AXIS)

        def own(x: Array) -> Array:
            size = x.shape[0] // devices
            return jax.lax.dynamic_slice_in_dim(x, rank * size, size)

        return jax.tree.map(own, tree)

    def total(tree: PyTree) -> PyTree:
        # One vector, so that the devices meet once a step and not once an array.
        flat, restore = ravel_pytree(tree)
        return restore(jax.lax.psum(flat, SHARED_AXIS))

    return Sharing(devices, part, total)


def total_memory() -> int:
    """Tell the memory of one device in bytes, rounded down by `round_memory`.

    Total and not free memory, so that the same machine gives the same plan every time. Host
    devices share the host's memory in equal parts.
    """
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        sharers = distributed.current().sharers  # processes of this run on the same machine
        total = host_memory() // (jax.local_device_count() * sharers)
    else:
        total = int((device.memory_stats() or {}).get("bytes_limit", 8 * 2**30))
    return round_memory(device.platform, total)


def round_memory(backend: str, total: int) -> int:
    """Round a device's memory down, so that machines of one kind get the same plan.

    A host's to a power of two, since systems of the same size tell figures that differ a little;
    an accelerator's, which is fixed, to whole GiB.

    Args:
      backend: 'cpu', 'gpu' or 'tpu'.
      total: bytes.
    """
    if backend == "cpu":
        return 1 << (total.bit_length() - 1)
    return total >> 30 << 30 or total
