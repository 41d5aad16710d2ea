"""Machines to compile for: this one, or TPUs and GPUs that are not here."""

import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from catdog_jax.population.devices import round_memory, total_memory
from catdog_jax.registry import unknown
from catdog_jax.types import InputError

LOCAL = "local"
TPUS = (
    "v4:2x2x1",
    "v5e:1x1",
    "v5e:2x2",
    "v5e:2x4",
    "v5e:4x4",
    "v5e:16x16",
    "v5p:1x1x1",
    "v5p:2x2x1",
    "v6e:1x1",
    "v6e:2x2",
    "v6e:2x4",
    "v6e:16x16",
)
_TPU_FAMILIES = ("v4", "v5e", "v5p", "v6e")


class _Gpu(NamedTuple):
    """What XLA must know of a GPU: its name, its memory, and figures that choose tile sizes."""

    description: str
    compute: int  # capability
    cores: int
    memory: int
    bandwidth: int
    cache: int
    clock: float
    shared: int


# Figures as the CUDA driver tells them, of the SXM modules (NVIDIA's data sheets).
_GPUS = {
    "a100": _Gpu(
        "NVIDIA A100-SXM4-80GB", 8, 108, 85_095_874_560, 2_039_000_000_000, 41_943_040, 1.41, 166912
    ),
    "h100": _Gpu(
        "NVIDIA H100 80GB HBM3", 9, 132, 84_929_347_584, 3_352_000_000_000, 52_428_800, 1.98, 232448
    ),
    "h200": _Gpu(
        "NVIDIA H200", 9, 132, 150_754_820_096, 4_800_000_000_000, 62_914_560, 1.98, 232448
    ),
}
_GPU_SHARE = 0.75  # of its memory that JAX takes by default


class Machine(NamedTuple):
    """Devices to compile for.

    Attributes:
      name: as a person types it.
      devices: what a mesh is made of; they need not be here.
      backend: 'cpu', 'gpu' or 'tpu'.
      kind: of each device, as JAX calls it.
      memory: bytes that a program may use on each device, rounded down as in a run.
    """

    name: str
    devices: tuple[Any, ...]
    backend: str
    kind: str
    memory: int


def known_topologies() -> tuple[str, ...]:
    """List names that `find_machine` knows."""
    return (LOCAL, *TPUS, *(f"gpu:{name}" for name in _GPUS), "gpu:h200x8")


def find_machine(name: str) -> Machine:
    """Describe a machine by its name, without touching one that is not this.

    Args:
      name: 'local'; a TPU slice like 'v5e:2x4'; a GPU like 'gpu:h200', or several like
        'gpu:h200x8'.

    Raises:
      InputError: an unknown name, or the compiler for it is not installed.
      RuntimeError: the compiler does not start.
    """
    if name == LOCAL:
        devices = tuple(jax.local_devices())
        backend = jax.default_backend()
        return Machine(name, devices, backend, devices[0].device_kind, total_memory())
    gpu = re.fullmatch(r"gpu:([a-z0-9]+?)(?:x([1-9][0-9]{0,2}))?", name)
    if gpu and gpu[1] in _GPUS:
        return _gpu_machine(name, _GPUS[gpu[1]], int(gpu[2] or 1))
    if re.fullmatch(rf"({'|'.join(_TPU_FAMILIES)})(:[1-9][0-9]*(x[1-9][0-9]*)+)", name):
        return _tpu_machine(name)
    raise unknown("topology", name, known_topologies(), "--topology takes one of them")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a compiler refused a program because its device has too little memory."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def _tpu_machine(name: str) -> Machine:
    # A machine without a TPU knows none of these, and libtpu asks for them all over the network.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-8")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    # Compiling takes no chip: several processes may.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    options: dict[str, Any] = {"platform": "tpu", "topology_name": name}
    if set(name.partition(":")[2].split("x")) == {"1"}:
        options["chips_per_host_bounds"] = (1, 1, 1)
    try:
        devices = _described(options)
    except (RuntimeError, ImportError) as error:
        if "not installed" in str(error) or isinstance(error, ImportError):
            raise InputError(
                f"--topology={name} needs the TPU compiler, which is not installed; "
                "install the extra: pip install -e '.[tpu]' (on Linux)"
            ) from None
        if "INVALID_ARGUMENT" not in str(error):
            raise RuntimeError(
                f"--topology={name}: the TPU compiler does not start ({_first_line(error)})"
            ) from error
        raise InputError(
            f"--topology={name}: the TPU compiler knows no such slice ({_first_line(error)}); "
            f"names that work: {', '.join(TPUS)}"
        ) from None
    kind = devices[0].device_kind
    return Machine(name, devices, "tpu", kind, round_memory("tpu", _TPU_MEMORY[kind]))


# What the compiler says a program may use ("exceeds available HBM (15.75G)"), libtpu 0.0.42. A v4
# chip is two devices.
_TPU_MEMORY = {
    "TPU v4": int(15.25 * 2**30),
    "TPU v5 lite": int(15.75 * 2**30),
    "TPU v5": int(95.74 * 2**30),
    "TPU v6 lite": int(31.25 * 2**30),
}


def _gpu_machine(name: str, gpu: _Gpu, count: int) -> Machine:
    # Without a GPU nothing can be timed, so the compiler may not try to.
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_autotune_level" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_autotune_level=0".strip()
    options = {
        "platform": "cuda",
        "topology_name": name,
        "topology": f"1x1x{count}",
        "target_config": _target_config(gpu),
    }
    try:
        devices = _described(options)
    except (RuntimeError, ImportError) as error:
        raise InputError(
            f"--topology={name} needs the GPU compiler of this JAX, which does not start "
            f"({_first_line(error)}); pip install jax-cuda13-plugin=={jax.__version__} (on Linux, "
            "132 MB, no GPU and no CUDA)"
        ) from None
    memory = round_memory("gpu", int(_GPU_SHARE * gpu.memory))
    return Machine(name, devices, "gpu", gpu.description, memory)


def _described(options: dict[str, Any]) -> tuple[Any, ...]:
    describe: Callable[..., Any] = topologies.get_topology_desc
    return tuple(describe(**options).devices)


def _target_config(gpu: _Gpu) -> str:
    """Write XLA's description of a GPU (xla/stream_executor/device_description.proto)."""
    return f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {gpu.shared + 1024}
  threads_per_core_limit: 2048
  core_count: {gpu.cores}
  fpus_per_core: {128 if gpu.compute == 9 else 64}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {gpu.bandwidth}
  l2_cache_size: {gpu.cache}
  clock_rate_ghz: {gpu.clock}
  device_memory_size: {gpu.memory}
  shared_memory_per_block_optin: {gpu.shared}
  cuda_compute_capability {{ major: {gpu.compute} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 13 }}
device_description_str: "{gpu.description}"
"""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
