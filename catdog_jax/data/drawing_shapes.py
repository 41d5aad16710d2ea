"""Signed distances to plane shapes, how they cover pixels, and colours.

A signed distance is negative inside a shape, positive outside, in the units of the coordinates.
B pictures at a time: coordinates are planes [B, H, W], and sizes, one a picture, [B, 1, 1]. By
numpy, since XLA takes longer to compile thousands of small operations than they take.
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Float

Plane: TypeAlias = Float[np.ndarray, "..."]
Number: TypeAlias = Float[np.ndarray, "..."] | float
Point = tuple[Number, Number]
Colour = Float[np.ndarray, "3 ..."]
Canvas = Float[np.ndarray, "3 B H W"]


def turned(x: Plane, y: Plane, angle: Number) -> tuple[Plane, Plane]:
    """Measure coordinates along axes that are turned by an angle, in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * x + sin * y, cos * y - sin * x


def ellipse(x: Plane, y: Plane, rx: Number, ry: Number) -> Plane:
    """Measure the distance to an ellipse at the origin, to first order.

    Args:
      x, y: coordinates.
      rx, ry: radii > 0.

    Returns:
      Signed distance, exact on the edge, shape of `x`.

    Source: Quilez, "Ellipsoid - distance", 2008 (value over gradient).
    """
    value = np.sqrt((x / rx) ** 2 + (y / ry) ** 2 + 1e-9)
    slope = np.sqrt((x / rx**2) ** 2 + (y / ry**2) ** 2 + 1e-9)
    return value * (value - 1.0) / slope


def box(x: Plane, y: Plane, half_width: Number, half_height: Number) -> Plane:
    """Measure the distance to a box at the origin with the given half sizes."""
    dx, dy = np.abs(x) - half_width, np.abs(y) - half_height
    outside = np.sqrt(np.maximum(dx, 0.0) ** 2 + np.maximum(dy, 0.0) ** 2)
    return outside + np.minimum(np.maximum(dx, dy), 0.0)


def segment(x: Plane, y: Plane, start: Point, end: Point) -> tuple[Plane, Plane]:
    """Measure the distance to a line segment.

    Returns:
      The distance (≥ 0), and where along the segment the nearest point lies, 0..1.
    """
    px, py = x - start[0], y - start[1]
    vx, vy = end[0] - start[0], end[1] - start[1]
    along = np.clip((px * vx + py * vy) / (vx * vx + vy * vy + 1e-9), 0.0, 1.0)
    return np.sqrt((px - vx * along) ** 2 + (py - vy * along) ** 2 + 1e-12), along


def cone(
    x: Plane, y: Plane, start: Point, end: Point, start_radius: Number, end_radius: Number
) -> Plane:
    """Measure the distance to two discs and the straight sides that touch both.

    Source: Quilez, "Uneven Capsule 2D - distance", 2018.
    """
    px, py = x - start[0], y - start[1]
    vx, vy = end[0] - start[0], end[1] - start[1]
    h = np.maximum(vx * vx + vy * vy, (start_radius - end_radius) ** 2 + 1e-4)
    across, along = np.abs(px * vy - py * vx) / h, (px * vx + py * vy) / h
    b = start_radius - end_radius
    c = np.sqrt(h - b * b)
    k, m = c * along - b * across, c * across + b * along
    n = across**2 + along**2
    near = np.sqrt(h * n + 1e-12) - start_radius
    far = np.sqrt(np.maximum(h * (n + 1.0 - 2.0 * along), 1e-12)) - end_radius
    return np.where(k < 0.0, near, np.where(k > c, far, m - start_radius))


def join(a: Plane, b: Plane, softness: Number) -> Plane:
    """Unite two shapes, rounding the corner between them.

    Source: Quilez, "Smooth minimum", 2013, quadratic polynomial.
    """
    h = np.maximum(softness - np.abs(a - b), 0.0) / softness
    return np.minimum(a, b) - h * h * softness * 0.25


def fade(value: Plane, low: Number, high: Number) -> Plane:
    """Rise smoothly from 0 where value ≤ low to 1 where value ≥ high."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def hsv(hue: Number, saturation: Number, value: Number) -> Colour:
    """Turn hue, saturation and value (each 0..1, hue periodic) into RGB."""
    k = (np.array([5.0, 3.0, 1.0], np.float32)[:, None, None, None] + 6.0 * hue) % 6.0
    return value - value * saturation * np.clip(np.minimum(k, 4.0 - k), 0.0, 1.0)


class Painter:
    """Pictures on the way: their canvas [3, B, H, W], painted back to front.

    Attributes:
      canvas: what is painted so far.
      x, y: coordinates of the pixels.
      pixel: width of a pixel in them.
    """

    def __init__(self, canvas: Canvas, x: Plane, y: Plane, pixel: Number) -> None:
        self.canvas, self.x, self.y, self.pixel = canvas, x, y, pixel

    def paint(self, mask: Plane, colour: Colour) -> None:
        """Lay a colour over the canvas where the mask (0..1) says so."""
        self.canvas += (colour - self.canvas) * mask

    def cover(self, distance: Plane, soft: Number = 0.0) -> Plane:
        """Estimate how much of each pixel a shape covers, 0..1.

        Args:
          distance: signed distance.
          soft: width of a blurred edge, besides a pixel.
        """
        t = np.clip(0.5 - distance / (1.3 * (self.pixel + soft)), 0.0, 1.0)
        return t * t * (3.0 - 2.0 * t)

    def line(self, distance: Plane, half_width: Number, soft: Number = 0.0) -> Plane:
        """Estimate how much of each pixel a stroke covers; strokes below a pixel turn pale, 0..1.

        Args:
          distance: distance to the middle of the stroke; the sign does not matter.
          half_width: half its width.
          soft: width of a blurred edge, besides a pixel.
        """
        pixel = self.pixel + soft
        strength = np.minimum(1.0, 2.0 * half_width / pixel)
        distance = np.abs(distance) - np.maximum(half_width, 0.5 * pixel)
        return self.cover(distance, soft) * strength

    def fill(
        self, distance: Plane, colour: Colour, rim: Number, outline: Colour, shown: Number = 1.0
    ) -> Plane:
        """Paint a shape and an outline around it, `rim` wide; return the shape's cover."""
        mask = self.cover(distance)
        self.paint(shown * self.cover(distance - rim), outline)
        self.paint(shown * mask, colour)
        return mask
