"""Starting weights by name: the kernel's distribution, times a gain.

Fan-in is the number of inputs of one unit (rows × columns × channels of a convolution), fan-out the
number of units one input reaches. Biases start at zero everywhere. The last layer of a deep model
starts HEAD_GAIN times smaller.
"""

from collections.abc import Callable

import jax

from catdog_jax import registry

Initializer = Callable[..., jax.Array]  # (key, shape, dtype) -> array

HEAD_GAIN = 0.1  # so that the first answers are nearly even, whatever the depth
_scaled = jax.nn.initializers.variance_scaling
INITIALIZERS: dict[str, Callable[[float], Initializer]] = {
    "glorot": lambda gain: _scaled(gain**2, "fan_avg", "normal"),
    "he": lambda gain: _scaled(2.0 * gain**2, "fan_in", "normal"),
    "lecun": lambda gain: _scaled(gain**2, "fan_in", "normal"),
    "orthogonal": jax.nn.initializers.orthogonal,
    "zeros": lambda gain: jax.nn.initializers.zeros,
}


def initializer(name: str, gain: float = 1.0, model: str = "initializer") -> Initializer:
    """Look an initialiser up.

    Args:
      name: 'he' (normal, variance 2 / fan-in), 'lecun' (1 / fan-in), 'glorot' (2 / (fan-in +
        fan-out)), 'orthogonal' (rows or columns orthonormal) or 'zeros'.
      gain: multiplies the standard deviation, > 0.
      model: name of the model, for messages.

    Returns:
      (key, shape, dtype) -> array.

    Raises:
      InputError: an unknown name, or a gain out of range.

    Source: He et al. 2015, eq. 10; Glorot & Bengio 2010, eq. 12; LeCun et al. 1998, sec. 4.6; Saxe
      et al. 2014.
    """
    registry.check_positive(model, "gain", gain)
    registry.check_known("init", name, INITIALIZERS)
    return INITIALIZERS[name](gain)
