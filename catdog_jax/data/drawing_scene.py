"""What surrounds a drawn animal: background, light, and things that stand in the way."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from catdog_jax.data.drawing_factors import Factors
from catdog_jax.data.drawing_shapes import Canvas, box, cover, ellipse, hsv, paint

Plane = Float[Array, "H W"]
NUM_CLUTTER = 6


def background(f: Factors, u: Float[Array, "58"], x: Plane, y: Plane, pixel: float) -> Canvas:
    """Paint a gradient of two colours and on it the share `clutter` of six shapes."""
    u, rows = u[:4], u[4:].reshape(NUM_CLUTTER, 9)
    angle = 2.0 * jnp.pi * u[0]
    along = 0.5 + 0.4 * (jnp.cos(angle) * x + jnp.sin(angle) * y)
    value = f["background_value"]
    first = hsv(f["background_hue"], 0.15 + 0.45 * u[1], value + 0.12)
    second = hsv(f["background_hue"] + 0.18 * (u[2] - 0.5), 0.15 + 0.45 * u[3], value - 0.10)
    canvas = first[:, None, None] + (second - first)[:, None, None] * along[None]

    def add(i: Int[Array, ""], canvas: Canvas) -> Canvas:
        u = rows[i]
        shown = jnp.where(i < NUM_CLUTTER * f["clutter"], 0.75, 0.0)
        turn = 2.0 * jnp.pi * u[0]
        px, py = x - 1.1 * (2.0 * u[1] - 1.0), y - 1.1 * (2.0 * u[2] - 1.0)
        cos, sin = jnp.cos(turn), jnp.sin(turn)
        px, py = cos * px + sin * py, cos * py - sin * px
        width, height = 0.08 + 0.30 * u[3], 0.08 + 0.22 * u[4]
        is_box = jnp.where(u[5] < 0.5, 1.0, 0.0)
        distance = ellipse(px, py, width, height)
        distance = distance + is_box * (box(px, py, width, height) - distance)
        colour = hsv(u[6], 0.15 + 0.6 * u[7], jnp.clip(value + 0.7 * (u[8] - 0.5), 0.08, 0.98))
        return paint(canvas, shown * cover(distance, pixel), colour)

    # A loop, since six copies would take seconds to compile.
    return jax.lax.fori_loop(0, NUM_CLUTTER, add, canvas)


def light(f: Factors, canvas: Canvas, x: Plane, y: Plane, relief: Plane) -> Canvas:
    """Brighten the side that faces the light.

    Args:
      f: factors.
      canvas: what is painted so far.
      x, y: picture coordinates.
      relief: the share of light that the animal's roundness turns towards or away, about -1..1.
    """
    across = jnp.cos(f["light_angle"]) * x + jnp.sin(f["light_angle"]) * y
    return canvas * (1.0 + f["light_strength"] * (0.20 * across + 0.30 * relief))[None]


def occlude(
    f: Factors, u: Float[Array, "7"], canvas: Canvas, x: Plane, y: Plane, pixel: float
) -> Canvas:
    """Put a bar or a blob in front; `occlusion` is its size, 0 none."""
    turn = jnp.pi * u[0]
    px, py = x - 1.2 * (u[1] - 0.5), y - 1.2 * (u[2] - 0.5)
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    px, py = cos * px + sin * py, cos * py - sin * px
    bar = jnp.abs(px) - 0.32 * f["occlusion"]
    blob = ellipse(px, py, 0.5 * f["occlusion"] + 0.1, 0.8 * f["occlusion"] + 0.1)
    distance = jnp.where(u[3] < 0.5, bar, blob)
    shown = jnp.where(f["occlusion"] > 0.0, 1.0, 0.0)
    colour = hsv(u[4], 0.2 + 0.5 * u[5], 0.25 + 0.6 * u[6])
    return paint(canvas, shown * cover(distance, pixel), colour)
