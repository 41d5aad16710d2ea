"""Where every member ended: test accuracy as a strip with its distribution."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from catdog_jax.figures import strip, style


@style.look()
def final_accuracy(
    test_accuracy: Float[np.ndarray, "P M"],
    ensemble_accuracy: Float[np.ndarray, " P"],
    diverged_step: Int[np.ndarray, "P M"],
    models: Sequence[str],
    *,
    chance: float,
    command: str,
    note: str = "",
) -> Figure:
    """Draw the final test accuracy of every member, one row per model.

    Args:
      test_accuracy: [P, M], at the last step, fraction in 0..1.
      ensemble_accuracy: [P], of the mean probability over members.
      diverged_step: [P, M], -1 for a member that never diverged; diverged members are left out.
      models: P entries of `--models`.
      chance: accuracy of guessing, 0..1.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure.
    """
    num_models, num_members = test_accuracy.shape
    figure = style.sheet(8.0, 0.55 + 0.72 * num_models)
    axes = figure.subplots()
    diamond: dict[str, Any] = {"marker": "D", "markeredgewidth": 1.6, "label": "ensemble"}
    for p in range(num_models):
        values = test_accuracy[p, diverged_step[p] < 0].astype(np.float64)
        strip.draw_strip(axes, p, values, style.colour(p))
        if num_members > 1:
            look = style.hollow(style.colour(p), 7.0, zorder=5, **diamond)
            axes.plot([ensemble_accuracy[p]], [p], **look)
        text = _numbers(values, ensemble_accuracy[p])
        beside = axes.get_yaxis_transform()
        axes.text(1.02, p, text, transform=beside, va="center", linespacing=1.3)
    strip.name_rows(axes, models, 1.5)
    axes.axvline(chance, **style.DOTTED)
    axes.set_xlabel("test accuracy after the last step (fraction right)")
    num_diverged = int((diverged_step >= 0).sum())
    caption = (
        f"Final test accuracy of {style.members(num_members)} of each model. "
        + "Above each line the density of the members; dots lie at different heights only to stay "
        "apart. The text gives mean ± standard deviation over members. "
        * (num_members > 1)
        + "The ensemble takes the class of the largest mean probability over members. "
        * (num_members > 1)
        + f"{num_diverged} diverged (loss no longer finite) and left out. " * (num_diverged > 0)
        + note
    )
    handles = [
        *strip.legend("one member", num_members > 1),
        style.handle("guessing", **style.DOTTED),
    ]
    if num_members > 1:
        handles.append(style.handle(**style.hollow(style.GREY, 6.5, **diamond)))
    return style.finish(figure, "Where every member ended", caption, command, handles)


def _numbers(values, ensemble):
    if values.size == 0:
        return "all diverged"
    mean = f"{values.mean():.3f}"
    if values.size < 2:
        return mean
    mean += f" ± {values.std(ddof=1):.3f}"
    return f"{mean}\nensemble {ensemble:.3f}"
