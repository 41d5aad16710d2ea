"""Draws a cat or a dog from its factors, as one pure function of plane geometry.

Everything is a signed distance, painted back to front on a canvas [3, B, H, W].
"""

import numpy as np
from jaxtyping import Float, UInt32

from catdog_jax.data.drawing_animal import animal
from catdog_jax.data.drawing_factors import Factors
from catdog_jax.data.drawing_shapes import Canvas, Painter, box, ellipse, hsv, turned

NUM_CLUTTER = 6
NUM_FREE = 92  # random numbers that the factors leave open


def draw(
    factors: Factors, free: Float[np.ndarray, "92 B 1 1"], bits: UInt32[np.ndarray, "3 B H W"]
) -> Float[np.ndarray, "3 B H W"]:
    """Draw B pictures as three planes each, red, green and blue.

    Args:
      factors: as `sample_factors` gives them.
      free: 0..1, what the factors leave open: clutter, spots, what stands in front.
      bits: random, of the noise; H and W are those of the pictures, and alike.

    Returns:
      RGB in 0..1, float32.
    """
    f, u, size = factors, free, bits.shape[-1]
    painter = _background(f, u[:58], size)
    relief = animal(f, u[58:85], painter)
    across, _ = turned(painter.x, painter.y, f["light_angle"])
    painter.canvas *= 1.0 + f["light_strength"] * (0.20 * across + 0.30 * relief)
    _occlude(f, u[85:], painter)
    return np.clip(painter.canvas + f["noise"] * _grain(bits), 0.0, 1.0)


def _background(f: Factors, u: Float[np.ndarray, "58 B 1 1"], size: int) -> Painter:
    """Begin with a gradient of two colours and on it the share `clutter` of six shapes."""
    pixel = 2.0 / size
    ticks = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(pixel) - 1
    x = np.broadcast_to(ticks[None, None, :], (u.shape[1], size, size))
    y = np.broadcast_to(-ticks[None, :, None], x.shape)
    u, rows = u[:4], u[4:].reshape(NUM_CLUTTER, 9, *u.shape[1:])
    along = 0.5 + 0.4 * turned(x, y, 2.0 * np.pi * u[0])[0]
    value = f["background_value"]
    first = hsv(f["background_hue"], 0.15 + 0.45 * u[1], value + 0.12)
    second = hsv(f["background_hue"] + 0.18 * (u[2] - 0.5), 0.15 + 0.45 * u[3], value - 0.10)
    painter = Painter(first + (second - first) * along, x, y, pixel)
    for i, u in enumerate(rows):
        shown = np.float32(0.75) * (i < NUM_CLUTTER * f["clutter"])
        px, py = x - 1.1 * (2.0 * u[1] - 1.0), y - 1.1 * (2.0 * u[2] - 1.0)
        px, py = turned(px, py, 2.0 * np.pi * u[0])
        width, height = 0.08 + 0.30 * u[3], 0.08 + 0.22 * u[4]
        is_box = np.float32(1) * (u[5] < 0.5)
        distance = ellipse(px, py, width, height)
        distance = distance + is_box * (box(px, py, width, height) - distance)
        colour = hsv(u[6], 0.15 + 0.6 * u[7], np.clip(value + 0.7 * (u[8] - 0.5), 0.08, 0.98))
        painter.paint(shown * painter.cover(distance), colour)
    return painter


def _occlude(f: Factors, u: Float[np.ndarray, "7 B 1 1"], painter: Painter) -> None:
    """Put a bar or a blob in front; `occlusion` is its size, 0 none."""
    px, py = painter.x - 1.2 * (u[1] - 0.5), painter.y - 1.2 * (u[2] - 0.5)
    px, py = turned(px, py, np.pi * u[0])
    bar = np.abs(px) - 0.32 * f["occlusion"]
    blob = ellipse(px, py, 0.5 * f["occlusion"] + 0.1, 0.8 * f["occlusion"] + 0.1)
    distance = np.where(u[3] < 0.5, bar, blob)
    shown = np.float32(1) * (f["occlusion"] > 0.0)
    colour = hsv(u[4], 0.2 + 0.5 * u[5], 0.25 + 0.6 * u[6])
    painter.paint(shown * painter.cover(distance), colour)


def _grain(bits: UInt32[np.ndarray, "3 B H W"]) -> Canvas:
    """Make noise of mean 0 and deviation 1, nearly normal: each value the sum of four bytes."""
    total = bits.view(np.uint8).reshape(*bits.shape, 4).sum(-1, dtype=np.float32)
    return (total - 510) / np.float32(147.8)
