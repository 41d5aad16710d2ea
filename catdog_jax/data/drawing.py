"""Draws a cat or a dog from its factors, as one pure function of plane geometry.

Everything is a signed distance, painted back to front on a canvas [3, H, W].
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from catdog_jax.data import drawing_animal as animal
from catdog_jax.data import drawing_scene as scene
from catdog_jax.data.drawing_face import face
from catdog_jax.data.drawing_factors import DEFAULT_DIFFICULTY, Factors, sample_factors
from catdog_jax.data.drawing_shapes import Canvas, cover, line, paint
from catdog_jax.types import Key


def draw(factors: Factors, key: Key, size: int) -> Float[Array, "H W 3"]:
    """Draw one picture.

    Args:
      factors: as `sample_factors` gives them.
      key: typed key for what the factors leave open: clutter, spots, what stands in front, noise.
      size: height and width in pixels, static.

    Returns:
      RGB in 0..1, float32.
    """
    return draw_planes(factors, key, size).transpose(1, 2, 0)


def draw_planes(factors: Factors, key: Key, size: int) -> Float[Array, "3 H W"]:
    """Draw one picture as three planes, red, green and blue.

    The same as `draw`, and on CPU twice as fast in bulk: a transposition at the end of the
    program makes XLA compute the last shapes once per colour.
    """
    f = factors
    k_free, k_noise = jax.random.split(key)
    u = jax.random.uniform(k_free, (92,))
    pixel = 2.0 / size
    ticks = (jnp.arange(size, dtype=jnp.float32) + 0.5) * pixel - 1.0
    x = jnp.broadcast_to(ticks[None, :], (size, size))
    y = jnp.broadcast_to(-ticks[:, None], (size, size))

    at = animal.head_frame(f, x, y, pixel)
    colours = animal.coat(f)
    canvas = scene.background(f, u[:58], x, y, pixel)
    below = animal.head_frame(f, x, y, pixel, turn=0.35)
    canvas, body_mask = animal.body(f, colours, canvas, below)
    both_ears = animal.ears(f, at)
    canvas, ear_mask = animal.ears_behind(f, colours, canvas, at, both_ears)
    distance = animal.head(f, at)
    mask = cover(distance, at.pixel)
    canvas = paint(canvas, cover(distance - 0.06, at.pixel), colours.outline)
    canvas = paint(canvas, mask, colours.base)
    canvas = animal.pattern(f, u[58:85], colours, canvas, at, mask)
    canvas = paint(canvas, 0.35 * mask * line(distance, 0.14, at.pixel), colours.outline)
    canvas = face(f, colours, canvas, at, mask)
    canvas = animal.ears_in_front(f, colours, canvas, at, both_ears)

    angle = f["light_angle"] - f["tilt"]
    towards = jnp.clip(jnp.cos(angle) * at.x + jnp.sin(angle) * at.y, -1.2, 1.2)
    relief = towards * jnp.maximum(jnp.maximum(mask, ear_mask), 0.6 * body_mask)
    canvas = scene.light(f, canvas, x, y, relief)
    canvas = scene.occlude(f, u[85:], canvas, x, y, pixel)
    canvas = canvas + f["noise"] * _grain(k_noise, size)
    return jnp.clip(canvas, 0.0, 1.0)


def render(
    key: Key,
    label: Int[Array, ""] | int,
    size: int,
    difficulty: Float[Array, ""] | float = DEFAULT_DIFFICULTY,
) -> Float[Array, "H W 3"]:
    """Draw one picture of a class, its factors sampled from the key.

    Args:
      key: typed key; the picture is a function of it.
      label: 0 cat, 1 dog.
      size: height and width in pixels, static.
      difficulty: 0..1, see `sample_factors`.

    Returns:
      RGB in 0..1, float32.
    """
    k_factors, k_draw = jax.random.split(key)
    return draw(sample_factors(k_factors, label, difficulty), k_draw, size)


def _grain(key: Key, size: int) -> Canvas:
    """Draw noise of mean 0 and deviation 1, each value the sum of four random bytes.

    Nearly normal, and a third of the compilation of `jax.random.normal`.
    """
    bits = jax.random.bits(key, (3, size, size), jnp.uint32)
    total = sum((bits >> shift) & 255 for shift in (0, 8, 16, 24))
    return (jnp.asarray(total, jnp.float32) - 510.0) / 147.8
