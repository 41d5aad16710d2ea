"""Constant: the same answer whatever the picture, a linear classifier whose weights are zero."""

import math

import jax.numpy as jnp

from catdog_jax.models import linear
from catdog_jax.registry import check_known
from catdog_jax.types import Classifier, RuleSpec

ANSWERS = {"cat": (1.0, 0.0), "dog": (0.0, 1.0)}


def constant(input_shape: tuple[int, ...], *, answer: str = "dog") -> Classifier:
    """Build the classifier that never looks.

    Args:
      input_shape: shape of one example, without the batch.
      answer: 'cat' or 'dog'.

    Returns:
      A linear classifier; only its bias is not zero.

    Raises:
      InputError: another answer.
    """
    check_known("answer", answer, ANSWERS)
    return linear.classifier(jnp.zeros((math.prod(input_shape), 2)), jnp.asarray(ANSWERS[answer]))


RULES = {"constant": RuleSpec(constant, "always the same answer: zero weights and a typed bias")}
