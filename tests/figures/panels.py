"""What is drawn in a panel."""

import numpy as np


def lines(axes, **look):
    """The lines of a panel whose settings are these."""
    found = axes.lines
    for name, value in look.items():
        found = [line for line in found if getattr(line, f"get_{name}")() == value]
    return found


def holds(axes, wanted):
    """Return whether one of the lines has these heights."""
    return any(np.allclose(line.get_ydata(), wanted) for line in axes.lines
               if np.shape(line.get_ydata()) == np.shape(wanted))  # fmt: skip
