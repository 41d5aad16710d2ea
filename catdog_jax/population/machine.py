"""Machines to plan for: this one, or TPUs and GPUs that are not here; what each device can do."""

import os
import re
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from catdog_jax.population.devices import round_memory, total_memory
from catdog_jax.registry import unknown
from catdog_jax.types import InputError

LOCAL = "local"
TPUS = (
    *("v4:2x2x1", "v5e:1x1", "v5e:2x2", "v5e:2x4", "v5e:4x4", "v5e:16x16"),
    *("v5p:1x1x1", "v5p:2x2x1", "v6e:1x1", "v6e:2x2", "v6e:2x4", "v6e:16x16"),
)
# Name on the command line -> what JAX calls it, compute capability, bytes as the driver says.
GPUS = {
    "a100": ("NVIDIA A100-SXM4-80GB", 8, 85_095_874_560),
    "h100": ("NVIDIA H100 80GB HBM3", 9, 84_929_347_584),
    "h200": ("NVIDIA H200", 9, 150_754_820_096),
}
KNOWN = (LOCAL, *TPUS, *(f"gpu:{name}" for name in GPUS), "gpu:h200x8")
# What the compiler says a program may use ("exceeds available HBM (15.75G)"), libtpu 0.0.42. A v4
# chip is two devices.
_TPU_GIB = {"TPU v4": 15.25, "TPU v5 lite": 15.75, "TPU v5": 95.74, "TPU v6 lite": 31.25}
_GPU_SHARE = 0.75  # of its memory that JAX takes by default


class Peak(NamedTuple):
    """What a device can do at best, as its maker publishes it.

    Attributes:
      flops: precision -> operations a second of matrix products, dense.
      bandwidth: bytes a second between the device's memory and its cores.
      source: where the figures are published.
    """

    flops: dict[str, float]
    bandwidth: float
    source: str


def _tpu(bfloat16: float, bandwidth: float, page: str) -> Peak:
    # The matrix unit multiplies bfloat16; float32 takes six such products, tf32 (JAX's 'high')
    # three.
    flops = {"bfloat16": bfloat16, "tf32": bfloat16 / 3, "float32": bfloat16 / 6}
    return Peak(flops, bandwidth, f"cloud.google.com/tpu/docs/{page}")


def _gpu(bfloat16: float, tf32: float, float32: float, bandwidth: float, sheet: str) -> Peak:
    flops = {"bfloat16": bfloat16, "tf32": tf32, "float32": float32}
    return Peak(flops, bandwidth, f"NVIDIA's data sheet of the {sheet}")


PEAKS = {
    "TPU v4": _tpu(275e12 / 2, 1228e9 / 2, "v4 (a device is half a chip)"),
    "TPU v5 lite": _tpu(197e12, 819e9, "v5e"),
    "TPU v5": _tpu(459e12, 2765e9, "v5p"),
    "TPU v6 lite": _tpu(918e12, 1640e9, "v6e"),
    "NVIDIA A100": _gpu(312e12, 156e12, 19.5e12, 2039e9, "A100 SXM 80 GB"),
    "NVIDIA H100": _gpu(989e12, 494.5e12, 67e12, 3350e9, "H100 SXM"),
    "NVIDIA H200": _gpu(989e12, 494.5e12, 67e12, 4800e9, "H200 SXM"),
}


def peak_of(kind: str) -> Peak | None:
    """Look a device up by what JAX calls it; None where no peak is listed for it."""
    # A GPU's name goes on with its form and memory; 'TPU v5' is another device than 'TPU v5 lite'.
    gpu = " ".join(kind.replace("-", " ").split()[:2])
    return PEAKS.get(gpu if kind.startswith("NVIDIA") else kind)


class Machine(NamedTuple):
    """Devices to plan and compile for.

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


def find_machine(name: str) -> Machine:
    """Describe a machine by its name, without touching one that is not this.

    Args:
      name: 'local'; a TPU slice like 'v5e:2x4'; a GPU like 'gpu:h200', or several like
        'gpu:h200x8'.

    Raises:
      InputError: an unknown name, or the compiler for it is not installed or does not start.
    """
    if name == LOCAL:
        devices = tuple(jax.local_devices())
        backend = jax.default_backend()
        return Machine(name, devices, backend, devices[0].device_kind, total_memory())
    gpu = re.fullmatch(rf"gpu:({'|'.join(GPUS)})(?:x([1-9][0-9]{{0,2}}))?", name)
    if gpu:
        return _gpu_machine(name, *GPUS[gpu[1]], int(gpu[2] or 1))
    if re.fullmatch(r"(v4|v5e|v5p|v6e):[1-9][0-9]*(x[1-9][0-9]*)+", name):
        return _tpu_machine(name)
    raise unknown("topology", name, KNOWN, "--topology takes one of them")


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
    advice = (
        "it takes the extra: pip install -e '.[tpu]' (on Linux), and a slice that there is: "
        f"{', '.join(TPUS)}"
    )
    devices = _described(name, "TPU", options, advice)
    kind = devices[0].device_kind
    return Machine(name, devices, "tpu", kind, round_memory("tpu", int(_TPU_GIB[kind] * 2**30)))


def _gpu_machine(name: str, kind: str, capability: int, memory: int, count: int) -> Machine:
    # Without a GPU nothing can be timed, so the compiler may not try to.
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_autotune_level" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_autotune_level=0".strip()
    options = {
        "platform": "cuda",
        "topology_name": name,
        "topology": f"1x1x{count}",
        "target_config": _TARGET % {"kind": kind, "capability": capability, "memory": memory},
    }
    advice = (
        f"pip install jax-cuda13-plugin=={jax.__version__} (on Linux, 132 MB, no GPU and no CUDA)"
    )
    devices = _described(name, "GPU", options, advice)
    return Machine(name, devices, "gpu", kind, round_memory("gpu", int(_GPU_SHARE * memory)))


# XLA's description of a GPU (xla/stream_executor/device_description.proto). What decides the sizes
# of tiles and not the memory of a program is that of an H100.
_TARGET = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98 l2_cache_size: 52428800
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 166912
  shared_memory_per_core: 167936 registers_per_core_limit: 65536 registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352000000000 device_memory_size: %(memory)d
  cuda_compute_capability { major: %(capability)d }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
runtime_version { major: 13 }
device_description_str: "%(kind)s"
"""


def _described(name: str, kind: str, options: dict[str, Any], advice: str) -> tuple[Any, ...]:
    describe: Any = topologies.get_topology_desc
    try:
        return tuple(describe(**options).devices)
    except (RuntimeError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"--topology={name}: the {kind} compiler does not start ({reason}); {advice}"
        ) from None
