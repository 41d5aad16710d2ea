"""The embedded data set: cats and dogs drawn by a pure function, as many as one likes.

Picture `i` of seed `s` is a function of (s, i), the size and the difficulty, nothing else.
"""

import functools
import hashlib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from catdog_jax.data import threefry
from catdog_jax.data.assemble import check_cat_dog, generated
from catdog_jax.data.cache import cached
from catdog_jax.data.drawing import NUM_FREE, draw
from catdog_jax.data.drawing_factors import DEFAULT_DIFFICULTY, NUM_UNIFORM, Factors, sample_factors
from catdog_jax.data.pictures import Progress, check_memory, in_threads
from catdog_jax.host import processor_digest
from catdog_jax.registry import Range
from catdog_jax.types import Dataset, DatasetSpec

# Where each part's picture numbers begin: far enough apart never to meet.
FIRST = {"train": 0, "valid": 2**30, "test": 2**31}
# Bytes of pictures that are kept between runs: fewer are drawn at once, more would fill the disk.
KEPT = (2**22, 2**28)


def generate(
    num: int,
    *,
    seed: int,
    size: int,
    difficulty: float = DEFAULT_DIFFICULTY,
    first: int = 0,
    progress: Progress = lambda done, total: None,
) -> tuple[UInt8[np.ndarray, "N H W 3"], Int[np.ndarray, " N"], dict[str, Float[np.ndarray, " N"]]]:
    """Draw pictures `first` to `first + num - 1`; even numbers are cats, odd ones dogs.

    Args:
      num: N ≥ 1.
      seed: 0..2³²-1.
      size: height and width in pixels, 8..1024.
      difficulty: 0..1.
      first: number of the first picture, ≥ 0.
      progress: called with (pieces that are drawn, pieces).

    Returns:
      images [N, H, W, 3] uint8; labels [N] int32, 0 cat, 1 dog; factors, name -> [N] float32,
      as `sample_factors` describes them.
    """
    # A power of two with about 2¹⁶ pixels: a plane of them fits the cache.
    per_chunk = max(1, min(256, 2 ** ((2**16 // size**2).bit_length() - 1)))
    # Chunks are aligned to the numbering, so that a picture has its bits from the same place
    # whichever others are asked for.
    starts = range(first // per_chunk * per_chunk, first + num, per_chunk)
    images = np.empty((num, size, size, 3), np.uint8)

    def fill(start: int) -> Factors:
        numbers = np.arange(start, start + per_chunk, dtype=np.uint32)
        k_factors, k_draw = threefry.split(threefry.fold_in(seed, numbers))
        k_free, k_noise = threefry.split(k_draw)
        of_factors = threefry.uniform(k_factors, NUM_UNIFORM)[..., None, None]
        free = threefry.uniform(k_free, NUM_FREE)[..., None, None]
        bits = threefry.bits(k_noise, 3 * size**2).reshape(3, size, size, -1)
        labels = (numbers % 2).astype(np.int32)
        factors = sample_factors(of_factors, labels[:, None, None], difficulty)
        drawn = draw(factors, free, np.ascontiguousarray(np.moveaxis(bits, -1, 1)))
        pictures = np.rint(255 * drawn).astype(np.uint8)
        low, high = max(start, first), min(start + per_chunk, first + num)
        wanted = pictures[:, low - start : high - start]
        images[low - first : high - first] = wanted.transpose(1, 2, 3, 0)
        return {name: values.reshape(-1) for name, values in factors.items()}

    known = in_threads(fill, starts, progress)
    wanted = slice(first - starts[0], first - starts[0] + num)
    factors = {name: np.concatenate([x[name] for x in known])[wanted] for name in known[0]}
    labels = (np.arange(first, first + num) % 2).astype(np.int32)
    return images, labels, factors


def load(
    *,
    classes: tuple[str, ...] = (),
    image_size: int = 0,
    difficulty: Annotated[float, Range(0, 1)] = DEFAULT_DIFFICULTY,
    num_train: Annotated[int, Range(1, FIRST["valid"])] = 4000,
    num_valid: Annotated[int, Range(1, FIRST["valid"])] = 500,
    num_test: Annotated[int, Range(1, FIRST["valid"])] = 1000,
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0,
    progress: Progress = lambda done, total: None,
) -> Dataset:
    """Draw train, validation and test pictures.

    Args:
      classes: () or ('cat', 'dog').
      image_size: 8..1024 pixels; 0 means 32.
      difficulty: 0..1: how many cues mislead, how strong pose, clutter, noise and occlusion are.
      num_train, num_valid, num_test: counts ≥ 1.
      seed: 0..2³²-1; another seed is another data set.
      progress: see `generate`.

    Returns:
      The data set, with the drawing factors of every picture.

    Raises:
      InputError: a setting out of range, or more pictures than memory holds.
    """
    check_cat_dog(classes)
    size = image_size or 32
    counts = {"train": num_train, "valid": num_valid, "test": num_test}
    check_memory(sum(counts.values()), size)
    settings = {"difficulty": float(difficulty), "seed": seed, "image_size": size}

    def build() -> Dataset:
        draw = functools.partial(
            generate, seed=seed, size=size, difficulty=difficulty, progress=progress
        )
        return generated("procedural", draw, FIRST, counts, settings)

    if KEPT[0] <= 3 * size**2 * sum(counts.values()) <= KEPT[1]:
        return cached({"source": "procedural", **counts, **settings, **_drawn_by()}, build)
    return build()


def _drawn_by() -> dict[str, Any]:
    """Collect what decides the last bits of a picture besides its settings: program and machine."""
    here = Path(__file__)
    files = [*sorted(here.parent.glob("drawing*.py")), here.with_name("threefry.py"), here]
    return {
        "program": hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest(),
        "numpy": np.__version__,
        "processor": processor_digest(),
    }


DATASETS = {
    "procedural": DatasetSpec(
        load=load,
        models="linear,mlp:width=64,cnn:widths=8-16-32:head=flatten,"
        "resnet:widths=8-16-32:stem_stride=2:head=flatten",
    )
}
