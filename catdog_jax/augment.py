"""Random changes of pictures that keep their class, drawn inside the program from a key.

Each entry of AUGMENTATIONS is (key, images [B, H, W, C]) -> images of the same shape and dtype.
They work on pictures as the data set holds them, 0..255.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Num

from catdog_jax.registry import split_list
from catdog_jax.types import Key

Augment = Callable[[Key, Array], Array]


def flip(key: Key, images: Num[Array, "B H W C"]) -> Num[Array, "B H W C"]:
    """Mirror each picture left to right with probability one half."""
    mirrored = jax.random.bernoulli(key, 0.5, (images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


def shift(key: Key, images: Num[Array, "B H W C"]) -> Num[Array, "B H W C"]:
    """Move each picture by up to an eighth of its size, mirroring what comes in at the edge.

    Source: He et al. 2016, "Deep Residual Learning", sec. 4.2 (4 pixels of 32), with mirrored
    instead of black borders.
    """
    num, height, width, channels = images.shape
    reach = max(1, height // 8), max(1, width // 8)
    padded = jnp.pad(images, ((0, 0), (reach[0],) * 2, (reach[1],) * 2, (0, 0)), mode="reflect")
    rows = padded.reshape(num, padded.shape[1], -1)
    corners = jax.random.randint(
        key, (num, 2), 0, jnp.array([[2 * reach[0] + 1, 2 * reach[1] + 1]], jnp.int32)
    )

    def crop(picture: tuple[Array, Array]) -> Array:
        rows, corner = picture
        start = corner[0], corner[1] * channels
        return jax.lax.dynamic_slice(rows, start, (height, width * channels))

    # Picture by picture rows are copied whole on a CPU, in 50 µs for 128 of 32×32; as one gather,
    # where an index is computed for every number, in 820 (one Zen4 core, jax 0.10.2).
    shifted = jax.lax.platform_dependent(
        (rows, corners), cpu=lambda pictures: jax.lax.map(crop, pictures), default=jax.vmap(crop)
    )
    return shifted.reshape(images.shape)


def cutout(
    key: Key, images: Num[Array, "B H W C"], fill: Sequence[float] = (127.0,)
) -> Num[Array, "B H W C"]:
    """Blank a square of about a quarter of the height (7 pixels of 32) at a random place.

    The blank is `fill`, rounded: C numbers, or one, like the mean colour of the training pictures.

    Source: DeVries and Taylor 2017, "Improved Regularization with Cutout".
    """
    num, height, width, _ = images.shape
    half = max(1, height // 8)
    centres = jax.random.randint(key, (num, 2), 0, jnp.array([[height, width]], jnp.int32))
    rows = jnp.abs(jnp.arange(height)[None, :] - centres[:, :1]) < half
    columns = jnp.abs(jnp.arange(width)[None, :] - centres[:, 1:]) < half
    hole = rows[:, :, None, None] & columns[:, None, :, None]
    blank = jnp.round(jnp.asarray(fill)).astype(images.dtype)[None, None, None]
    return jnp.where(hole, blank, images)


AUGMENTATIONS: dict[str, Augment] = {"flip": flip, "shift": shift, "cutout": cutout}


def parse_augment(text: str) -> tuple[str, ...]:
    """Read 'flip,shift' or 'none'.

    Raises:
      InputError: an unknown name, or one given twice.
    """
    return () if text.strip() == "none" else split_list("augment", text, AUGMENTATIONS)


def augmenter(names: Sequence[str], mean: Sequence[float] = (0.5,)) -> Augment | None:
    """Chain augmentations, each with a key of its own; None where there is nothing to do.

    Args:
      names: of AUGMENTATIONS.
      mean: of each channel, or of all, pixels in 0..1: what holes are filled with.
    """
    if not names:
        return None
    changes = AUGMENTATIONS | {"cutout": functools.partial(cutout, fill=[255 * x for x in mean])}

    def augment(key: Key, images: Array) -> Array:
        for name, change_key in zip(names, jax.random.split(key, len(names)), strict=True):
            images = changes[name](change_key, images)
        return images

    return augment
