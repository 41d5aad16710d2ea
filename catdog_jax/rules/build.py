"""From what a person typed, `constant:answer=cat`, to a classifier of cat and dog."""

from typing import Any

from catdog_jax import registry
from catdog_jax.models.build import on_pixels
from catdog_jax.types import Classifier

RULE = registry.Kind("rule", "catdog_jax.rules", "RULES", "(input_shape, **settings) -> Classifier")


def build_rule(entry: str, input_shape: tuple[int, ...], **proposed: Any) -> Classifier:
    """Build the rule that an entry describes.

    Args:
      entry: see `RULE.spec`.
      input_shape: of one picture, or of one example's factors where the rule reads those.
      **proposed: settings that are passed where the rule takes them and the entry does not.

    Returns:
      The classifier; its `apply` takes pictures 0..255, or factors.

    Raises:
      InputError: an unknown name or setting, or inputs of another shape than the rule's.
    """
    rule = RULE.build(entry, input_shape, **proposed)
    if RULE.is_own(entry) or "factors" in RULE.spec(entry).reads:
        return rule
    return Classifier(rule.params, on_pixels(rule.apply))
