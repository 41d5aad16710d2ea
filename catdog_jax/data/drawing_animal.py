"""Paints shoulders, ears, head and coat of a drawn animal; `drawing_face` adds the face.

Head coordinates have radius 1, y up; `side` planes are mirrored: |x| and the sign of x.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

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
)

Plane = Float[Array, "H W"]
Scalar = Float[Array, ""]
Pair = tuple[Float[Array, "2"], Float[Array, "2"]]  # x and y of a point, left and right
NUM_SPOTS = 8


class Frame(NamedTuple):
    """Coordinates on the animal: x, y [H, W] in head radii, and the width of a pixel in them."""

    x: Plane
    y: Plane
    pixel: Scalar


class Coat(NamedTuple):
    """The colours [3] of one animal."""

    base: Colour
    marks: Colour
    pale: Colour
    outline: Colour


def head_frame(f: Factors, x: Plane, y: Plane, pixel: float, turn: float = 1.0) -> Frame:
    """Move picture coordinates to the head's; `turn` is the share of the tilt that is followed."""
    px, py = x - f["head_x"], y - f["head_y"]
    cos, sin = jnp.cos(turn * f["tilt"]), jnp.sin(turn * f["tilt"])
    scale = f["scale"]
    return Frame((cos * px + sin * py) / scale, (cos * py - sin * px) / scale, pixel / scale)


def coat(f: Factors) -> Coat:
    """Choose marks darker than a light fur and lighter than a dark one, and an outline."""
    hue, saturation, value = f["fur_hue"], f["fur_saturation"], f["fur_value"]
    marks_value = jnp.where(value > 0.38, 0.50 * value, value + 0.30)
    pale_value = jnp.clip(0.55 * value + 0.48, 0.0, 0.98)
    return Coat(
        hsv(hue, saturation, value),
        hsv(hue - 0.015, jnp.minimum(1.15 * saturation + 0.05, 1.0), marks_value),
        hsv(hue, 0.22 * saturation, pale_value),
        hsv(hue - 0.02, 0.5 * saturation + 0.1, 0.10 + 0.14 * value),
    )


def body(f: Factors, colours: Coat, canvas: Canvas, at: Frame) -> tuple[Canvas, Plane]:
    """Paint the shoulders, a bib and a collar; also return where the animal is now."""
    width = f["body_width"]
    neck = cone(at.x, at.y, (0.0, -0.3), (0.0, -1.3), 0.62, 0.70 * width)
    shape = join(neck, ellipse(at.x, at.y + 2.3, 1.12 * width, 1.25), 0.35)
    mask = cover(shape, at.pixel)
    canvas = paint(canvas, cover(shape - 0.05, at.pixel), colours.outline)
    canvas = paint(canvas, mask, colours.base * 0.88)
    bib = cover(ellipse(at.x, at.y + 1.75, 0.45 * width, 0.8), at.pixel)
    canvas = paint(canvas, mask * bib * f["white"], colours.pale)
    band = jnp.abs(at.y + 1.16 - 0.18 * at.x**2) - 0.10
    shown = jnp.where(f["collar"] > 0.0, 1.0, 0.0)
    canvas = paint(canvas, shown * mask * cover(band, at.pixel), hsv(f["collar"], 0.68, 0.68))
    return canvas, mask


class Ears(NamedTuple):
    """Distances [H, W] to both ears: base half, tip half, and the pink inside; how folded."""

    base: Plane
    tip: Plane
    inside: Plane
    fold: Plane


def ears(f: Factors, at: Frame) -> Ears:
    """Build each ear from two cones, the second bent over as `ear_hang` grows from 0 to 1."""
    side = jnp.array([-1.0, 1.0])  # all numbers below are [2], left and right, until `pick`
    hang = jnp.clip(f["ear_hang"] + 0.45 * f["ear_asymmetry"] * side, 0.0, 1.0)
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
    right = at.x > 0.0

    def pick(pair: Float[Array, "2"]) -> Plane:
        return jnp.where(right, pair[1], pair[0])

    def between(
        start: Pair, end: Pair, start_radius: Float[Array, "2"], end_radius: Float[Array, "2"]
    ) -> Plane:
        start, end = (pick(start[0]), pick(start[1])), (pick(end[0]), pick(end[1]))
        return cone(jnp.abs(at.x), at.y, start, end, pick(start_radius), pick(end_radius))

    middle_radius = 0.20 + 0.09 * round_tip + 0.02 * drop
    return Ears(
        between(base, middle, 0.40 - 0.14 * drop, middle_radius),
        between(
            middle,
            _ahead(middle, second, second_length),
            middle_radius,
            0.025 + 0.20 * round_tip + 0.06 * drop,
        ),
        between(
            base,
            _ahead(base, first, 1.45 * first_length),
            jnp.full(2, 0.24),
            jnp.full(2, 0.03 + 0.1 * round_tip),
        ),
        pick(fold),
    )


