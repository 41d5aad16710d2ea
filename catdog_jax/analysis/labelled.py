"""What every variable of a labelled data set is: its unit, a line on it, and names in it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from catdog_jax.registry import documented

if TYPE_CHECKING:
    import xarray as xr


def described(data: "xr.Dataset", maker: Callable[..., Any]) -> "xr.Dataset":
    """Give each variable the line on it, and the unit, that the docstring of its maker has.

    Args:
      data: the results.
      maker: function with a section 'Variables:' of lines 'name: what it is [unit]'; the unit is 1
        where none is said, and names that the results lack are passed over.
    """
    for name, line in documented(maker, "Variables").items():
        if name in data.variables:
            text, _, unit = line.removesuffix("]").partition(" [")
            data[name].attrs = {"units": unit or "1", "long_name": text}
    return data


def readable(names: Sequence[str]) -> np.ndarray:
    """Make an array of names; a byte in a file name that is no UTF-8 becomes an escape."""
    plain = [name.encode("utf-8", "backslashreplace").decode("utf-8") for name in names]
    return np.array(plain, dtype=object)
