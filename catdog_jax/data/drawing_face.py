"""Paints the face of a drawn animal: blaze, eyes, muzzle, mouth, tongue, nose and whiskers.

Near parts move further than far ones as the head yaws, which is all the depth there is.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from catdog_jax.data.drawing_animal import Coat, Frame
from catdog_jax.data.drawing_factors import Factors
from catdog_jax.data.drawing_shapes import (
    Canvas,
    Colour,
    cone,
    cover,
    ellipse,
    fade,
    hsv,
    join,
    line,
    paint,
    segment,
)

Plane = Float[Array, "H W"]
Scalar = Float[Array, ""]
DARK = (0.09, 0.07, 0.08)


def _luminance(colour: Colour) -> Scalar:
    return 0.30 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


def face(f: Factors, colours: Coat, canvas: Canvas, at: Frame, mask: Plane) -> Canvas:
    """Paint everything on the front of the head; `mask` is the head's cover."""
    canvas = _blaze(f, colours, canvas, at, mask)
    canvas = _eyes(f, canvas, at)
    return _muzzle(f, colours, canvas, at)


def _blaze(f: Factors, colours: Coat, canvas: Canvas, at: Frame, mask: Plane) -> Canvas:
    """Paint the white stripe from forehead to muzzle."""
    x = at.x - 0.20 * f["yaw"]
    stripe = cone(x, at.y, (0.0, 0.55), (0.0, -0.35), 0.05, 0.34)
    return paint(canvas, f["white"] * mask * cover(stripe, at.pixel), colours.pale)


def _eyes(f: Factors, canvas: Canvas, at: Frame) -> Canvas:
    """Paint iris, pupil and a spark of light, both eyes at once by mirroring."""
    centre = 0.14 * f["yaw"]
    side = jnp.sign(at.x - centre)
    x, y = jnp.abs(at.x - centre) - 0.42, at.y - 0.14
    cos, sin = jnp.cos(f["eye_slant"]), jnp.sin(f["eye_slant"])
    x, y = cos * x + sin * y, cos * y - sin * x
    size = f["eye_size"]
    height = size * f["eye_open"]
    dark = jnp.array(DARK)
    ball = ellipse(x, y, size, height)
    inside = cover(ball, at.pixel)
    canvas = paint(canvas, cover(ball - 0.05, at.pixel), dark)
    lower = fade(-y / size, -0.6, 0.9)
    iris = hsv(f["iris_hue"], 0.78, 0.58 + 0.34 * fade(f["iris_hue"], 0.08, 0.2))
    canvas = paint(canvas, inside, iris)
    canvas = paint(canvas, inside * lower * 0.35, jnp.minimum(iris * 1.5, 1.0))
    tall = jnp.minimum(0.92 * height, size * (0.62 + 0.3 * (1.0 - f["pupil_width"])))
    pupil = ellipse(x, y, 0.80 * size * f["pupil_width"], tall)
    canvas = paint(canvas, jnp.minimum(inside, cover(pupil, at.pixel)), dark)
    px, py = x * side + 0.32 * size, y - 0.36 * size
    spark = jnp.sqrt(px**2 + py**2 + 1e-9) - 0.24 * size
    return paint(canvas, cover(spark, at.pixel) * 0.95, jnp.ones(3))


