"""What every variable of a labelled data set is: its unit, and a line on it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr


def described(data: "xr.Dataset", texts: Mapping[str, tuple[str, str]]) -> "xr.Dataset":
    """Give each variable its unit and a line on what it is.

    Args:
      data: the results.
      texts: name -> (unit, what it is); names that the results lack are passed over.
    """
    for name, (unit, text) in texts.items():
        if name in data.variables:
            data[name].attrs = {"units": unit, "long_name": text}
    return data
