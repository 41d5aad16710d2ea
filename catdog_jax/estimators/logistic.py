"""Logistic regression at its optimum: the one place that every start of gradient descent leads to.

The loss is convex, so the weights are learned, but nothing of the start is left in them. In the
principal axes of the data, each divided by the root of its curvature, the valley is nearly round,
and a quasi-Newton method is at the bottom after some dozens of steps.
"""

from typing import Annotated

import numpy as np
import scipy.optimize
import scipy.special

from catdog_jax.estimators._rows import Labels, Rows, spectrum
from catdog_jax.models import linear
from catdog_jax.registry import Range
from catdog_jax.types import Classifier, Spec

GRADIENT = 1e-8  # largest slope at the end, of the mean loss and in round coordinates


def logistic(
    rows: Rows, labels: Labels, num_classes: int, *, C: Annotated[float, Range(above=0)] = 0.01
) -> Classifier:
    """Minimise C · Σ cross-entropy + |w|² / 2 to the bottom, in float64; the bias is free.

    For two classes w is one vector, the difference of the two columns of weights; for more, |w|² is
    summed over the columns of all classes. That is `C` of scikit-learn's `LogisticRegression`.

    Args:
      rows: [N, D] float32, pictures in 0..1 or features.
      labels: [N] int32.
      num_classes: K ≥ 2.
      C: price of the loss against that of the weights, > 0.

    Returns:
      A linear classifier; its columns of weights sum to zero.

    Raises:
      InputError: a class without an example, or a setting out of range.
      RuntimeError: the optimum was not reached (numbers too large for float64).

    Source:
      Cox 1958; Liu, Nocedal 1989, "On the limited memory BFGS method" (scipy's L-BFGS-B).
    """
    data, num_examples = spectrum(rows), len(rows)
    # Two classes have one vector of weights, which the two columns share.
    split = np.array([[-0.5, 0.5]]) if num_classes == 2 else np.eye(num_classes)
    decay = 1.0 / (C * num_examples)
    # The curvature of the cross-entropy along an axis is at most a quarter of its variance.
    scale = 1.0 / np.sqrt(0.25 * data.values / num_examples + decay)
    inputs = data.scores * scale
    wanted = np.eye(num_classes)[labels]

    def unpack(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        table = packed.reshape(-1, len(split))
        return table[:-1], table[-1]

    def objective(packed: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = unpack(packed)
        logits = (inputs @ weights + bias) @ split
        log_total = scipy.special.logsumexp(logits, axis=1)
        shrunk = scale[:, None] * weights
        loss = np.mean(log_total - logits[np.arange(num_examples), labels])
        slope = (np.exp(logits - log_total[:, None]) - wanted) @ split.T / num_examples
        gradient = inputs.T @ slope + decay * scale[:, None] * shrunk
        full = np.concatenate([gradient, slope.sum(axis=0)[None]])
        return loss + 0.5 * decay * np.sum(shrunk**2), full.ravel()

    start = np.zeros((len(scale) + 1) * len(split))
    options = {"maxiter": 5000, "maxfun": 10000, "maxcor": 30, "gtol": GRADIENT, "ftol": 0.0}
    found = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    steepest = float(np.abs(found.jac).max())
    if not steepest <= 1e-6:
        raise RuntimeError(f"logistic: no optimum found ({found.message}; slope {steepest:.1e})")
    weights, bias = unpack(found.x)
    columns = data.lift(scale[:, None] * weights) @ split
    offsets = bias @ split - data.mean @ columns
    columns -= columns.mean(axis=1, keepdims=True)
    return linear.classifier(columns, offsets - offsets.mean())


ESTIMATORS = {"logistic": Spec(logistic, origin="learned")}
