"""Template: a small picture of what tells a dog from a cat, drawn on squared paper by a person.

Scaled up to the size of the pictures, its numbers are the weights of a linear classifier: the same
formula that others estimate or learn the weights of.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from catdog_jax.models import linear
from catdog_jax.models.parts import ImageShape
from catdog_jax.types import Classifier, Spec

# '+' brighter in a dog than in a cat, '-' darker, '=' much darker. Believed, not measured:
# a cat's ears stand dark against the background, left and right of the top; a dog's hang dark
# beside its face; a cat's eyes are large and bright; a dog's nose is large and dark in a pale
# muzzle, and its chest is broad.
LIGHT = (
    "..+.....+..",
    ".+++...+++.",
    ".+++...+++.",
    "--.......--",
    "==.--.--.==",
    "==.--.--.==",
    "==..+=+..==",
    "=..+===+..=",
    "...++=++...",
    "..+++.+++..",
    ".+++++++++.",
)

# '+' redder in a dog than in a cat, '-' less red: a dog's tongue hangs out below a black nose,
# where a cat's nose is pink; a cat's upright ears are pink inside.
RED = (
    "...........",
    "..-.....-..",
    "..-.....-..",
    "...........",
    "...........",
    "...........",
    ".....-.....",
    ".....-.....",
    ".....+.....",
    "....+++....",
    "....+++....",
)
WORTH = {"+": 1.0, ".": 0.0, "-": -1.0, "=": -2.0}
STRENGTH = 12.0  # logits between a picture like the drawing and one like its negative: many


def typed(rows: tuple[str, ...]) -> Float[np.ndarray, "R C"]:
    """Turn a drawing in characters into numbers, see `WORTH`."""
    return np.array([[WORTH[mark] for mark in row] for row in rows], np.float32)


def picture(height: int, width: int) -> Float[Array, "H W 3"]:
    """Scale the drawing to the size of the pictures: what a dog has and a cat has not.

    Args:
      height, width: pixels.

    Returns:
      float32 weights of mean 0 in each colour, so that the picture's brightness is no evidence;
      their absolute values sum to 1.
    """
    light, red = (
        jax.image.resize(jnp.asarray(typed(rows)), (height, width), "linear")
        for rows in (LIGHT, RED)
    )
    tint = jnp.array([1.0, -0.5, -0.5])
    weights = light[:, :, None] / 3.0 + red[:, :, None] * tint[None, None]
    weights = weights - weights.mean((0, 1), keepdims=True)
    return weights / jnp.abs(weights).sum()


def template(input_shape: ImageShape) -> Classifier:
    """Build the linear classifier whose weights are the drawing.

    Args:
      input_shape: (H, W, 3).

    Returns:
      A linear classifier without bias.

    Raises:
      InputError: another number of axes.
    """
    dog = STRENGTH * picture(*input_shape[:2]).reshape(-1)
    return linear.classifier(jnp.stack([-dog, dog], axis=1), jnp.zeros(2))


RULES = {"template": Spec(template)}
