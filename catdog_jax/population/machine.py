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
GPUS: dict[str, dict[str, Any]] = {
    "a100": {"kind": "NVIDIA A100-SXM4-80GB", "capability": 8, "memory": 85_095_874_560},
    "h100": {"kind": "NVIDIA H100 80GB HBM3", "capability": 9, "memory": 84_929_347_584},
    "h200": {"kind": "NVIDIA H200", "capability": 9, "memory": 150_754_820_096},
}
KNOWN = (LOCAL, *TPUS, *(f"gpu:{name}" for name in GPUS), "gpu:h200x8")
# What the compiler says a program may use ("exceeds available HBM (15.75G)"), libtpu 0.0.42. A v4
# chip is two devices.
_TPU_GIB = {"TPU v4": 15.25, "TPU v5 lite": 15.75, "TPU v5": 95.74, "TPU v6 lite": 31.25}
_GPU_SHARE = 0.75  # of its memory that JAX takes by default
# A machine without a TPU knows none of these, and libtpu asks for them all over the network.
# Compiling takes no chip: several processes may.
_TPU_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
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


def _peak(
    source: str, bandwidth: float, bfloat16: float, tf32: float = 0.0, float32: float = 0.0
) -> Peak:
    # A TPU's matrix unit multiplies bfloat16; float32 takes six such products, tf32 (JAX's 'high')
    # three.
    flops = {"tf32": tf32 or bfloat16 / 3, "float32": float32 or bfloat16 / 6}
    return Peak({"bfloat16": bfloat16, **flops}, bandwidth, source)


_TPU, _GPU = "cloud.google.com/tpu/docs/", "NVIDIA's data sheet of the "
PEAKS = {
    "TPU v4": _peak(f"{_TPU}v4 (a device is half a chip)", 1228e9 / 2, 275e12 / 2),
    "TPU v5 lite": _peak(f"{_TPU}v5e", 819e9, 197e12),
    "TPU v5": _peak(f"{_TPU}v5p", 2765e9, 459e12),
    "TPU v6 lite": _peak(f"{_TPU}v6e", 1640e9, 918e12),
    "NVIDIA A100": _peak(f"{_GPU}A100 SXM 80 GB", 2039e9, 312e12, 156e12, 19.5e12),
    "NVIDIA H100": _peak(f"{_GPU}H100 SXM", 3350e9, 989e12, 494.5e12, 67e12),
    "NVIDIA H200": _peak(f"{_GPU}H200 SXM", 4800e9, 989e12, 494.5e12, 67e12),
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


def find_machine(name: str = LOCAL) -> Machine:
    """Describe a machine by its name, without touching one that is not this.

    Args:
      name: 'local'; a TPU slice like 'v5e:2x4'; a GPU like 'gpu:h200', or several like
        'gpu:h200x8'.

    Raises:
      InputError: an unknown name, or the compiler for it is not installed or does not start.
    """
    if name == LOCAL:
        here = tuple(jax.local_devices())
        return Machine(name, here, jax.default_backend(), here[0].device_kind, total_memory())
    gpu = re.fullmatch(rf"gpu:({'|'.join(GPUS)})(?:x([1-9][0-9]{{0,2}}))?", name)
    options: dict[str, Any] = {"topology_name": name}
    if gpu:
        # Without a GPU nothing can be timed, so the compiler may not try to.
        flags = os.environ.get("XLA_FLAGS", "")
        if "xla_gpu_autotune_level" not in flags:
            os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_autotune_level=0".strip()
        backend, target = "gpu", GPUS[gpu[1]]
        options |= {"platform": "cuda", "topology": f"1x1x{gpu[2] or 1}"}
        options["target_config"] = _TARGET % target
        advice = f"jax-cuda13-plugin=={jax.__version__} (on Linux, 132 MB, no GPU and no CUDA)"
    elif re.fullmatch(r"(v4|v5e|v5p|v6e):[1-9][0-9]*(x[1-9][0-9]*)+", name):
        for variable, value in _TPU_ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        backend = options["platform"] = "tpu"
        if set(name.partition(":")[2].split("x")) == {"1"}:
            options["chips_per_host_bounds"] = (1, 1, 1)
        advice = f"-e '.[tpu]' (on Linux); and give a slice that there is: {', '.join(TPUS)}"
    else:
        raise unknown("topology", name, KNOWN, "--topology takes one of them")
    describe: Any = topologies.get_topology_desc
    try:
        devices = tuple(describe(**options).devices)
    except (RuntimeError, ImportError) as error:
        why = str(error).partition("\n")[0]
        raise InputError(
            f"--topology={name}: the {backend.upper()} compiler does not start ({why}); "
            f"pip install {advice}"
        ) from None
    kind = target["kind"] if gpu else devices[0].device_kind
    memory = _GPU_SHARE * target["memory"] if gpu else _TPU_GIB[kind] * 2**30
    return Machine(name, devices, backend, kind, round_memory(backend, int(memory)))
