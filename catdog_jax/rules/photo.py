"""Photo rule: what a person would program who wants to tell cats from dogs in photographs.

Colour, edge and shape tests; every number was typed in from belief, before any accuracy was
looked at, and none was changed afterwards.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from catdog_jax.models.parts import ImageShape
from catdog_jax.rules import looking
from catdog_jax.rules.looking import Beliefs, mean_in, rises
from catdog_jax.types import Classifier, Spec

# name: (weight towards dog, threshold, width)
BELIEFS = {
    # Dogs are photographed outdoors: the border of the picture is grass.
    "grass": (1.0, 0.25, 0.20),
    # Dogs are photographed outdoors: there is sky at the top.
    "sky": (0.6, 0.30, 0.20),
    # Cats are photographed at home, in the warm light of lamps.
    "warm_room": (-0.5, 0.50, 0.30),
    # Grey fur is rather a cat's.
    "grey_coat": (-0.5, 0.50, 0.25),
    # A cat's upright ears put slanted edges into the upper half.
    "pointed_ears": (-1.0, 0.62, 0.10),
    # A cat's coat is striped or spotted: fine contrast in the middle.
    "stripes": (-0.5, 0.25, 0.10),
    # A dog's nose is a dark patch in the middle of its face.
    "dark_nose": (0.8, 0.08, 0.08),
    # A dog lets its tongue hang out: pink below the middle.
    "tongue": (0.8, 0.06, 0.05),
    # A cat's eyes are yellow-green, in the middle and not around it.
    "cat_eyes": (-0.6, 0.04, 0.04),
    # A dog stands on its legs: upright edges at the bottom.
    "legs": (0.6, 0.55, 0.12),
    # A cat sits still and looks into the camera: its left is like its right.
    "symmetry": (-0.5, 0.30, 0.30),
}
# What counts as a colour: differences of red, green and blue, 0..1.
MARGINS = {
    "green": 0.03,  # green above red and blue
    "blue": 0.06,  # blue above red
    "warm": 0.12,  # red above blue
    "grey": 0.10,  # all three within
    "pink": 0.15,  # red above green
    "yellow": 0.20,  # red and green above blue
}


class PhotoParams(NamedTuple):
    """The constants of the rule.

    Attributes:
      beliefs: of `BELIEFS`, in their order.
      margins: [6], of `MARGINS`, in their order.
    """

    beliefs: Beliefs
    margins: Float[Array, "6"]


def measures(margins: Float[Array, "6"], images: Float[Array, "B H W 3"]) -> Float[Array, "B T"]:
    """Measure what the beliefs are about, in the order of `BELIEFS`."""
    pictures = looking.on_grid(images)
    red, green, blue = pictures[..., 0], pictures[..., 1], pictures[..., 2]
    light = looking.luminance(pictures)
    across, down = looking.slopes(light)
    x, y = looking.coordinates()
    radius = jnp.sqrt(x**2 + y**2)

    border = jnp.maximum(jnp.abs(x), jnp.abs(y)) > 0.75
    middle = radius < 0.6
    upper = (y > 0.1) & (y < 0.9) & (jnp.abs(x) < 0.8)
    below = (jnp.abs(x) < 0.35) & (y < 0.0) & (y > -0.7)
    is_green, is_blue, is_warm, is_grey, is_pink, is_yellow = margins

    grass = mean_in(rises(green - jnp.maximum(red, blue), is_green, 0.02), border)
    sky = mean_in(rises(blue - red, is_blue, 0.03) * rises(light, 0.5, 0.1), y > 0.6)
    warm = mean_in(rises(red - blue, is_warm, 0.04), border)
    grey = mean_in(rises(-(pictures.max(-1) - pictures.min(-1)), -is_grey, 0.03), middle)
    pink = rises(red - green, is_pink, 0.03) * rises(blue - green, -0.05, 0.03)
    tongue = mean_in(pink, below)
    yellow = rises(jnp.minimum(red, green) - blue, is_yellow, 0.03)
    yellow *= rises(green - red, -0.05, 0.03)
    eyes = mean_in(yellow, middle) - mean_in(yellow, border)
    steep = across**2 + down**2 + 1e-5  # the last term: where there is no edge, say nothing
    slanted = mean_in(2.0 * jnp.abs(across * down), upper) / mean_in(steep, upper)
    feet = y < -0.4
    upright = (mean_in(across**2, feet) + 0.5e-5) / mean_in(steep, feet)
    spread = jnp.sqrt(_covariance(light, light, middle) + 1e-4)
    fine = mean_in(looking.contrast(light), middle) / spread
    around = (radius > 0.25) & (radius < 0.5)
    nose = mean_in(light, around) - mean_in(light, radius < 0.2)
    mirrored = _covariance(light, light[:, :, ::-1], middle) / spread**2
    found = [grass, sky, warm, grey, slanted, fine, nose, tongue, eyes, upright, mirrored]
    return jnp.stack(found, axis=1)


def votes(params: PhotoParams, images: Float[Array, "B H W 3"]) -> Float[Array, "B T"]:
    """Let each test vote, in the order of `BELIEFS`; positive is for dog."""
    return looking.vote(params.beliefs, measures(params.margins, images))


def apply(params: PhotoParams, images: Float[Array, "B H W 3"]) -> Float[Array, "B 2"]:
    """Compute the logits: the sum of the votes.

    Args:
      params: the constants.
      images: float32 in 0..1, any size.

    Returns:
      logits of cat and dog.
    """
    return looking.logits(votes(params, images))


def photo(input_shape: ImageShape) -> Classifier:
    """Build the rule for photographs.

    Args:
      input_shape: (H, W, 3).

    Raises:
      InputError: another number of axes.
    """
    margins = jnp.asarray(list(MARGINS.values()), jnp.float32)
    return Classifier(PhotoParams(looking.typed_beliefs(BELIEFS), margins), apply)


def _covariance(
    first: looking.Grey, second: looking.Grey, region: Bool[Array, "H W"]
) -> Float[Array, " B"]:
    product = mean_in(first * second, region)
    return product - mean_in(first, region) * mean_in(second, region)


RULES = {"photo_rule": Spec(photo)}
