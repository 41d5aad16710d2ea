"""Where every member ended: test accuracy as a strip with its distribution."""

from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import strip, style

DIAMOND: dict[str, Any] = {"marker": "D", "markeredgewidth": 1.6, "label": "ensemble"}


@style.look()
def final_accuracy(data: xr.Dataset) -> Figure:
    """Draw the final test accuracy of every member that did not diverge, one row per model.

    Args:
      data: `test_accuracy` (model, member, eval), the last of which is drawn, and
        `ensemble_accuracy` (model), fractions right; `diverged_step` (model, member), -1 for a
        member that never diverged; `label` (example).

    Returns:
      Figure.
    """
    num_models, num_members = data.sizes["model"], data.sizes["member"]
    many, alive = num_members > 1, data["diverged_step"] < 0
    accuracy = data["test_accuracy"].isel(eval=-1).where(alive).astype(float)
    figure = style.sheet(8.0, 0.55 + 0.72 * num_models)
    axes: Any = figure.subplots()
    for p in range(num_models):
        one, ensemble = accuracy[p].dropna("member"), float(data["ensemble_accuracy"][p])
        strip.draw_strip(axes, p, one.values, style.colour(p))
        text = f"{float(one.mean()):.3f}" if one.size else "all diverged"
        if many:
            axes.plot([ensemble], [p], **style.hollow(style.colour(p), 7.0, zorder=5, **DIAMOND))
        if one.size > 1:
            text += f" ± {float(one.std(ddof=1)):.3f}\nensemble {ensemble:.3f}"
        beside = {"transform": axes.get_yaxis_transform(), "va": "center", "linespacing": 1.3}
        axes.text(1.02, p, text, **beside)
    strip.name_models(axes, data["model"].values.tolist(), 1.5)
    axes.axvline(style.chance(data), **style.DOTTED)
    axes.set_xlabel("test accuracy after the last step (fraction right)")
    num_diverged = int((~alive).sum())
    caption = (
        f"Final test accuracy of {style.members(num_members)} of each model. "
        + "Above each line the density of the members; dots lie at different heights only to stay "
        "apart. The text gives mean ± standard deviation over members. The ensemble takes the "
        "class of the largest mean probability over members. "
        * many
        + f"{num_diverged} diverged (loss no longer finite) and left out. " * (num_diverged > 0)
        + style.source(data)
    )
    handles = [
        *strip.legend("one member", many),
        style.handle("guessing", **style.DOTTED),
        *[style.handle(**style.hollow(style.GREY, 6.5, **DIAMOND))] * many,
    ]
    return style.finish(figure, "Where every member ended", caption, data, handles)
