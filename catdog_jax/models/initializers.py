"""Starting weights by name: the kernel's distribution, times a gain.

'he' is normal of variance 2 / fan-in, 'lecun' 1 / fan-in, 'glorot' 2 / (fan-in + fan-out);
'orthogonal' has orthonormal rows or columns. Fan-in is the number of inputs of one unit (rows ×
columns × channels of a convolution), fan-out the number of units one input reaches. Biases start at
zero everywhere. The last layer of a deep model starts HEAD_GAIN times smaller.

Source: He et al. 2015, eq. 10; Glorot & Bengio 2010, eq. 12; LeCun et al. 1998, sec. 4.6; Saxe et
al. 2014.
"""

from collections.abc import Callable
from typing import Annotated

import jax

from catdog_jax.registry import OneOf, Range

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

Init = Annotated[str, OneOf(tuple(INITIALIZERS))]
Gain = Annotated[float, Range(above=0)]
