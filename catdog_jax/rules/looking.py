"""What the rules look with: a coarse grid, light and edges, and how tests become logits.

A rule measures a few numbers in a picture; each is compared with a typed threshold and votes with
a typed weight, and the votes are summed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

GRID = 32  # pixels of a side; every picture is brought to this size before it is looked at

Grey = Float[Array, "B H W"]


class Beliefs(NamedTuple):
    """What a person believes of a list of measurements.

    Attributes:
      weights: [T] logits between dog and cat at most; positive where a large value means dog.
      thresholds: [T] the value that says nothing.
      widths: [T] > 0, how far from the threshold a value is clear.
    """

    weights: Float[Array, " T"]
    thresholds: Float[Array, " T"]
    widths: Float[Array, " T"]


def typed_beliefs(rows: dict[str, tuple[float, float, float]]) -> Beliefs:
    """Collect typed rows, name -> (weight, threshold, width), as arrays in the rows' order."""
    return Beliefs(*jnp.asarray(list(rows.values()), jnp.float32).T)


def vote(beliefs: Beliefs, measures: Float[Array, "B T"]) -> Float[Array, "B T"]:
    """Compare each measure with its threshold; positive votes are for dog."""
    clear = jnp.tanh((measures - beliefs.thresholds[None]) / beliefs.widths[None])
    return beliefs.weights[None] * clear


def logits(votes: Float[Array, "B T"]) -> Float[Array, "B 2"]:
    """Sum the votes: half for the dog, half against the cat."""
    half = 0.5 * votes.sum(1)
    return jnp.stack([-half, half], axis=1)


def on_grid(images: Float[Array, "B H W 3"]) -> Float[Array, "B G G 3"]:
    """Bring pictures of any size to GRID x GRID pixels."""
    return jax.image.resize(images, (images.shape[0], GRID, GRID, 3), "linear")


def coordinates() -> tuple[Float[Array, "G G"], Float[Array, "G G"]]:
    """Return where the grid's pixels lie: x to the right and y up, -1..1."""
    ticks = (jnp.arange(GRID, dtype=jnp.float32) + 0.5) * (2.0 / GRID) - 1.0
    x, y = jnp.meshgrid(ticks, -ticks)
    return x, y


def luminance(images: Float[Array, "*shape 3"]) -> Float[Array, "*shape"]:
    """Weigh the colours as the eye does (ITU-R BT.601)."""
    return 0.299 * images[..., 0] + 0.587 * images[..., 1] + 0.114 * images[..., 2]


def slopes(light: Grey) -> tuple[Grey, Grey]:
    """Return the slope of the light to the right and downwards, per pixel, by central differences.

    A slope to the right is an upright edge.
    """
    wide = jnp.pad(light, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = 0.5 * (wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2])
    down = 0.5 * (wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1])
    return across, down


def contrast(light: Grey) -> Grey:
    """Measure how far each pixel is from the average over 3 x 3."""
    wide = jnp.pad(light, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    return jnp.abs(light - (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / 9.0)


def rises(value: Grey, limit: Float[Array, ""] | float, softness: float) -> Grey:
    """Return how surely a value is above a limit, 0..1."""
    return jax.nn.sigmoid((value - limit) / softness)


def mean_in(values: Grey, region: Bool[Array, "H W"]) -> Float[Array, " B"]:
    """Average one number per pixel over a region; 0 where that is empty."""
    weights = region.astype(jnp.float32)
    return (values * weights[None]).sum((1, 2)) / jnp.maximum(weights.sum(), 1e-3)
