"""Draws a cat or a dog from its factors, as one pure function of plane geometry.

Everything is a signed distance, painted back to front on a canvas [3, H, W].
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from catdog_jax.data.drawing_animal import animal
from catdog_jax.data.drawing_factors import Factors
from catdog_jax.data.drawing_shapes import Canvas, Painter, box, ellipse, hsv, paint, turned
from catdog_jax.types import Key

NUM_CLUTTER = 6


def draw(factors: Factors, key: Key, size: int) -> Float[Array, "3 H W"]:
    """Draw one picture as three planes, red, green and blue.

    Pixels come last: a transposition at the end of the program would make XLA on CPU compute the
    last shapes once per colour, which takes twice as long.

    Args:
      factors: as `sample_factors` gives them.
      key: typed key for what the factors leave open: clutter, spots, what stands in front, noise.
      size: height and width in pixels, static.

    Returns:
      RGB in 0..1, float32.
    """
    f = factors
    k_free, k_noise = jax.random.split(key)
    u = jax.random.uniform(k_free, (92,))
    painter = _background(f, u[:58], size)
    relief = animal(f, u[58:85], painter)
    across, _ = turned(painter.x, painter.y, f["light_angle"])
    light = (1.0 + f["light_strength"] * (0.20 * across + 0.30 * relief))[None]
    painter.canvas = painter.canvas * light
    _occlude(f, u[85:], painter)
    return jnp.clip(painter.canvas + f["noise"] * _grain(k_noise, size), 0.0, 1.0)


def _background(f: Factors, u: Float[Array, "58"], size: int) -> Painter:
    """Begin with a gradient of two colours and on it the share `clutter` of six shapes."""
    pixel = 2.0 / size
    ticks = (jnp.arange(size, dtype=jnp.float32) + 0.5) * pixel - 1.0
    x = jnp.broadcast_to(ticks[None, :], (size, size))
    y = jnp.broadcast_to(-ticks[:, None], (size, size))
    u, rows = u[:4], u[4:].reshape(NUM_CLUTTER, 9)
    along = 0.5 + 0.4 * turned(x, y, 2.0 * jnp.pi * u[0])[0]
    value = f["background_value"]
    first = hsv(f["background_hue"], 0.15 + 0.45 * u[1], value + 0.12)
    second = hsv(f["background_hue"] + 0.18 * (u[2] - 0.5), 0.15 + 0.45 * u[3], value - 0.10)
    canvas = first[:, None, None] + (second - first)[:, None, None] * along[None]
    painter = Painter(canvas, x, y, pixel)

    def add(i: Int[Array, ""], canvas: Canvas) -> Canvas:
        u = rows[i]
        shown = jnp.where(i < NUM_CLUTTER * f["clutter"], 0.75, 0.0)
        px, py = x - 1.1 * (2.0 * u[1] - 1.0), y - 1.1 * (2.0 * u[2] - 1.0)
        px, py = turned(px, py, 2.0 * jnp.pi * u[0])
        width, height = 0.08 + 0.30 * u[3], 0.08 + 0.22 * u[4]
        is_box = jnp.where(u[5] < 0.5, 1.0, 0.0)
        distance = ellipse(px, py, width, height)
        distance = distance + is_box * (box(px, py, width, height) - distance)
        colour = hsv(u[6], 0.15 + 0.6 * u[7], jnp.clip(value + 0.7 * (u[8] - 0.5), 0.08, 0.98))
        return paint(canvas, shown * painter.cover(distance), colour)

    # A loop, since six copies would take seconds to compile.
    painter.canvas = jax.lax.fori_loop(0, NUM_CLUTTER, add, canvas)
    return painter


def _occlude(f: Factors, u: Float[Array, "7"], painter: Painter) -> None:
    """Put a bar or a blob in front; `occlusion` is its size, 0 none."""
    px, py = painter.x - 1.2 * (u[1] - 0.5), painter.y - 1.2 * (u[2] - 0.5)
    px, py = turned(px, py, jnp.pi * u[0])
    bar = jnp.abs(px) - 0.32 * f["occlusion"]
    blob = ellipse(px, py, 0.5 * f["occlusion"] + 0.1, 0.8 * f["occlusion"] + 0.1)
    distance = jnp.where(u[3] < 0.5, bar, blob)
    shown = jnp.where(f["occlusion"] > 0.0, 1.0, 0.0)
    colour = hsv(u[4], 0.2 + 0.5 * u[5], 0.25 + 0.6 * u[6])
    painter.paint(shown * painter.cover(distance), colour)


def _grain(key: Key, size: int) -> Canvas:
    """Draw noise of mean 0 and deviation 1, each value the sum of four random bytes.

    Nearly normal, and a third of the compilation of `jax.random.normal`.
    """
    bits = jax.random.bits(key, (3, size, size), jnp.uint32)
    total = sum((bits >> shift) & 255 for shift in (0, 8, 16, 24))
    return (jnp.asarray(total, jnp.float32) - 510.0) / 147.8
