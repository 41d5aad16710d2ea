"""The examples that estimators are fitted to."""

import numpy as np
from jaxtyping import Array, Int, Num

from catdog_jax.types import InputError

Examples = Num[np.ndarray, "N ..."] | Num[Array, "N ..."]
Labels = Int[np.ndarray, " N"] | Int[Array, " N"]


def as_rows(examples: Examples) -> Num[np.ndarray, "N D"]:
    """Lay each example out as one row, on the host."""
    rows = np.asarray(examples)
    return rows.reshape(len(rows), -1)


def check_counts(name: str, labels: Labels, num_classes: int, fewest: int = 1) -> None:
    """Check that every class has examples enough.

    Args:
      name: of the estimator, for messages.
      labels: [N] in 0..K-1.
      num_classes: K.
      fewest: examples needed of every class.

    Raises:
      InputError: a class with too few.
    """
    counts = np.bincount(np.asarray(labels), minlength=num_classes)
    if counts.min() < fewest:
        raise InputError(
            f"{name}: class {int(counts.argmin())} has {counts.min()} training examples; "
            f"give at least {fewest} of every class"
        )
