"""Layers as maps: what each still knows of how a picture was drawn, and which ones are alike."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from catdog_jax.figures import style

CELL = (0.29, 0.175)  # inches, of one number
SQUARE = 0.25  # inches, of one pair of layers


@style.look()
def factors_by_layer(
    scores: Float[np.ndarray, "P 2 L F"],
    label_scores: Float[np.ndarray, " F"],
    groups: Mapping[str, Sequence[int]],
    factors: Sequence[str],
    layers: Sequence[Sequence[str]],
    models: Sequence[str],
    *,
    num_members: int,
    command: str,
    note: str = "",
) -> Figure:
    """Draw how well each factor of the pictures can be read off each layer.

    Args:
      scores: [P, 2, L, F] R² on test examples, ≤ 1, second axis: at the start, trained; nan
        behind a model's last layer and for a factor that does not vary.
      label_scores: [F] R² of knowing the class alone.
      groups: title -> the factors below it, in order.
      factors: F names.
      layers: P lists of names, input first.
      models: P entries of `--models`.
      num_members: behind each number, which is their median.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure: a map per model and state, 100 · R² written in every cell.
    """
    rows: list[int | None] = []
    words: list[str] = []
    for title, members in groups.items():
        rows += [None, *members]
        words += [title, *(factors[f].replace("_", " ") for f in members)]
    counts = [1, *(len(names) for names in layers)]
    wanted = (sum(counts) * CELL[0] + 0.12 * len(counts) + 1.9, 2 * len(rows) * CELL[1] + 1.6)
    figure = style.sheet(max(6.5, wanted[0]), wanted[1])
    grid = figure.subplots(2, len(counts), squeeze=False, width_ratios=counts)
    for when, state in enumerate(("at the random start", "trained")):
        first, *others = grid[when]
        _numbers(first, _rows(label_scores[None], rows))
        first.set_yticks(range(len(rows)), words)
        for row, label in zip(rows, first.get_yticklabels(), strict=True):
            label.set_weight("bold" if row is None else "normal")
        first.set_ylabel(state, size=10, weight="bold")
        for p, axes in enumerate(others):
            _numbers(axes, _rows(scores[p, when, : counts[p + 1]], rows))
            axes.set_yticks([])
            if when == 0:
                _title(axes, models[p], CELL[0] * counts[p + 1])
        for axes, names in zip(grid[when], [["class"], *layers], strict=True):
            if when == 0:
                axes.set_xticks([])
            else:
                axes.set_xticks(range(len(names)), names, rotation=90)
    caption = (
        "100 · R² of a ridge regression from a layer to a factor of the drawing, on test examples: "
        "100 where the factor can be read off exactly, 0 where nothing can. Each number is the "
        f"median over {style.members(num_members)}. The column “class” says how much is known of a "
        "factor by knowing cat or dog alone: a factor that has only that much left, and no more, "
        "has been thrown away but for what it says of the class. "
    )
    title = "What does each layer still know of the picture?"
    return style.finish(figure, title, caption + note, command)


@style.look()
def alignment(
    maps: Mapping[str, Float[np.ndarray, "P L L"]],
    layers: Sequence[Sequence[str]],
    models: Sequence[str],
    *,
    command: str,
    note: str = "",
) -> Figure:
    """Draw which layers are alike: centred kernel alignment of every layer with every other.

    Args:
      maps: what is compared -> [P, L, L] alignment, about 0 (nothing in common) to 1; nan behind
        a model's last layer, or where there is nothing to compare.
      layers: P lists of names, input first.
      models: P entries of `--models`.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure: a row per comparison, a column per model.
    """
    shown = {name: values for name, values in maps.items() if np.isfinite(values).any()}
    counts = [len(names) for names in layers]
    width = max(6.5, SQUARE * sum(counts) + 0.72 * len(counts) + 1.3)
    height = len(shown) * (SQUARE * max(counts) + 0.12) + 1.2
    figure = style.sheet(width, height)
    grid = figure.subplots(len(shown), len(counts), squeeze=False, width_ratios=counts)
    for r, (name, values) in enumerate(shown.items()):
        for p, names in enumerate(layers):
            axes, count = grid[r, p], len(names)
            _picture(axes, values[p, :count, :count])
            axes.set_aspect("equal", anchor="NW")
            axes.set_yticks(range(count), names)
            axes.set_xticks(range(count), names if r == len(shown) - 1 else [""] * count)
            axes.tick_params(labelsize=7)
            axes.tick_params(axis="x", rotation=90)
            if r == 0:
                _title(axes, models[p], SQUARE * count + 0.3)
        lines = style.wrap(name, SQUARE * max(counts))
        grid[r, 0].set_ylabel("\n".join(lines), weight="bold", loc="top")
    label = "alignment (debiased linear CKA)"
    style.colour_bar(grid[0, 0].images[0], label, ax=grid, aspect=40, shrink=0.6, panchor=False)
    caption = (
        "Two layers are alike (1) where the same pairs of test pictures lie close together in "
        "both, whichever way their units are turned or scaled; 0 is what unrelated layers score. "
    )
    title = "Which layers see the same thing?"
    return style.finish(figure, title, caption + note, command)


def _title(axes, model, width):
    axes.set_title(style.entry_title(model, max(width, 0.8), 8.5), size=8.5)


def _rows(values, rows):
    """Order [L, F] by rows of the map; a title leaves its row empty."""
    empty = np.full(len(values), np.nan)
    return np.stack([empty if f is None else values[:, f] for f in rows])


def _picture(axes, values):
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.imshow(np.clip(values, 0.0, 1.0), cmap="viridis", vmin=0.0, vmax=1.0, aspect="auto")


def _numbers(axes, values):
    _picture(axes, values)
    look = {"ha": "center", "va": "center", "size": 6.5}
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            text, ink = f"{100 * max(value, 0.0):.0f}", style.INK if value > 0.6 else "white"
            axes.text(column, row, text, color=ink, **look)
