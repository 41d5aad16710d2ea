"""Drawn rule: for this project's drawn animals, by a person who has read how they are drawn.

First the head is found: a face is two eyes and a nose full of fine contrast, with calm around.
Then eleven places of the face are looked at, in the head's own coordinates (radius 1, y up), where
`data/drawing_animal.py` puts ears, eyes, nose, tongue, whiskers and body.
Every number was typed in from reading those files. Only two things were mended on drawings, never
against the class: the head finder, by where the head had been drawn, and the test of the nose's
size, which did not answer to the size of a pink nose.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from catdog_jax.models.parts import ImageShape
from catdog_jax.rules import looking
from catdog_jax.rules.looking import Beliefs
from catdog_jax.types import Classifier, Spec

# Where a head may be: x, y and radius in half pictures, tilt in radians.
PLACES = tuple(
    itertools.product(
        (-0.36, -0.24, -0.12, 0.0, 0.12, 0.24, 0.36),
        (-0.28, -0.16, -0.04, 0.08, 0.20),
        (0.42, 0.52, 0.64),
        (-0.4, -0.2, 0.0, 0.2, 0.4),
    )
)
# What tells a face: (x, y, half width, half height, weight of the fine contrast there). Of a sight
# that is wanted, the weaker side counts: one eye alone is no face.
SIGHTS = (
    (0.42, 0.14, 0.20, 0.20, 1.0),  # eyes
    (0.00, -0.35, 0.20, 0.25, 0.5),  # nose and mouth
    (0.72, -0.15, 0.10, 0.12, -0.4),  # calm fur beside the eyes
    (0.00, 0.62, 0.45, 0.10, -0.2),  # a calm forehead
    (1.45, 1.05, 0.30, 0.40, -0.4),  # background beside the ears
)
# Places to look at: (x, y, half width, half height), both sides.
REGIONS = {
    "background": (1.45, 1.05, 0.30, 0.40),
    "fur": (0.40, 0.62, 0.16, 0.12),
    "beside": (1.08, 0.05, 0.14, 0.30),
    "above": (0.72, 1.12, 0.12, 0.20),
    "tongue": (0.00, -0.82, 0.10, 0.16),
    "nose": (0.00, -0.26, 0.09, 0.07),
    "nose_side": (0.17, -0.27, 0.05, 0.06),
    "snout": (0.26, -0.45, 0.08, 0.07),
    "snout_side": (0.48, -0.50, 0.05, 0.08),
    "eye": (0.42, 0.14, 0.16, 0.18),
    "eye_middle": (0.42, 0.14, 0.13, 0.12),
    "eye_rim": (0.42, 0.36, 0.08, 0.05),
    "cheek": (0.84, -0.52, 0.06, 0.10),
    "whiskers": (0.85, -0.42, 0.25, 0.18),
    "shoulder": (1.00, -1.65, 0.12, 0.18),
}
# name: (weight towards dog, threshold, width)
BELIEFS = {
    # A dog's ears hang beside its head; a cat's stand above it.
    "ears": (1.5, 0.0, 0.15),
    # A dog's tongue hangs out, pink, below its mouth.
    "tongue": (1.2, 0.20, 0.12),
    # A cat's nose is pink, a dog's black.
    "nose_colour": (-1.2, 0.18, 0.12),
    # A dog's nose reaches far to both sides: there it looks like nose, not like snout.
    "nose_size": (1.0, 0.0, 0.12),
    # A dog's pale snout is wide.
    "muzzle": (0.6, 0.15, 0.10),
    # A cat's iris is yellow-green, a dog's brown.
    "iris": (-1.2, 0.03, 0.08),
    # A dog's wide pupils leave its eyes dark, a cat's are slits.
    "pupils": (-1.0, 0.35, 0.12),
    # A cat's eyes reach higher up.
    "eye_size": (-0.8, 0.25, 0.12),
    # A cat's round cheeks stand out where a dog's face is narrow.
    "cheeks": (-0.6, 0.20, 0.10),
    # Only a cat's whiskers draw lines beside its mouth.
    "whiskers": (-0.7, 0.02, 0.012),
    # A dog's shoulders are broad.
    "body": (0.8, 0.20, 0.10),
}


class DrawnParams(NamedTuple):
    """The constants of the rule.

    Attributes:
      beliefs: of `BELIEFS`, in their order.
      sights: [S, 5], as `SIGHTS`.
      regions: [R, 4], of `REGIONS`, in their order.
    """

    beliefs: Beliefs
    sights: Float[Array, "S 5"]
    regions: Float[Array, "R 4"]


def find_head(
    sights: Float[Array, "S 5"], pictures: Float[Array, "B G G 3"]
) -> Float[Array, "B 4"]:
    """Choose the place with the most fine contrast in eyes and nose and the least around them.

    Args:
      sights: as `SIGHTS`.
      pictures: on the grid of `looking`.

    Returns:
      one row of `PLACES` per picture: x, y, radius, tilt.
    """
    fine = looking.contrast(looking.luminance(pictures))
    places = jnp.asarray(PLACES, jnp.float32)
    left, right = (
        jnp.einsum("byx,psyx->bps", fine, _masks(rows, places)[0])
        for rows in (sights[:, :4] * jnp.array([[-1.0, 1.0, 1.0, 1.0]]), sights[:, :4])
    )
    weights = sights[None, None, :, 4]
    shown = jnp.where(weights > 0.0, jnp.minimum(left, right), 0.5 * (left + right))
    return places[jnp.argmax((weights * shown).sum(2), axis=1)]


def measures(
    regions: Float[Array, "R 4"], pictures: Float[Array, "B G G 3"], places: Float[Array, "B 4"]
) -> tuple[Float[Array, "B T"], Float[Array, "B T"]]:
    """Look at the parts of a head.

    Args:
      regions: of `REGIONS`, in their order.
      pictures: on the grid of `looking`.
      places: x, y, radius and tilt of each picture's head, as `PLACES`.

    Returns:
      what was measured, in the order of `BELIEFS`; and how much of it lies in the picture, 0..1.
    """
    masks, area = _masks(regions, places, fold=True)
    rough = looking.contrast(looking.luminance(pictures))
    names = list(REGIONS)
    colour = dict(
        zip(names, jnp.einsum("bryx,byxc->rbc", masks, pictures, precision="highest"), strict=True)
    )
    roughness = dict(zip(names, jnp.einsum("bryx,byx->rb", masks, rough), strict=True))
    seen = dict(zip(names, jnp.minimum(1.0, 2.0 * area).T, strict=True))
    ground, fur = colour["background"], colour["fur"]
    beside, above = _distance(colour["beside"], ground), _distance(colour["above"], ground)
    iris = colour["eye"][:, 1] - colour["eye"][:, 0]
    side = colour["nose_side"]
    nose_like = _distance(side, colour["snout"]) - _distance(side, colour["nose"])
    found = {
        "ears": (beside - above, seen["beside"] * seen["above"]),
        "tongue": (_pink(colour["tongue"]), seen["tongue"]),
        "nose_colour": (_pink(colour["nose"]), seen["nose"]),
        "nose_size": (nose_like, seen["snout"]),
        "muzzle": (_distance(colour["snout_side"], fur), seen["snout_side"]),
        "iris": (iris, seen["eye"]),
        "pupils": (looking.luminance(colour["eye_middle"]), seen["eye_middle"]),
        "eye_size": (_distance(colour["eye_rim"], fur), seen["eye_rim"]),
        "cheeks": (_distance(colour["cheek"], ground), seen["cheek"]),
        "whiskers": (roughness["whiskers"] - roughness["background"], seen["whiskers"]),
        "body": (_distance(colour["shoulder"], ground), seen["shoulder"]),
    }
    rows = [found[name] for name in BELIEFS]
    return jnp.stack([row[0] for row in rows], 1), jnp.stack([row[1] for row in rows], 1)


def votes(params: DrawnParams, images: Float[Array, "B H W 3"]) -> Float[Array, "B T"]:
    """Let each test vote, in the order of `BELIEFS`; positive is for dog."""
    pictures = looking.on_grid(images)
    places = find_head(params.sights, pictures)
    found, seen = measures(params.regions, pictures, places)
    return seen * looking.vote(params.beliefs, found)


def apply(params: DrawnParams, images: Float[Array, "B H W 3"]) -> Float[Array, "B 2"]:
    """Compute the logits: the sum of the votes.

    Args:
      params: the constants.
      images: float32 in 0..1, any size.

    Returns:
      logits of cat and dog.
    """
    return looking.logits(votes(params, images))


def drawn(input_shape: ImageShape) -> Classifier:
    """Build the rule for drawn pictures.

    Args:
      input_shape: (H, W, 3).

    Raises:
      InputError: another number of axes.
    """
    params = DrawnParams(
        looking.typed_beliefs(BELIEFS),
        jnp.asarray(SIGHTS, jnp.float32),
        jnp.asarray(list(REGIONS.values()), jnp.float32),
    )
    return Classifier(params, apply)


def _masks(
    regions: Float[Array, "R 4"], places: Float[Array, "P 4"], *, fold: bool = False
) -> tuple[Float[Array, "P R G G"], Float[Array, "P R"]]:
    """Cover the grid with soft ellipses for each place of a head.

    Args:
      regions: (x, y, half width, half height) in head coordinates.
      places: as `PLACES`.
      fold: whether a region lies on both sides of the head.

    Returns:
      masks that sum to 1 (0 where a region is out of the picture); and their areas in pixels.
    """
    x, y = looking.coordinates()
    head_x, head_y, radius, tilt = (places[:, i, None, None] for i in range(4))
    px, py = x[None] - head_x, y[None] - head_y
    cos, sin = jnp.cos(tilt), jnp.sin(tilt)
    across, up = (cos * px + sin * py) / radius, (cos * py - sin * px) / radius
    across = jnp.abs(across) if fold else across
    at_x, at_y, wide, high = (regions[None, :, i, None, None] for i in range(4))
    far = ((across[:, None] - at_x) / wide) ** 2 + ((up[:, None] - at_y) / high) ** 2
    masks = jax.nn.sigmoid((1.0 - jnp.sqrt(far + 1e-9)) / 0.2)
    area = masks.sum((2, 3))
    return masks / jnp.maximum(area, 1e-3)[:, :, None, None], area


def _distance(first: Float[Array, "B 3"], second: Float[Array, "B 3"]) -> Float[Array, " B"]:
    return jnp.sqrt(((first - second) ** 2).sum(1) + 1e-9)


def _pink(colour: Float[Array, "B 3"]) -> Float[Array, " B"]:
    """Red and blue above green: pink, and not the orange of a ginger fur."""
    return colour[:, 0] + colour[:, 2] - 2.0 * colour[:, 1]


RULES = {"drawn_rule": Spec(drawn)}
