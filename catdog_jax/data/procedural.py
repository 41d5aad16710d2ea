"""The embedded data set: cats and dogs drawn by a pure function, as many as one likes.

Picture `i` of seed `s` is a function of (s, i), the size and the difficulty, nothing else.
"""

import functools
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib.version
import numpy as np
import psutil
from jaxtyping import Array, Float, Int, UInt8, UInt32

from catdog_jax.data.assemble import fingerprint
from catdog_jax.data.cache import cached, processor_digest
from catdog_jax.data.drawing import draw_planes
from catdog_jax.data.drawing_factors import DEFAULT_DIFFICULTY, Factors, sample_factors
from catdog_jax.data.pictures import check_memory
from catdog_jax.types import Dataset, DatasetSpec, InputError, Split

CLASS_NAMES = ("cat", "dog")
DEFAULT_SIZE = 32
# Where each part's picture numbers begin: far enough apart never to meet.
FIRST = {"train": 0, "valid": 2**30, "test": 2**31}
# Bytes of pictures that are kept between runs: fewer are drawn at once, more would fill the disk.
KEPT = (2**22, 2**28)

Pictures = tuple[UInt8[Array, "C 3 H W"], dict[str, Float[Array, " C"]]]
Chunk = Callable[[UInt32[Array, ""], UInt32[Array, ""], Float[Array, ""]], Pictures]


