"""Paints a drawn animal: shoulders, ears, head and coat, and the face on it.

Head coordinates have radius 1, y up; ears, eyes and whiskers are drawn once and mirrored. Near
parts move further than far ones as the head yaws, which is all the depth there is.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from catdog_jax.data.drawing_factors import Factors, Scalar
from catdog_jax.data.drawing_shapes import Painter, cone, ellipse, fade, hsv, join, segment, turned

Plane = Float[np.ndarray, "B H W"]
Sides = Float[np.ndarray, "2 B 1 1"]  # left and right
Pair = tuple[Sides, Sides]  # x and y of a point
NUM_SPOTS = 8


def rgb(*parts: float) -> Float[np.ndarray, "3 1 1 1"]:
    """Mix one colour for all pictures."""
    return np.array(parts, np.float32)[:, None, None, None]


DARK = rgb(0.09, 0.07, 0.08)


class Coat(NamedTuple):
    """The colours of each animal."""

    base: Float[np.ndarray, "3 B 1 1"]
    marks: Float[np.ndarray, "3 B 1 1"]
    pale: Float[np.ndarray, "3 B 1 1"]
    outline: Float[np.ndarray, "3 B 1 1"]


def animal(f: Factors, u: Float[np.ndarray, "27 B 1 1"], scene: Painter) -> Plane:
    """Paint an animal into each picture.

    Args:
      f: factors.
      u: 0..1, what the factors leave open.
      scene: the pictures, in their own coordinates.

    Returns:
      The share of light that the animal's roundness turns towards or away, about -1..1.
    """
    coat = _coat(f)
    x, y, scale = scene.x - f["head_x"], scene.y - f["head_y"], f["scale"]
    head_x, head_y = turned(x, y, f["tilt"])
    painter = Painter(scene.canvas, head_x / scale, head_y / scale, scene.pixel / scale)
    below_x, below_y = turned(x, y, 0.35 * f["tilt"])
    body = _body(f, coat, painter, below_x / scale, below_y / scale)
    base, tip, inside, fold = _ears(f, painter)
    both = np.minimum(base, tip)
    ears = painter.fill(both, coat.base * 0.92, 0.06, coat.outline)
    # Pink shows where an ear is upright.
    painter.paint(painter.cover(inside) * (1.0 - fold), rgb(0.93, 0.62, 0.60) * 0.9)
    distance = _head(f, painter)
    head = painter.fill(distance, coat.base, 0.06, coat.outline)
    _pattern(f, u, coat, painter, head)
    painter.paint(0.35 * head * painter.line(distance, 0.14), coat.outline)
    x = painter.x - 0.20 * f["yaw"]
    blaze = cone(x, painter.y, (0.0, 0.55), (0.0, -0.35), 0.05, 0.34)  # from forehead to muzzle
    painter.paint(f["white"] * head * painter.cover(blaze), coat.pale)
    _eyes(f, painter)
    _muzzle(f, coat, painter)
    flap = coat.base * 0.35 + coat.marks * 0.45  # the folded half of the ears, over the head
    painter.fill(tip, flap, 0.06, coat.outline, fade(fold, 0.25, 0.6))
    towards, _ = turned(painter.x, painter.y, f["light_angle"] - f["tilt"])
    scene.canvas = painter.canvas
    return np.clip(towards, -1.2, 1.2) * np.maximum(np.maximum(head, ears), 0.6 * body)


def _coat(f: Factors) -> Coat:
    """Choose marks darker than a light fur and lighter than a dark one, and an outline."""
    hue, saturation, value = f["fur_hue"], f["fur_saturation"], f["fur_value"]
    marks_value = np.where(value > 0.38, 0.50 * value, value + 0.30)
    pale_value = np.clip(0.55 * value + 0.48, 0.0, 0.98)
    return Coat(
        hsv(hue, saturation, value),
        hsv(hue - 0.015, np.minimum(1.15 * saturation + 0.05, 1.0), marks_value),
        hsv(hue, 0.22 * saturation, pale_value),
        hsv(hue - 0.02, 0.5 * saturation + 0.1, 0.10 + 0.14 * value),
    )


def _body(f: Factors, coat: Coat, painter: Painter, x: Plane, y: Plane) -> Plane:
    """Paint the shoulders, a bib and a collar; also return where the animal is now."""
    width = f["body_width"]
    neck = cone(x, y, (0.0, -0.3), (0.0, -1.3), 0.62, 0.70 * width)
    shape = join(neck, ellipse(x, y + 2.3, 1.12 * width, 1.25), 0.35)
    mask = painter.fill(shape, coat.base * 0.88, 0.05, coat.outline)
    bib = painter.cover(ellipse(x, y + 1.75, 0.45 * width, 0.8))
    painter.paint(mask * bib * f["white"], coat.pale)
    band = np.abs(y + 1.16 - 0.18 * x**2) - 0.10
    shown = np.float32(1) * (f["collar"] > 0.0)
    painter.paint(shown * mask * painter.cover(band), hsv(f["collar"], 0.68, 0.68))
    return mask


def _ears(f: Factors, painter: Painter) -> tuple[Plane, Plane, Plane, Plane]:
    """Build each ear from two cones, the second bent over as `ear_hang` grows from 0 to 1.

    Returns:
      Distances to both ears: base half, tip half, and the pink inside; how folded each is, 0..1.
    """
    # All numbers below are of both sides, until `pick`.
    side = np.array([-1.0, 1.0], np.float32)[:, None, None, None]
    hang = np.clip(f["ear_hang"] + 0.45 * f["ear_asymmetry"] * side, 0.0, 1.0)
    angle = f["ear_angle"] + 0.5 * f["ear_asymmetry"] * side + 0.10 * f["yaw"] * side
    fold, drop = fade(hang, 0.12, 0.58), fade(hang, 0.45, 0.95)
    first = angle + 1.0 * drop
    second = first + 2.15 * fold - 0.45 * drop
    # Upright ears stay short: long round ones would make a rabbit.
    length = f["ear_length"] + (0.90 - f["ear_length"]) * 0.6 * (1.0 - fold)
    round_tip = f["ear_round"]
    first_length = length * (0.52 - 0.16 * drop)
    second_length = length * (0.50 + 0.28 * drop)
    base = (0.56 * f["head_width"] + 0.10 * drop, 0.56 + 0.04 * drop)
    middle = _ahead(base, first, first_length)
    tip = _ahead(middle, second, second_length)
    inner_tip = _ahead(base, first, 1.45 * first_length)
    right = painter.x > 0.0

    def pick(sides: Sides) -> Plane:
        return np.where(right, sides[1], sides[0])

    def at(point: Pair) -> tuple[Plane, Plane]:
        return pick(point[0]), pick(point[1])

    def between(start: Pair, end: Pair, *radii: Sides) -> Plane:
        return cone(np.abs(painter.x), painter.y, at(start), at(end), *map(pick, radii))

    middle_radius = 0.20 + 0.09 * round_tip + 0.02 * drop
    tip_radius = 0.025 + 0.20 * round_tip + 0.06 * drop
    return (
        between(base, middle, 0.40 - 0.14 * drop, middle_radius),
        between(middle, tip, middle_radius, tip_radius),
        between(base, inner_tip, 0.24 + 0 * drop, 0.03 + 0.1 * round_tip + 0 * drop),
        pick(fold),
    )


def _ahead(point: Pair, angle: Sides, length: Sides) -> Pair:
    """Go from a point by a length, at an angle from upright towards the outside."""
    return point[0] + length * np.sin(angle), point[1] + length * np.cos(angle)


def _head(f: Factors, painter: Painter) -> Plane:
    """Measure the distance to the head: a cranium joined to cheeks."""
    cranium = ellipse(painter.x, painter.y - 0.12, f["head_width"] * 0.96, 0.84)
    drop = 0.10 * f["muzzle_length"]
    cheeks = ellipse(painter.x, painter.y + 0.34 + drop, f["cheek_width"], 0.54 + drop)
    return join(cranium, cheeks, 0.25)


def _pattern(
    f: Factors, u: Float[np.ndarray, "27 B 1 1"], coat: Coat, painter: Painter, mask: Plane
) -> None:
    """Paint tabby stripes, a patch around one eye, or spots on the head, as `pattern` says."""
    x, y, mx = painter.x, painter.y, np.abs(painter.x)
    stroke = functools.partial(painter.line, soft=0.03)
    brow = np.minimum(stroke(mx - 0.26 - 0.1 * (y - 0.5), 0.055), fade(y, 0.36, 0.5))
    middle = np.minimum(stroke(x, 0.06), fade(y, 0.30, 0.44))
    outer = np.minimum(stroke(mx - 0.54 - 0.2 * (y - 0.5), 0.05), fade(y, 0.40, 0.5))
    curve = y + 0.12 - 0.25 * (mx - 0.7)
    cheek = np.maximum(stroke(curve, 0.05), stroke(curve + 0.26, 0.05))
    cheek = np.minimum(cheek, fade(mx, 0.62, 0.72))
    stripes = np.maximum(np.maximum(brow, middle), np.maximum(outer, cheek))

    side = np.where(u[0] < 0.5, np.float32(1), np.float32(-1))
    eye_patch = painter.cover(ellipse(x * side - 0.42, y - 0.18, 0.40, 0.46 + 0.1 * u[1]))
    crown = painter.cover(ellipse(x * side + 0.55, y - 0.85, 0.55, 0.30 + 0.25 * u[2]))
    patches = np.maximum(eye_patch, crown)

    spots = np.zeros_like(x)
    for i, row in enumerate(u[3:].reshape(NUM_SPOTS, 3, *u.shape[1:])):
        turn = 2.0 * np.pi * (i + 0.7 * row[0]) / NUM_SPOTS
        radius = 0.55 + 0.3 * row[1]
        px, py = x - radius * np.cos(turn), y - 0.1 - radius * np.sin(turn)
        distance = np.sqrt(px**2 + py**2 + 1e-9) - 0.07 - 0.07 * row[2]
        spots = np.maximum(spots, painter.cover(distance))
    kind = f["pattern"]
    shown = np.select(
        [kind == 1.0, kind == 2.0, kind == 3.0], [stripes, patches, spots], np.float32(0)
    )
    painter.paint(shown * mask * f["pattern_strength"], coat.marks)


def _eyes(f: Factors, painter: Painter) -> None:
    """Paint iris, pupil and a spark of light, both eyes at once by mirroring."""
    x = painter.x - 0.14 * f["yaw"]
    side = np.sign(x)
    x, y = turned(np.abs(x) - 0.42, painter.y - 0.14, f["eye_slant"])
    size = f["eye_size"]
    height = size * f["eye_open"]
    dark = DARK
    lower = fade(-y / size, -0.6, 0.9)
    iris = hsv(f["iris_hue"], 0.78, 0.58 + 0.34 * fade(f["iris_hue"], 0.08, 0.2))
    inside = painter.fill(ellipse(x, y, size, height), iris, 0.05, dark)
    painter.paint(inside * lower * 0.35, np.minimum(iris * 1.5, 1.0))
    tall = np.minimum(0.92 * height, size * (0.62 + 0.3 * (1.0 - f["pupil_width"])))
    pupil = ellipse(x, y, 0.80 * size * f["pupil_width"], tall)
    painter.paint(np.minimum(inside, painter.cover(pupil)), dark)
    px, py = x * side + 0.32 * size, y - 0.36 * size
    spark = np.sqrt(px**2 + py**2 + 1e-9) - 0.24 * size
    painter.paint(painter.cover(spark) * 0.95, rgb(1.0, 1.0, 1.0))


def _muzzle(f: Factors, coat: Coat, painter: Painter) -> None:
    """Paint the snout, and on it mouth, tongue, whiskers and nose."""
    length, width = f["muzzle_length"], f["muzzle_width"]
    x, y = painter.x - 0.30 * f["yaw"], painter.y + 0.06 * length
    puff = ellipse(np.abs(x) - 0.48 * width, y + 0.45, 0.62 * width, 0.22 + 0.12 * length)
    ridge = cone(x, y, (0.0, -0.10 + 0.22 * length), (0.0, -0.52), 0.16 + 0.05 * length, 0.24)
    chin = ellipse(x, y + 0.64 + 0.10 * length, 0.24, 0.16 + 0.05 * length)
    snout = join(join(puff, ridge + 0.10 * (1.0 - length), 0.14), chin, 0.10)
    tone = 0.45 + 0.55 * f["white"]
    shade = painter.line(snout, 0.035) * (0.25 + 0.35 * length)
    painter.paint(painter.cover(snout), coat.base + (coat.pale - coat.base) * tone)
    painter.paint(shade * fade(-y, 0.15, 0.5), coat.outline)
    nose_y = -0.24 - 0.04 * length
    _mouth(f, painter, x, y, nose_y)
    _whiskers(f, coat, painter, np.abs(x), y)
    _nose(f, painter, x, y - nose_y)


def _mouth(f: Factors, painter: Painter, x: Plane, y: Plane, nose_y: Scalar) -> None:
    dark = DARK
    smile = 0.13 + 0.30 * f["muzzle_width"] * 0.5
    corner_y = -0.52 - 0.05 * f["muzzle_length"]
    tongue_length = 0.42 * fade(f["tongue"], 0.15, 0.9) + 0.02
    shown = fade(f["tongue"], 0.15, 0.35)
    start, end = (0.0, corner_y - 0.08), (0.0, corner_y - 0.08 - tongue_length)
    tongue = cone(x, y, start, end, 0.12, 0.15)
    painter.fill(tongue, rgb(0.93, 0.42, 0.47), 0.04, dark, shown)
    stem, _ = segment(x, y, (0.0, nose_y), (0.0, corner_y - 0.06))
    arc = np.sqrt((np.abs(x) - smile) ** 2 + (y - corner_y) ** 2 + 1e-9) - smile
    arc = np.maximum(np.abs(arc), (y - corner_y) * 1.0)
    painter.paint(painter.line(np.minimum(stem, arc), 0.03), dark)


def _whiskers(f: Factors, coat: Coat, painter: Painter, mx: Plane, y: Plane) -> None:
    length = f["whisker_length"]
    mask = np.zeros_like(mx)
    for i in range(3):
        rise = 0.28 - 0.26 * i
        start = (0.42 * f["muzzle_width"] + 0.10, -0.40 - 0.07 * i)
        end = (start[0] + 1.15 * length, start[1] + rise * length)
        distance, along = segment(mx, y, start, end)
        mask = np.maximum(mask, painter.line(distance, 0.030 - 0.014 * along))
    red, green, blue = coat.base
    bright = fade(0.30 * red + 0.59 * green + 0.11 * blue, 0.50, 0.62)
    colour = rgb(0.98, 0.98, 0.96) * (1.0 - bright) + DARK * bright
    painter.paint(fade(length, 0.08, 0.30) * mask * 0.9, colour)


def _nose(f: Factors, painter: Painter, x: Plane, y: Plane) -> None:
    size = f["nose_size"]
    narrow = 1.0 - 0.75 * f["nose_triangle"] * np.clip(0.35 - y / size, 0.0, 1.0) * 0.8
    pink, black = rgb(0.90, 0.50, 0.52), rgb(0.13, 0.10, 0.11)
    colour = black + (pink - black) * f["nose_pink"]
    painter.fill(ellipse(x / narrow, y, size * 1.15, size * 0.78), colour, 0.03, colour * 0.45)
    spark = ellipse(x + 0.25 * size, y - 0.30 * size, 0.32 * size, 0.17 * size)
    painter.paint(0.6 * painter.cover(spark), rgb(1.0, 1.0, 1.0))
