"""What can be read off the layers of a model of sentences, and which sentences it understands."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from catdog_jax.figures import style

ROW = 0.27  # inches


@style.look()
def probes(
    accuracy: Float[np.ndarray, "L M 2 P"],
    baseline: Float[np.ndarray, " P"],
    layers: Sequence[tuple[str, str]],
    questions: Sequence[str],
    *,
    command: str,
    note: str = "",
) -> Figure:
    """Draw how well probes read each layer, at the random start and after training.

    Args:
      accuracy: [L, M, 2, P], of layer, member, start or trained, and question; fraction in 0..1,
        nan for a member that diverged.
      baseline: [P], of always giving the most frequent answer.
      layers: L pairs (model, layer), the layers of one model in a row.
      questions: P names.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure, one panel per question.
    """
    models = list(dict.fromkeys(model for model, _ in layers))
    # An empty row with the model's name goes before its layers.
    heights, names, bold, row = [], [], [], 0
    for number, (model, layer) in enumerate(layers):
        if number == 0 or layers[number - 1][0] != model:
            bold.append(row)
            names.append((row, model))
            row += 1
        names.append((row, layer))
        heights.append(row)
        row += 1
    figure = Figure(figsize=(10.0, 0.7 + ROW * row), layout="constrained")
    panels = figure.subplots(1, len(questions), sharey=True, squeeze=False)[0]
    for p, ax in enumerate(panels):
        style.tidy(ax)
        ax.axvline(baseline[p], color=style.INK, linewidth=0.8, linestyle=":", zorder=1)
        for height, (model, _), values in zip(heights, layers, accuracy[..., p], strict=True):
            colour = style.colour(models.index(model))
            start, end = (values[:, when][np.isfinite(values[:, when])] for when in (0, 1))
            if not end.size:
                continue
            ax.plot(end, np.full(end.size, height), "|", color=colour, markersize=7, alpha=0.6)
            ax.plot(
                [np.median(start), np.median(end)], [height] * 2, color=colour, lw=1.2, zorder=2
            )
            ax.plot(np.median(start), height, "o", color="white", markeredgecolor=colour, ms=5.5)
            ax.plot(np.median(end), height, "o", color=colour, ms=5.5)
        ax.set_title(questions[p], loc="left")
        ax.set_xlim(0.0, 1.04)
        ax.set_xticks([0, 0.5, 1])
        ax.set_xlabel("accuracy")
        ax.spines["left"].set_visible(False)
    panels[0].set_yticks([place for place, _ in names], [name for _, name in names])
    panels[0].set_ylim(row - 0.4, -0.6)
    for ax in panels:
        ax.tick_params(axis="y", length=0)
    for place, label in zip(
        [place for place, _ in names], panels[0].get_yticklabels(), strict=True
    ):
        label.set_fontweight("bold" if place in bold else "normal")
    caption = (
        f"Linear probes of the vector that each layer makes of each word, of "
        f"{style.members(accuracy.shape[1])}: ridge regressions fitted on words of training "
        "sentences and judged on words of test sentences. Word class: of every word. Class of "
        "unseen words: the same for words that the probe has not met, in classes of four words or "
        "more. Number: singular or plural, of nouns and of what agrees with them. Role: whether an "
        "animal runs after the other or is run after, read off that animal's word. Answer: whether "
        "it is the cat or the dog that runs, read off the same words. "
    )
    handles = [
        Line2D([], [], ls="", marker="o", color="white", markeredgecolor=style.GREY,
               ms=5.5, label="random start (median)"),
        Line2D([], [], ls="", marker="o", color=style.GREY, ms=5.5, label="trained (median)"),
        Line2D([], [], ls="", marker="|", color=style.GREY, ms=7, label="one trained member"),
        Line2D([], [], ls=":", color=style.INK, lw=0.8, label="most frequent answer"),
    ]  # fmt: skip
    return style.finish(
        figure, "What can be read off a word, layer by layer", caption + note, command, handles
    )


@style.look()
def constructions(
    accuracy: Float[np.ndarray, "P M R"],
    rows: Sequence[tuple[str, str]],
    models: Sequence[str],
    *,
    chance: float,
    command: str,
    note: str = "",
) -> Figure:
    """Draw how often each model is right, for each kind of sentence.

    Args:
      accuracy: [P, M, R], of models, members and kinds of sentences; nan for a diverged member.
      rows: R pairs (kind, an example of it or an explanation).
      models: P entries of `--models`.
      chance: accuracy of guessing, 0..1.
      command: the command that computed the numbers.
      note: one more sentence for the caption.

    Returns:
      Figure: a table whose cells are the darker the better.
    """
    num_models, num_members, num_rows = accuracy.shape
    width, left = 1.25, 3.55
    figure = Figure(
        figsize=(left + width * num_models, 0.75 + 0.42 * num_rows), layout="constrained"
    )
    axes = figure.subplots()
    style.tidy(axes)
    alive = np.isfinite(accuracy)
    counts = np.maximum(alive.sum(axis=1), 1)
    means = np.where(alive, accuracy, 0.0).sum(axis=1) / counts
    means = np.where(alive.any(axis=1), means, np.nan)
    shades = LinearSegmentedColormap.from_list("shades", ["#FFFFFF", style.PALETTE[0]])
    axes.imshow(means.T, cmap=shades, vmin=chance, vmax=1.0, aspect="auto")
    for p in range(num_models):
        for r in range(num_rows):
            values = accuracy[p, alive[p, :, r], r].astype(np.float64)
            if not values.size:
                axes.text(p, r, "–", ha="center", va="center")
                continue
            written = f"{values.mean():.2f}"
            if values.size > 1 and round(float(np.ptp(values)), 2) > 0:
                written += f"\n{values.min():.2f} to {values.max():.2f}"
            dark = means[p, r] > chance + 0.6 * (1.0 - chance)
            ink = "white" if dark else style.INK
            axes.text(p, r, written, ha="center", va="center", color=ink, linespacing=1.15)
    axes.set_yticks(range(num_rows), [f"{kind}\n{example}" for kind, example in rows])
    axes.set_xticks(range(num_models), [style.entry_title(m, width - 0.1, 8.5) for m in models])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8.5)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks(np.arange(num_models - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(num_rows - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    caption = (
        f"Test accuracy after training, mean over {style.members(num_members)} and below it the "
        f"lowest and the highest of them where they differ, for sentences of each kind. White is "
        f"guessing ({chance:.2f}), dark is always right. "
    )
    return style.finish(figure, "Which sentences are understood", caption + note, command)