def generate(
    num: int, *, seed: int, size: int, difficulty: float = DEFAULT_DIFFICULTY, first: int = 0
) -> tuple[UInt8[np.ndarray, "N H W 3"], Int[np.ndarray, " N"], dict[str, Float[np.ndarray, " N"]]]:
    """Draw pictures `first` to `first + num - 1`; even numbers are cats, odd ones dogs.

    Args:
      num: N ≥ 1.
      seed: 0..2³²-1.
      size: height and width in pixels, 8..1024.
      difficulty: 0..1.
      first: number of the first picture, ≥ 0.

    Returns:
      images [N, H, W, 3] uint8; labels [N] int32, 0 cat, 1 dog; factors, name -> [N] float32,
      as `sample_factors` describes them.

    Raises:
      InputError: an argument out of range, or more pictures than memory holds.
    """
    _check(num, seed, size, difficulty)
    per_chunk = _chunk_length(size)
    program = _chunk_program(size)
    # Chunks are aligned to the numbering, so that a picture has its bits from the same program
    # at the same place whichever others are asked for.
    starts = range(first // per_chunk * per_chunk, first + num, per_chunk)
    images = np.empty((num, size, size, 3), np.uint8)
    factors: dict[str, np.ndarray] = {}

    def fill(start: int) -> None:
        pictures, known = jax.device_get(
            program(jnp.uint32(seed), jnp.uint32(start), jnp.float32(difficulty))
        )
        low, high = max(start, first), min(start + per_chunk, first + num)
        wanted = pictures[low - start : high - start]
        images[low - first : high - first] = wanted.transpose(0, 2, 3, 1)
        for name, values in known.items():
            target = factors.setdefault(name, np.empty(num, np.float32))
            target[low - first : high - first] = values[low - start : high - start]

    fill(starts[0])  # alone, so that the program is compiled once
    with ThreadPoolExecutor(max_workers=psutil.cpu_count() or 1) as pool:
        list(pool.map(fill, starts[1:]))
    labels = (np.arange(first, first + num) % 2).astype(np.int32)
    return images, labels, factors


def _chunk_length(size: int) -> int:
    """Pictures per program call, a power of two with about 2¹⁸ pixels."""
    return max(1, min(256, 2 ** ((2**18 // size**2).bit_length() - 1 if size <= 512 else 0)))


@functools.cache
def _chunk_program(size: int) -> Chunk:
    """Compile the drawing of one chunk."""
    offsets = np.arange(_chunk_length(size), dtype=np.uint32)

    def one(
        seed: UInt32[Array, ""], index: UInt32[Array, ""], difficulty: Float[Array, ""]
    ) -> tuple[UInt8[Array, "3 H W"], Factors]:
        k_factors, k_draw = jax.random.split(jax.random.fold_in(jax.random.key(seed), index))
        factors = sample_factors(k_factors, (index % 2).astype(jnp.int32), difficulty)
        image = draw_planes(factors, k_draw, size)
        return jnp.round(255.0 * image).astype(jnp.uint8), factors

    @jax.jit
    def chunk(
        seed: UInt32[Array, ""], start: UInt32[Array, ""], difficulty: Float[Array, ""]
    ) -> Pictures:
        return jax.vmap(one, in_axes=(None, 0, None))(seed, start + offsets, difficulty)

    return chunk


def _check(num: int, seed: int, size: int, difficulty: float) -> None:
    if not 8 <= size <= 1024:
        raise InputError(f"image_size {size} is out of range; give 8 to 1024 (0: {DEFAULT_SIZE})")
    if not 0.0 <= difficulty <= 1.0:
        raise InputError(f"difficulty {difficulty} is out of range; give 0 (easy) to 1 (hard)")
    if not 0 <= seed < 2**32:
        raise InputError(f"seed {seed} is out of range; give 0 to {2**32 - 1}")
    if num < 1:
        raise InputError(f"{num} drawn pictures are too few; give a count of 1 or more")
    if num > FIRST["valid"]:
        raise InputError(f"{num} drawn pictures are too many; give at most {FIRST['valid']}")
    check_memory(num, size)


def load(
    *,
    data_dir: str | None = None,
    classes: tuple[str, ...] = (),
    image_size: int = 0,
    download: bool = False,
    difficulty: float = DEFAULT_DIFFICULTY,
    num_train: int = 4000,
    num_valid: int = 500,
    num_test: int = 1000,
    seed: int = 0,
) -> Dataset:
    """Draw train, validation and test pictures.

    Args:
      data_dir, download: not used, there is nothing to read.
      classes: () or ('cat', 'dog').
      image_size: 8..1024 pixels; 0 means 32.
      difficulty: 0..1: how many cues mislead, how strong pose, clutter, noise and occlusion are.
      num_train, num_valid, num_test: counts ≥ 1.
      seed: 0..2³²-1; another seed is another data set.

    Returns:
      The data set, with the drawing factors of every picture.

    Raises:
      InputError: a setting out of range, or more pictures than memory holds.
    """
    del data_dir, download
    if tuple(classes) not in ((), CLASS_NAMES):
        raise InputError(
            f"classes {','.join(classes)!r}: the drawn pictures have only cat,dog in this order; "
            "leave the classes out or give cat,dog"
        )
    size = image_size or DEFAULT_SIZE
    counts = {"train": num_train, "valid": num_valid, "test": num_test}
    for num in counts.values():
        _check(num, seed, size, difficulty)
    check_memory(sum(counts.values()), size)
    settings = {
        "source": "procedural",
        "difficulty": float(difficulty),
        "seed": seed,
        "image_size": size,
        "num_train": num_train,
        "num_valid": num_valid,
        "num_test": num_test,
    }
    if KEPT[0] <= 3 * size**2 * sum(counts.values()) <= KEPT[1]:
        return cached({**settings, **_drawn_by()}, lambda: _draw_all(counts, settings))
    return _draw_all(counts, settings)


def _draw_all(counts: dict[str, int], settings: dict[str, Any]) -> Dataset:
    parts = {}
    for part, num in counts.items():
        images, labels, factors = generate(
            num,
            seed=settings["seed"],
            size=settings["image_size"],
            difficulty=settings["difficulty"],
            first=FIRST[part],
        )
        ids = tuple(f"{part}/{i:07d}" for i in range(num))
        parts[part] = Split(images, labels, ids, factors)
    digest = fingerprint(parts["train"], parts["valid"], parts["test"])
    return Dataset(
        "procedural",
        train=parts["train"],
        valid=parts["valid"],
        test=parts["test"],
        class_names=CLASS_NAMES,
        provenance={**settings, "fingerprint": digest},
    )


def _drawn_by() -> dict[str, Any]:
    """Collect what decides the last bits of a picture besides its settings: program and machine."""
    text = hashlib.sha256()
    for path in [*sorted(Path(__file__).parent.glob("drawing*.py")), Path(__file__)]:
        text.update(path.read_bytes())
    return {
        "program": text.hexdigest(),
        "jaxlib": jaxlib.version.__version__,
        "devices": [jax.default_backend(), jax.local_devices()[0].device_kind],
        "processor": processor_digest(),
        "flags": [os.environ.get("XLA_FLAGS", ""), str(jax.config.values["jax_enable_x64"])],
    }


DATASETS = {
    "procedural": DatasetSpec(
        load=load,
        models="linear,mlp:width=64,cnn:widths=8-16-32:head=flatten,"
        "resnet:widths=8-16-32:stem_stride=2:head=flatten",
    )
}
