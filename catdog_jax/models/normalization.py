"""Normalisation without running statistics, so that `apply(params, x)` stays a function.

Each example is normalised by itself: examples are not coupled, and a batch may be cut in parts.
"""

from typing import Annotated

from flax import linen as nn
from jaxtyping import Array, Float

from catdog_jax.registry import OneOf
from catdog_jax.types import InputError

NormName = Annotated[str, OneOf(("group", "layer", "none", "rms"))]

_MOST_GROUPS = 8


def num_groups(features: int) -> int:
    """Choose the largest divisor of `features` ≤ 8 that leaves at least two features a group."""
    return max(n for n in range(1, _MOST_GROUPS + 1) if features % n == 0 and features >= 2 * n)


class Norm(nn.Module):
    """Normalise the features of one example, then scale (and shift) them by learned numbers.

    Attributes:
      kind: 'none'; 'layer' and 'rms' over the features at each place; 'group' over groups of
        features and all places.
    """

    kind: str

    @nn.compact
    def __call__(self, x: Float[Array, "B ... C"]) -> Float[Array, "B ... C"]:
        """Return the normalised features, of the same shape.

        Raises:
          InputError: a single feature, of which 'layer' and 'group' would make a constant.
        """
        if self.kind in ("group", "layer") and x.shape[-1] < 2:
            raise InputError(f"norm={self.kind} needs a width ≥ 2, not 1; give norm=none")
        if self.kind == "layer":
            return nn.LayerNorm(name="layer")(x)
        if self.kind == "rms":
            return nn.RMSNorm(name="rms")(x)
        if self.kind == "group":
            return nn.GroupNorm(num_groups=num_groups(x.shape[-1]), name="group")(x)
        return x
