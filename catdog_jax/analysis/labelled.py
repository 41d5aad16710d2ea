"""What every variable of a labelled data set is: its unit, and a line on it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

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
