"""Constant: the same answer whatever the picture, a linear classifier whose weights are zero."""

import math
from typing import Annotated

import jax.numpy as jnp

from catdog_jax.models import linear
from catdog_jax.registry import OneOf
from catdog_jax.types import Classifier, Spec

ANSWERS = {"cat": (1.0, 0.0), "dog": (0.0, 1.0)}


def constant(
    input_shape: tuple[int, ...], *, answer: Annotated[str, OneOf(tuple(ANSWERS))] = "dog"
) -> Classifier:
    """Build the classifier that never looks.

    Args:
      input_shape: shape of one example, without the batch.
      answer: 'cat' or 'dog'.

    Returns:
      A linear classifier; only its bias is not zero.

    Raises:
      InputError: another answer.
    """
    return linear.classifier(jnp.zeros((math.prod(input_shape), 2)), jnp.asarray(ANSWERS[answer]))


RULES = {"constant": Spec(constant)}
