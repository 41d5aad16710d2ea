"""From what a person typed, `knn:k=5`, and a training set to a classifier."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from catdog_jax import registry
from catdog_jax.estimators._checks import Examples, Labels
from catdog_jax.types import Classifier, EstimatorSpec, InputError


def estimator_table() -> Mapping[str, EstimatorSpec]:
    """Give every registered estimator by its name."""
    return registry.table("catdog_jax.estimators", "ESTIMATORS")


def estimator_spec(entry: str) -> EstimatorSpec:
    """Look up what an entry names.

    Args:
      entry: 'name' or 'name:setting=value:…'; the name is registered, or the dotted path of a
        function (images, labels, num_classes, **settings) -> Classifier, or of an `EstimatorSpec`.

    Raises:
      InputError: an unknown name, or a path that leads to nothing callable.
    """
    name, _ = registry.parse_entry(entry)
    wanted = "(images, labels, num_classes, **settings) -> Classifier"
    return registry.find_spec("estimator", name, estimator_table(), EstimatorSpec, wanted)


def fit_estimator(entry: str, images: Examples, labels: Labels, num_classes: int) -> Classifier:
    """Compute the weights of the classifier that an entry describes.

    Args:
      entry: see `estimator_spec`.
      images: [N, ...] float32, pictures in 0..1 or any features.
      labels: [N] int32 in 0..K-1.
      num_classes: K ≥ 2.

    Returns:
      The classifier; its `apply` takes inputs shaped like `images`.

    Raises:
      InputError: an unknown estimator, a setting out of range, too few examples, or an estimator
        of one's own that fails or gives no classifier.
    """
    spec = estimator_spec(entry)
    name, settings = registry.parse_entry(entry)
    values = registry.typed_settings(entry, spec.fit, settings)
    if name in estimator_table():
        return spec.fit(images, labels, num_classes, **values)
    try:
        found: object = spec.fit(images, labels, num_classes, **values)
        if not isinstance(found, Classifier):
            raise InputError(
                f"estimator {name!r} returned {type(found).__name__}; return a "
                "catdog_jax.types.Classifier(params, apply)"
            )
        logits = jax.eval_shape(found.apply, found.params, jnp.asarray(images[:2], jnp.float32))
    except (InputError, MemoryError):
        raise
    except Exception as error:  # an estimator of one's own may raise anything
        why = " ".join(str(error).split())
        raise InputError(
            f"estimator {name!r} fails ({type(error).__name__}: {why}); mend its fit or apply"
        ) from error
    shape = (min(2, len(images)), num_classes)
    if getattr(logits, "shape", None) != shape:
        raise InputError(
            f"estimator {name!r} makes {getattr(logits, 'shape', type(logits).__name__)} of "
            f"{shape[0]} examples; its apply must return logits {list(shape)}, one per class"
        )
    return found
