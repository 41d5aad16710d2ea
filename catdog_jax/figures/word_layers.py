"""What can be read off the layers of a model of sentences, and which sentences it understands."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

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
    # A row with the model's name alone goes before its layers.
    names: list[str] = []
    heights: list[int] = []
    for model in models:
        names.append(model)
        own = [layer for other, layer in layers if other == model]
        heights += range(len(names), len(names) + len(own))
        names += own
    figure = style.sheet(10.0, 0.7 + ROW * len(names))
    panels = figure.subplots(1, len(questions), sharey=True, squeeze=False)[0]
    for p, ax in enumerate(panels):
        ax.axvline(baseline[p], **style.DOTTED)
        for height, (model, _), values in zip(heights, layers, accuracy[..., p], strict=True):
            colour = style.colour(models.index(model))
            start, end = style.median(values.T)
            trained = values[:, 1]
            ax.plot(
                trained, np.full_like(trained, height), "|", color=colour, markersize=7, alpha=0.6
            )
            ax.plot([start, end], [height] * 2, color=colour, lw=1.2, zorder=2)
            ax.plot(start, height, **style.hollow(colour, 5.5))
            ax.plot(end, height, "o", color=colour, markersize=5.5)
        ax.set_title(questions[p], loc="left")
        ax.set(xlim=(0.0, 1.04), xticks=[0, 0.5, 1], xlabel="accuracy")
        style.name_rows(ax, range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    for row, label in enumerate(panels[0].get_yticklabels()):
        label.set_fontweight("normal" if row in heights else "bold")
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
        style.handle("random start (median)", **style.hollow(style.GREY, 5.5)),
        style.handle("trained (median)", marker="o", color=style.GREY, markersize=5.5),
        style.handle("one trained member", marker="|", color=style.GREY, markersize=7),
        style.handle("most frequent answer", **style.DOTTED),
    ]
    title = "What can be read off a word, layer by layer"
    return style.finish(figure, title, caption + note, command, handles)


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
    width = 1.25
    figure = style.sheet(3.55 + width * num_models, 0.75 + 0.42 * num_rows)
    axes = figure.subplots()
    means = style.mean(np.moveaxis(accuracy, 1, -1))
    shades = LinearSegmentedColormap.from_list("shades", ["#FFFFFF", style.PALETTE[0]])
    axes.imshow(means.T, cmap=shades, vmin=chance, vmax=1.0, aspect="auto")
    for (p, r), mean in np.ndenumerate(means):
        values = accuracy[p, np.isfinite(accuracy[p, :, r]), r]
        written = f"{mean:.2f}" if values.size else "–"
        if values.size > 1 and round(float(np.ptp(values)), 2) > 0:
            written += f"\n{values.min():.2f} to {values.max():.2f}"
        ink = "white" if mean > chance + 0.6 * (1.0 - chance) else style.INK
        axes.text(p, r, written, ha="center", va="center", color=ink, linespacing=1.15)
    axes.set_yticks(range(num_rows), [f"{kind}\n{example}" for kind, example in rows])
    axes.set_xticks(range(num_models), [style.entry_title(m, width - 0.1, 8.5) for m in models])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8.5)
    axes.spines[:].set_visible(False)
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