def _ahead(point: Pair, angle: Float[Array, "2"], length: Float[Array, "2"]) -> Pair:
    """Go from a point by a length, at an angle from upright towards the outside."""
    return point[0] + length * jnp.sin(angle), point[1] + length * jnp.cos(angle)


def ears_behind(
    f: Factors, colours: Coat, canvas: Canvas, at: Frame, shape: Ears
) -> tuple[Canvas, Plane]:
    """Paint the ears that stand behind the head, with pink insides where they are upright."""
    both = jnp.minimum(shape.base, shape.tip)
    canvas = paint(canvas, cover(both - 0.06, at.pixel), colours.outline)
    canvas = paint(canvas, cover(both, at.pixel), colours.base * 0.92)
    inside = cover(shape.inside, at.pixel) * (1.0 - shape.fold)
    return paint(canvas, inside, jnp.array([0.93, 0.62, 0.60]) * 0.9), cover(both, at.pixel)


def ears_in_front(f: Factors, colours: Coat, canvas: Canvas, at: Frame, shape: Ears) -> Canvas:
    """Paint the folded half of the ears over the head."""
    shown = fade(shape.fold, 0.25, 0.6)
    flap = colours.base * 0.35 + colours.marks * 0.45
    canvas = paint(canvas, shown * cover(shape.tip - 0.06, at.pixel), colours.outline)
    return paint(canvas, shown * cover(shape.tip, at.pixel), flap)


def head(f: Factors, at: Frame) -> Plane:
    """Measure the distance to the head: a cranium joined to cheeks."""
    cranium = ellipse(at.x, at.y - 0.12, f["head_width"] * 0.96, 0.84)
    drop = 0.10 * f["muzzle_length"]
    cheeks = ellipse(at.x, at.y + 0.34 + drop, f["cheek_width"], 0.54 + drop)
    return join(cranium, cheeks, 0.25)


def pattern(
    f: Factors, u: Float[Array, "27"], colours: Coat, canvas: Canvas, at: Frame, mask: Plane
) -> Canvas:
    """Paint tabby stripes, a patch around one eye, or spots on the head, as `pattern` says."""
    x, y, soft = at.x, at.y, at.pixel + 0.03
    mx = jnp.abs(x)
    brow = jnp.minimum(line(mx - 0.26 - 0.1 * (y - 0.5), 0.055, soft), fade(y, 0.36, 0.5))
    middle = jnp.minimum(line(x, 0.06, soft), fade(y, 0.30, 0.44))
    outer = jnp.minimum(line(mx - 0.54 - 0.2 * (y - 0.5), 0.05, soft), fade(y, 0.40, 0.5))
    curve = y + 0.12 - 0.25 * (mx - 0.7)
    cheek = jnp.maximum(line(curve, 0.05, soft), line(curve + 0.26, 0.05, soft))
    cheek = jnp.minimum(cheek, fade(mx, 0.62, 0.72))
    stripes = jnp.maximum(jnp.maximum(brow, middle), jnp.maximum(outer, cheek))

    side = jnp.where(u[0] < 0.5, 1.0, -1.0)
    eye_patch = cover(ellipse(x * side - 0.42, y - 0.18, 0.40, 0.46 + 0.1 * u[1]), at.pixel)
    crown = cover(ellipse(x * side + 0.55, y - 0.85, 0.55, 0.30 + 0.25 * u[2]), at.pixel)
    patches = jnp.maximum(eye_patch, crown)

    rows = u[3:].reshape(NUM_SPOTS, 3)

    def add(i: Int[Array, ""], spots: Plane) -> Plane:
        turn = 2.0 * jnp.pi * (i + 0.7 * rows[i, 0]) / NUM_SPOTS
        radius = 0.55 + 0.3 * rows[i, 1]
        px, py = x - radius * jnp.cos(turn), y - 0.1 - radius * jnp.sin(turn)
        distance = jnp.sqrt(px**2 + py**2 + 1e-9) - 0.07 - 0.07 * rows[i, 2]
        return jnp.maximum(spots, cover(distance, at.pixel))

    spots = jax.lax.fori_loop(0, NUM_SPOTS, add, jnp.zeros_like(x))
    kind = f["pattern"]
    shown = jnp.where(
        kind == 1.0, stripes, jnp.where(kind == 2.0, patches, jnp.where(kind == 3.0, spots, 0.0))
    )
    return paint(canvas, shown * mask * f["pattern_strength"], colours.marks)
