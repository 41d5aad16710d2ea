"""Published peaks of accelerators, and the least time that work can take on them."""

from typing import NamedTuple


class Peak(NamedTuple):
    """What a device can do at best.

    Attributes:
      flops: precision -> operations a second of matrix products.
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
    # Dense, without sparsity.
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
    """Look a device up by what JAX calls it; None where no peak is published for it."""
    if kind in PEAKS:
        return PEAKS[kind]
    return next(
        (p for name, p in PEAKS.items() if name[:3] != "TPU" and kind.startswith(name)), None
    )


class Bound(NamedTuple):
    """The least time that some work can take.

    Attributes:
      seconds: the larger of the two.
      by: 'arithmetic' or 'memory', whichever it is.
    """

    seconds: float
    by: str


def bound(peak: Peak, precision: str, flops: float, num_bytes: float) -> Bound:
    """Bound the time of work from below.

    Args:
      peak: of the device.
      precision: of its matrix products, one of PRECISIONS.
      flops: operations of matrix products.
      num_bytes: that must pass between memory and cores.
    """
    times = {
        "arithmetic": flops / peak.flops[precision],
        "memory": num_bytes / peak.bandwidth,
    }
    by = max(times, key=times.__getitem__)
    return Bound(times[by], by)
