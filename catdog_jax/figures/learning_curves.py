"""Learning curves: every member thin, the median and the middle half bold."""

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from catdog_jax.figures import style

HALO = [withStroke(linewidth=3.6, foreground="white")]  # seen above a thousand thin lines


@style.look()
def learning_curves(data: xr.Dataset) -> Figure:
    """Draw the accuracy of every member over training, a panel per model.

    Args:
      data: `step` (model, eval); `train_accuracy`, `test_accuracy` (model, member, eval), fractions
        right; `diverged_step` (model, member), -1 for a member that never diverged; `label`
        (example).

    Returns:
      Figure.
    """
    figure, panels = style.panels(data.sizes["model"], 3.0, 2.7, sharey=True)
    for p, axes in enumerate(panels):
        one, hue = data.isel(model=p), style.colour(p)
        step, stop, test = (one[name].values for name in ("step", "diverged_step", "test_accuracy"))
        alive = stop < 0
        thin = style.thin(int(alive.sum()))
        axes.plot(step, test[alive].T, color=hue, linewidth=0.7, alpha=thin, label="member")
        for row, last in zip(test[~alive], stop[~alive], strict=True):
            kept = (step <= last) & np.isfinite(row)
            axes.plot(step[kept], row[kept], color=style.INK, linewidth=0.7, alpha=0.6)
            axes.plot(step[kept][-1:], row[kept][-1:], "x", color=style.INK, markersize=6, zorder=5)
        for name, colour, line in ("train_accuracy", style.GREY, "--"), ("test_accuracy", hue, "-"):
            if alive.any():
                low, middle, high = np.percentile(one[name].values[alive], [25, 50, 75], axis=0)
                axes.fill_between(step, low, high, color=colour, alpha=0.3, linewidth=0, zorder=3)
                bold = {"linewidth": 2.0, "zorder": 4, "path_effects": HALO}
                axes.plot(step, middle, line, color=colour, label="median", **bold)
        axes.axhline(style.chance(data), **style.DOTTED)
        axes.set_title(style.model_title(str(one["model"].values), 2.5))
        axes.set_xlabel("training step")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.margins(x=0.02)
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel("accuracy (fraction right)")
    num_diverged, many = int((data["diverged_step"] >= 0).sum()), data.sizes["member"] > 1
    caption = (
        f"Accuracy of {style.members(data.sizes['member'])} of each model while it trains, by step"
        + "; each thin line is one member on the test examples" * many
        + f". {num_diverged} diverged (loss no longer finite): drawn to their last step, left out "
        "of the medians" * (num_diverged > 0) + f". {style.source(data)}"
    )
    hue, median = style.colour(0), ", median" * many
    handles: list[Artist] = [
        style.handle(f"test{median}", color=hue, lw=2),
        style.handle(f"training{median}", color=style.GREY, lw=2, ls="--"),
    ]
    if many:
        handles.insert(0, style.handle("test, one member", color=hue, lw=0.7))
        handles.append(Patch(color=style.GREY, alpha=0.4, lw=0, label="middle half of members"))
    handles.append(style.handle("guessing", **style.DOTTED))
    if num_diverged:
        handles.append(style.handle("diverged here", color=style.INK, marker="x"))
    return style.finish(figure, "Learning curves", caption, data, handles)
