"""Generating rule: reads the drawing factors and undoes the drawing, the ceiling of the ladder.

Each factor is `middle + half * lean + spread * own`, `own` uniform in -2..2, and the class decides
which way most of the twelve cues lean. A factor thus leaves an interval of leans open; a cue votes
+1 or -1 where its factors leave one sign only, and in between where they leave both. Eleven cues
can be read this way. The twelfth, the coat, shows itself only in the odds of furs and patterns:
its vote stays within -1..1.

At most five of twelve cues mislead, so at least six of the eleven are true: where all eleven are
legible the sum is at least 1 in the right direction before the coat votes, and the coat's vote is
smaller than 1. The rule can be wrong only where a cue is not legible.
"""

import functools
from typing import Annotated, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from catdog_jax.data import drawing_factors as drawing
from catdog_jax.data.drawing_factors import CUED, CUES, DEFAULT_DIFFICULTY
from catdog_jax.registry import Range
from catdog_jax.rules import looking
from catdog_jax.types import Classifier, InputError, Spec, Split

READ = tuple(cue for cue in CUES if cue != "coat")
NUM_OWN = 2.0  # a factor's own part is within so many spreads, see `sample_factors`
SHRINKING = 0.8  # a cue leans by 1 at difficulty 0, and down to this much less at 1
FUR_REACH = (0.015, 0.08, 0.07)  # jitter of hue, saturation and value
ROUNDING = 1e-5


@functools.cache
def factor_names() -> tuple[str, ...]:
    """Name the factors of a drawn picture in sorted order: the columns that `apply` reads."""
    none = np.zeros((drawing.NUM_UNIFORM, 1), np.float32), np.zeros(1, np.int32)
    return tuple(sorted(drawing.sample_factors(*none)))


def factors_matrix(split: Split) -> Float[np.ndarray, "N F"]:
    """Lay the factors of a split out as rows, columns in sorted order of their names."""
    columns = [split.factors[name] for name in sorted(split.factors)]
    return np.stack(columns, axis=1).astype(np.float32)


class GeneratingParams(NamedTuple):
    """The constants of the drawing, as the rule needs them; F factors that follow C cues.

    Attributes:
      middle: [F] a factor's value where its cue does not lean.
      half: [F] what a full lean towards cat adds.
      reach: [F] > 0, how far the factor strays on its own.
      smallest: how far a cue leans at least, 0..1.
      furs: [8, 3] hue, saturation, value.
      fur_reach: [3] how far they stray.
      fur_odds: [2, 8] of a coat that leans to cat, to dog.
      pattern_odds: [2, 4] likewise.
    """

    middle: Float[Array, " F"]
    half: Float[Array, " F"]
    reach: Float[Array, " F"]
    smallest: Float[Array, ""]
    furs: Float[Array, "8 3"]
    fur_reach: Float[Array, "3"]
    fur_odds: Float[Array, "2 8"]
    pattern_odds: Float[Array, "2 4"]


def votes(params: GeneratingParams, factors: Float[Array, "B F"]) -> Float[Array, "B 12"]:
    """Read the cues, in the order of `READ` and last the coat.

    Returns:
      the expected sign of each lean, -1 (dog) to 1 (cat).
    """
    names = factor_names()
    followed = factors[:, np.array([names.index(name) for name in CUED])]
    lean = (followed - params.middle[None]) / params.half[None]
    reach = (params.reach / jnp.abs(params.half))[None] + ROUNDING
    low, high = lean - reach, lean + reach

    def open_to_cats(lowest: Array, highest: Array) -> Array:
        """Measure how much of the leans that a cat may have lies in lowest..highest."""
        within = jnp.minimum(highest, 1.0 + ROUNDING) - jnp.maximum(lowest, params.smallest)
        return jnp.maximum(within, 0.0)

    read = []
    for cue in READ:
        columns = np.array([i for i, (name, *_) in enumerate(CUED.values()) if name == cue])
        lowest, highest = low[:, columns].max(1), high[:, columns].min(1)
        cat, dog = open_to_cats(lowest, highest), open_to_cats(-highest, -lowest)
        nearer = jnp.sign(lowest + highest)  # drawn at another difficulty than was said
        some = cat + dog > 0.0
        read.append(jnp.where(some, (cat - dog) / jnp.where(some, cat + dog, 1.0), nearer))
    return jnp.stack([*read, _coat(params, factors, names)], axis=1)


def apply(params: GeneratingParams, factors: Float[Array, "B F"]) -> Float[Array, "B 2"]:
    """Compute the logits: the majority of the cues.

    Args:
      params: the constants of the drawing.
      factors: float32, columns in the order of `factor_names`.

    Returns:
      logits of cat and dog, in votes.
    """
    return looking.logits(-votes(params, factors))


def generating(
    input_shape: tuple[int, ...], *, difficulty: Annotated[float, Range(0, 1)] = DEFAULT_DIFFICULTY
) -> Classifier:
    """Build the rule that reads drawing factors.

    Args:
      input_shape: (F,), F the number of drawing factors.
      difficulty: 0..1, of the drawings; it sets how little a cue may lean.

    Raises:
      InputError: another number of factors, or the difficulty out of range.
    """
    num_factors = len(factor_names())
    if tuple(input_shape) != (num_factors,):
        raise InputError(
            f"rule 'generating_rule' cannot read inputs of shape {tuple(input_shape)}; give the "
            f"{num_factors} factors of drawn pictures"
        )
    _, dog, cat, spread = (np.array(column) for column in zip(*CUED.values(), strict=True))
    leans = ((dog + cat) / 2.0, (cat - dog) / 2.0, NUM_OWN * spread, 1.0 - SHRINKING * difficulty)
    numbers = (*leans, drawing.FURS, FUR_REACH, drawing.FUR_ODDS, drawing.PATTERN_ODDS)
    params = GeneratingParams(*(jnp.asarray(number, jnp.float32) for number in numbers))
    return Classifier(params, apply)


def _coat(
    params: GeneratingParams, factors: Float[Array, "B F"], names: tuple[str, ...]
) -> Float[Array, " B"]:
    """Weigh the odds of the nearest fur and of the pattern for either lean."""
    columns = np.array([names.index(f"fur_{part}") for part in ("hue", "saturation", "value")])
    away = (factors[:, None, columns] - params.furs[None]) / params.fur_reach[None, None]
    fur = jnp.argmin(jnp.abs(away).max(2), axis=1)
    pattern = factors[:, names.index("pattern")].astype(jnp.int32)
    fur_odds = params.fur_odds / params.fur_odds.sum(1, keepdims=True)
    pattern_odds = params.pattern_odds / params.pattern_odds.sum(1, keepdims=True)
    cat, dog = fur_odds[:, fur] * pattern_odds[:, pattern]
    return (cat - dog) / (cat + dog)


RULES = {"generating_rule": Spec(generating, reads=("factors",))}
