"""Checks the data and settings of an estimator; each error is one line."""

import math

import numpy as np
from jaxtyping import Array, Float, Int

from catdog_jax.types import InputError

Examples = Float[np.ndarray, "N ..."] | Float[Array, "N ..."]
Labels = Int[np.ndarray, " N"] | Int[Array, " N"]


def examples(
    name: str, images: Examples, labels: Labels, num_classes: int, fewest: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Lay the examples out as rows; raise for what no estimator can learn from.

    Args:
      name: of the estimator, for messages.
      images: [N, ...] floats.
      labels: [N] integers.
      num_classes: K ≥ 2.
      fewest: examples needed of every class.

    Returns:
      [N, D] floats of the same type, and [N] labels, on the host.

    Raises:
      InputError: a class with too few examples, labels outside 0..K-1, or numbers that are not
        finite.
    """
    rows, targets = np.asarray(images), np.asarray(labels)
    if num_classes < 2:
        raise InputError(f"{name}: {num_classes} classes are not allowed; give at least 2")
    if targets.size and not 0 <= targets.min() <= targets.max() < num_classes:
        span = f"{targets.min()}..{targets.max()}"
        raise InputError(f"{name}: labels {span} are outside 0..{num_classes - 1}")
    counts = np.bincount(targets, minlength=num_classes)
    if counts.min() < fewest:
        raise InputError(
            f"{name}: class {int(counts.argmin())} has {counts.min()} training examples; "
            f"give at least {fewest} of every class"
        )
    rows = rows.reshape(len(rows), -1)
    if not np.isfinite(rows).all():
        raise InputError(f"{name}: the training examples hold numbers that are not finite")
    return rows, targets


def number_or_cv(
    name: str, setting: str, text: str, low: float, high: float, allowed: str
) -> float | None:
    """Read a setting that is a number, or 'cv' for one chosen by cross-validation.

    Args:
      name: of the estimator, for messages.
      setting: its name.
      text: what was typed.
      low: smallest allowed number.
      high: largest allowed number.
      allowed: the allowed numbers in words.

    Returns:
      The number; None for 'cv'.

    Raises:
      InputError: neither.
    """
    if text == "cv":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise InputError(
            f"{name}: {setting}={text} is not allowed; give {allowed}, "
            "or cv to choose it by cross-validation"
        )
    return value