def _muzzle(f: Factors, colours: Coat, canvas: Canvas, at: Frame) -> Canvas:
    """Paint the snout, and on it mouth, tongue, whiskers and nose."""
    length, width = f["muzzle_length"], f["muzzle_width"]
    x, mx = at.x - 0.30 * f["yaw"], jnp.abs(at.x - 0.30 * f["yaw"])
    y = at.y + 0.06 * length
    puff = ellipse(mx - 0.48 * width, y + 0.45, 0.62 * width, 0.22 + 0.12 * length)
    ridge = cone(x, y, (0.0, -0.10 + 0.22 * length), (0.0, -0.52), 0.16 + 0.05 * length, 0.24)
    chin = ellipse(x, y + 0.64 + 0.10 * length, 0.24, 0.16 + 0.05 * length)
    snout = join(join(puff, ridge + 0.10 * (1.0 - length), 0.14), chin, 0.10)
    tone = 0.45 + 0.55 * f["white"]
    fill = colours.base + (colours.pale - colours.base) * tone
    shade = line(snout, 0.035, at.pixel) * (0.25 + 0.35 * length)
    canvas = paint(canvas, cover(snout, at.pixel), fill)
    canvas = paint(canvas, shade * fade(-y, 0.15, 0.5), colours.outline)
    nose_y = -0.24 - 0.04 * length
    canvas = _mouth(f, canvas, x, y, nose_y, at)
    canvas = _whiskers(f, colours, canvas, mx, y, at)
    return _nose(f, canvas, x, y - nose_y, at)


def _mouth(f: Factors, canvas: Canvas, x: Plane, y: Plane, nose_y: Scalar, at: Frame) -> Canvas:
    dark = jnp.array(DARK)
    smile = 0.13 + 0.30 * f["muzzle_width"] * 0.5
    corner_y = -0.52 - 0.05 * f["muzzle_length"]
    tongue_length = 0.42 * fade(f["tongue"], 0.15, 0.9) + 0.02
    shown = fade(f["tongue"], 0.15, 0.35)
    start, end = (0.0, corner_y - 0.08), (0.0, corner_y - 0.08 - tongue_length)
    tongue = cone(x, y, start, end, 0.12, 0.15)
    canvas = paint(canvas, shown * cover(tongue - 0.04, at.pixel), dark)
    canvas = paint(canvas, shown * cover(tongue, at.pixel), jnp.array([0.93, 0.42, 0.47]))
    stem, _ = segment(x, y, (0.0, nose_y), (0.0, corner_y - 0.06))
    arc = jnp.sqrt((jnp.abs(x) - smile) ** 2 + (y - corner_y) ** 2 + 1e-9) - smile
    arc = jnp.maximum(jnp.abs(arc), (y - corner_y) * 1.0)
    return paint(canvas, line(jnp.minimum(stem, arc), 0.03, at.pixel), dark)


def _whiskers(f: Factors, colours: Coat, canvas: Canvas, mx: Plane, y: Plane, at: Frame) -> Canvas:
    length = f["whisker_length"]
    shown = fade(length, 0.08, 0.30)
    mask = jnp.zeros_like(mx)
    for i in range(3):
        rise = 0.28 - 0.26 * i
        start = (0.42 * f["muzzle_width"] + 0.10, -0.40 - 0.07 * i)
        end = (start[0] + 1.15 * length, start[1] + rise * length)
        distance, along = segment(mx, y, start, end)
        mask = jnp.maximum(mask, line(distance, 0.030 - 0.014 * along, at.pixel))
    bright = fade(_luminance(colours.base), 0.50, 0.62)
    colour = jnp.array([0.98, 0.98, 0.96]) * (1.0 - bright) + jnp.array(DARK) * bright
    return paint(canvas, shown * mask * 0.9, colour)


def _nose(f: Factors, canvas: Canvas, x: Plane, y: Plane, at: Frame) -> Canvas:
    size = f["nose_size"]
    narrow = 1.0 - 0.75 * f["nose_triangle"] * jnp.clip(0.35 - y / size, 0.0, 1.0) * 0.8
    shape = ellipse(x / narrow, y, size * 1.15, size * 0.78)
    pink, black = jnp.array([0.90, 0.50, 0.52]), jnp.array([0.13, 0.10, 0.11])
    colour = black + (pink - black) * f["nose_pink"]
    canvas = paint(canvas, cover(shape - 0.03, at.pixel), colour * 0.45)
    canvas = paint(canvas, cover(shape, at.pixel), colour)
    spark = ellipse(x + 0.25 * size, y - 0.30 * size, 0.32 * size, 0.17 * size)
    return paint(canvas, 0.6 * cover(spark, at.pixel), jnp.ones(3))
