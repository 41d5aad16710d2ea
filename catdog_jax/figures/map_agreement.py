"""Do members look at the same thing? Correlations of their maps, against what chance gives."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from catdog_jax.figures import strip, style

COLOURS = (style.PALETTE[0], style.PALETTE[1], style.GREY)


@style.look()
def map_agreement(
    correlations: Float[np.ndarray, "G L P M M"],
    kinds: Sequence[str],
    methods: Sequence[str],
    models: Sequence[str],
    *,
    command: str,
    note: str = "",
) -> Figure:
    """Draw the correlations of all pairs of members, a panel per kind of map.

    Args:
      correlations: [G, L, P, M, M], mean correlation of two members' maps; symmetric in the last
        two or not, the diagonal is left out; nan where there is none.
      kinds: G names of what is compared, the first the question and the others the yardsticks, at
        most three.
      methods: L names of the kinds of maps.
      models: P entries of `--models`.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure: L panels, in each a group of G rows per model.
    """
    num_members = correlations.shape[-1]
    pairs = ~np.eye(num_members, dtype=bool)
    group = len(kinds) + 1
    count = group * len(models) - 1
    rows = [group * p + g for p in range(len(models)) for g in range(len(kinds))]
    figure = style.sheet(3.1 * len(methods) + 1.8, 0.75 + 0.36 * count)
    panels = figure.subplots(1, len(methods), sharey=True, squeeze=False)[0]
    for axes, method, values in zip(panels, methods, np.moveaxis(correlations, 1, 0), strict=True):
        for p, g in np.ndindex(len(models), len(kinds)):
            found = values[g, p][pairs].astype(np.float64)
            strip.draw_strip(axes, group * p + g, found[np.isfinite(found)], COLOURS[g])
        axes.axvline(0, **style.DOTTED)
        low = np.nanmin(np.where(pairs, values, np.nan), initial=0.0)
        axes.set_xlim(min(low - 0.05, -0.1), 1.04)
        axes.set_title(method, loc="left")
        axes.set_xlabel("correlation of two members' maps")
        for p in range(1, len(models)):
            axes.axhline(group * p - 1, color=style.PALE, linewidth=0.6, zorder=0)
        style.name_rows(axes, rows, list(kinds) * len(models))
    panels[0].set_ylim(count - 0.4, -1.1)
    beside = panels[0].get_yaxis_transform()
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    for p, model in enumerate(models):
        panels[0].text(
            0.0, group * p - 0.55, style.wrap(model, 3.0)[0], weight="bold", va="bottom",
            transform=beside, bbox=ground,
        )  # fmt: skip
    return style.finish(
        figure,
        "Do different starts look at the same thing?",
        f"Every dot is a pair of {num_members} members. Spearman's rank correlation of the sizes "
        "of their maps, averaged over pictures: 1 where both find the same places important, 0 "
        f"where one says nothing of the other. “{kinds[0]}” is the question; the rows below it are "
        "the yardsticks: maps of different pictures of one class, which share only where animals "
        "tend to be, and maps of the same members before training, which share only the picture "
        f"and the formula. {note}",
        command,
        strip.legend("one pair of members", num_members > 2),
    )
