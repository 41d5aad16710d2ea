"""Polynomial: one weight per monomial of the inputs, and class.

The formula bends with its inputs but is linear in its weights, so that its loss has one lowest
point and all starts meet there. Its params are `LinearParams`, applied to monomials.
"""

import math
from typing import Annotated

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from catdog_jax.models import linear, parts
from catdog_jax.registry import Range
from catdog_jax.types import InputError, Model, Recipe, Spec

MOST_MONOMIALS = 200_000


def count_monomials(num_inputs: int, degree: int) -> int:
    """Count the monomials of degree 1 to `degree` in so many inputs; the constant is the bias."""
    return math.comb(num_inputs + degree, degree) - 1


def _blocks(num_inputs: int, degree: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Tabulate the monomials of degree 2 and above, in lexicographic order within a degree.

    Each of degree k is an input times a monomial of degree k - 1.

    Returns:
      For each degree: [P] int32, index of the input, not above any index of the rest; [P] int32,
      place of the rest among the monomials of degree k - 1; [P] float32, multiplies the product.
    """
    lead = np.arange(num_inputs)  # first index of each monomial of the degree below
    run = np.ones(num_inputs, np.int64)  # how often it comes at the head
    blocks = []
    for _ in range(2, degree + 1):
        begin = np.searchsorted(lead, np.arange(num_inputs))
        rest = np.concatenate([np.arange(b, len(lead)) for b in begin])
        first = np.repeat(np.arange(num_inputs), len(lead) - begin)
        run = np.where(lead[rest] == first, run[rest], 0) + 1
        lead = first
        # The r-th power of a standard normal number has the mean square 1 · 3 · … · (2r - 1).
        factor = 1.0 / np.sqrt(2.0 * run - 1.0) if num_inputs > 1 else np.ones(len(run))
        blocks.append((first.astype(np.int32), rest.astype(np.int32), factor.astype(np.float32)))
    return blocks


def polynomial(
    input_shape: parts.Shape,
    num_classes: parts.Outputs,
    *,
    degree: Annotated[int, Range(1, 12)] = 2,
    init: parts.Init = "lecun",
    gain: parts.Gain = 1.0,
) -> Model:
    """Build a polynomial classifier, or a regression where there is one output.

    The monomials x_i, x_i x_j (i ≤ j), x_i x_j x_k (i ≤ j ≤ k), … come once each, by degree and
    then in the order of their indices. Of one input x they are x, x², x³, … as they are, so that
    the weights are the a, b, c of y = a x + b x² + c x³ + bias. Of several inputs each is divided
    by the root of its mean square over independent standard normal inputs (x_i² by √3, x_i x_j
    by 1), so that all are of one size.

    Args:
      input_shape: shape of one example, without the batch.
      num_classes: K ≥ 2 logits, or 1 for a regression.
      degree: of the polynomial, 1 to 12.
      init: initialiser of the weights; the bias starts at zero.
      gain: multiplies the initialiser's standard deviation, > 0.

    Returns:
      The model; its params are `LinearParams`, weights [P, K] for P monomials.

    Raises:
      InputError: a setting out of range, or more than MOST_MONOMIALS monomials.
    """
    num_inputs = math.prod(input_shape)
    count = count_monomials(num_inputs, degree)
    if count > MOST_MONOMIALS:
        raise InputError(
            f"polynomial: degree={degree} of {num_inputs:,} inputs has {count:,} monomials, more "
            f"than {MOST_MONOMIALS:,}; give a smaller degree, or smaller or fewer inputs"
        )
    blocks = _blocks(num_inputs, degree)

    def monomials(inputs: Num[Array, "B ..."]) -> Float[Array, "B P"]:
        # An input is a row: rows are gathered quickly, columns are not.
        x = linear.flatten(inputs, inputs.dtype).T
        parts = [x]
        for first, rest, factor in blocks:
            parts.append(x[first] * parts[-1][rest] * factor[:, None].astype(x.dtype))
        return jnp.concatenate(parts).T

    return linear.affine(count, num_classes, init, gain, "monomials", monomials)


RECIPES = {"default": Recipe(1500, 128, "sgd", 0.01, weight_decay=0.2)}
MODELS = {"polynomial": Spec(polynomial, RECIPES, reads=("vectors", "images"))}
