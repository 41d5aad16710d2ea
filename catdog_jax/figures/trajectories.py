"""The paths of all members through weight space, from start to end."""

import numpy as np
import xarray as xr
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from catdog_jax.figures import style


@style.look()
def trajectories(data: xr.Dataset) -> Figure:
    """Draw the path of every member in the plane of its model's two principal components.

    Args:
      data: `trajectory` (model, member, eval, axis), in units of the weights, nan where a member
        has diverged; `trajectory_explained` (model, axis), fraction of the variance;
        `diverged_step` (model, member), -1 for a member that never diverged.

    Returns:
      Figure, a panel per model, whose two axes have one scale.
    """
    figure, panels = style.panels(data.sizes["model"], 3.0, 3.1)
    for p, axes in enumerate(panels):
        one, hue = data.isel(model=p), style.colour(p)
        whole = [path[np.isfinite(path).all(axis=1)] for path in one["trajectory"].values]
        drawn = [m for m, path in enumerate(whole) if len(path)]
        if drawn:
            paths = [whole[m] for m in drawn]
            alpha, size = style.thin(len(paths)), 5.0 if len(paths) <= 64 else 3.0
            axes.add_collection(LineCollection(paths, colors=hue, linewidths=0.9, alpha=alpha))
            starts, ends = (np.array([path[at] for path in paths]).T for at in (0, -1))
            lost = one["diverged_step"].values[drawn] >= 0
            axes.plot(*starts, **style.hollow(hue, size, mew=0.8, label="start", zorder=3))
            dot = {"markeredgecolor": "white", "mew": 0.4, "markersize": size, "zorder": 4}
            axes.plot(*ends[:, ~lost], "o", color=hue, label="end", **dot)
            cross = {"color": style.INK, "markersize": 6, "zorder": 5}
            axes.plot(*ends[:, lost], "x", label="diverged", **cross)
        first, second = one["trajectory_explained"].values
        axes.set_title(style.model_title(str(one["model"].values), 2.5))
        axes.set_xlabel(f"component 1 ({first:.0%} of variance)")
        axes.set_ylabel(f"component 2 ({second:.0%})")
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.08)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
    num_diverged = int((data["diverged_step"] >= 0).sum())
    caption = (
        f"Paths of {style.members(data.sizes['member'])} of each model through weight space, one "
        f"point for each of {data.sizes['eval']} evaluations, seen in the plane in which they vary "
        "most together (principal components of fixed random sketches of the weights). Lengths in "
        "units of the weights; both axes of a panel have one scale, other panels have others. "
        + f"{num_diverged} diverged (loss no longer finite), end marked ×. " * (num_diverged > 0)
        + style.source(data)
    )
    handles = [
        style.handle("random start", **style.hollow(style.GREY)),
        style.handle("path of one member", color=style.GREY, lw=0.9),
        style.handle("end of training", marker="o", color=style.GREY, markersize=5),
    ]
    title = "From random starts to the end of training"
    return style.finish(figure, title, caption, data, handles)
