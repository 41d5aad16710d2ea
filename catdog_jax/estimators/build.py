"""From what a person typed, `knn:k=5`, and a training set to a classifier."""

import jax
import numpy as np
from jaxtyping import Array, Int, Num

from catdog_jax import registry
from catdog_jax.estimators._rows import check_counts
from catdog_jax.models.build import check_logits, on_pixels
from catdog_jax.types import Classifier, InputError, input_kind

ESTIMATOR = registry.Kind(
    "estimator",
    "catdog_jax.estimators",
    "ESTIMATORS",
    "(inputs, labels, num_classes, **settings) -> Classifier",
)


def fit_estimator(
    entry: str,
    inputs: Num[np.ndarray, "N ..."] | Num[Array, "N ..."],
    labels: Int[np.ndarray, " N"] | Int[Array, " N"],
    num_classes: int,
) -> Classifier:
    """Compute the weights of the classifier that an entry describes.

    Args:
      entry: see `ESTIMATOR.spec`.
      inputs: pictures [N, H, W, C] 0..255, which a registered estimator sees in 0..1; or features
        [N, D] float32.
      labels: [N] int32 in 0..K-1.
      num_classes: K ≥ 2.

    Returns:
      The classifier; its `apply` takes inputs like `inputs`.

    Raises:
      InputError: an unknown estimator, a setting out of range, too few examples of a class, numbers
        that are not finite, or an estimator of one's own that fails or gives no classifier.
    """
    name, _ = registry.parse_entry(entry)
    if not ESTIMATOR.is_own(entry):
        pictures, classes = input_kind(inputs) == "images", np.asarray(labels)
        rows = np.asarray(inputs, np.float32).reshape(len(inputs), -1) / (255 if pictures else 1)
        check_counts(name, classes, num_classes, fewest=1)
        if not np.isfinite(rows).all():
            raise InputError(f"{name}: the training examples hold numbers that are not finite")
        found = ESTIMATOR.build(entry, rows, classes, num_classes)
        return Classifier(found.params, on_pixels(found.apply)) if pictures else found
    own: object = ESTIMATOR.build(entry, inputs, labels, num_classes)
    if not isinstance(own, Classifier):
        raise InputError(
            f"estimator {name!r} returned {type(own).__name__}; return a "
            "catdog_jax.types.Classifier(params, apply)"
        )
    example = jax.ShapeDtypeStruct((2, *inputs.shape[1:]), inputs.dtype)
    check_logits("estimator", entry, own.apply, own.params, example, num_classes)
    return own
