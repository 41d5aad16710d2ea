"""What can be read off the layers of a model of sentences, and which sentences it understands."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from catdog_jax.figures import style

ROW = 0.27  # inches
SHADES = LinearSegmentedColormap.from_list("shades", ["#FFFFFF", style.PALETTE[0]])
MODIFIED = ("neither animal has a modifier", "one has", "both have")
CELL = 1.25  # inches, width


@style.look()
def probes(data: xr.Dataset) -> Figure | None:
    """Draw how well probes read each layer, at the random start and after training.

    Args:
      data: `probe_accuracy` (layer, probed, when, probe), fraction right of each probed member at
        the start and trained, nan for one that diverged; `probe_baseline` (probe), of always
        giving the most frequent answer; `layer_model`, `layer_name` (layer), the layers of one
        model in a row.

    Returns:
      Figure, a panel per probe; None where no layer was probed.
    """
    if "probe_accuracy" not in data:
        return None
    models = list(dict.fromkeys(data["layer_model"].values.tolist()))
    # A row with the model's name alone goes before its layers.
    names: list[str] = []
    heights: list[int] = []
    for model, layer in zip(data["layer_model"].values, data["layer_name"].values, strict=True):
        names += [model] * (model not in names)
        heights.append(len(names))
        names.append(layer)
    figure = style.sheet(10.0, 0.7 + ROW * len(names))
    panels = figure.subplots(1, data.sizes["probe"], sharey=True, squeeze=False)[0]
    middle = data["probe_accuracy"].median("probed").values
    for p, axes in enumerate(panels):
        axes.axvline(data["probe_baseline"].values[p], **style.DOTTED)
        for layer, y in enumerate(heights):
            hue = style.colour(models.index(data["layer_model"].values[layer]))
            trained, (start, end) = (
                data["probe_accuracy"].values[layer, :, 1, p],
                middle[layer, :, p],
            )
            axes.plot(trained, [y] * trained.size, "|", color=hue, markersize=7, alpha=0.6)
            axes.plot([start, end], [y, y], color=hue, lw=1.2, zorder=2)
            axes.plot(start, y, **style.hollow(hue, 5.5))
            axes.plot(end, y, "o", color=hue, markersize=5.5)
        axes.set_title(data["probe"].values[p], loc="left")
        axes.set(xlim=(0.0, 1.04), xticks=[0, 0.5, 1], xlabel="accuracy")
        style.name_rows(axes, range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    for row, label in enumerate(panels[0].get_yticklabels()):
        label.set_fontweight("normal" if row in heights else "bold")
    caption = (
        "Linear probes of the vector that each layer makes of each word, of "
        f"{style.members(data.sizes['probed'])}: ridge regressions fitted on words of training "
        "sentences and judged on words of test sentences. Word class: of every word. Class of "
        "unseen words: the same for words that the probe has not met, in classes of four words or "
        "more. Number: singular or plural, of nouns and of what agrees with them. Role: whether an "
        "animal runs after the other or is run after, read off that animal's word. Answer: whether "
        f"it is the cat or the dog that runs, read off the same words. {style.source(data)}"
    )
    handles = [
        style.handle("random start (median)", **style.hollow(style.GREY, 5.5)),
        style.handle("trained (median)", marker="o", color=style.GREY, markersize=5.5),
        style.handle("one trained member", marker="|", color=style.GREY, markersize=7),
        style.handle("most frequent answer", **style.DOTTED),
    ]
    title = "What can be read off a word, layer by layer"
    return style.finish(figure, title, caption, data, handles)


@style.look()
def constructions(data: xr.Dataset) -> Figure:
    """Draw how often each model is right, for each kind of sentence.

    Args:
      data: `accuracy_by_construction` (model, member, construction), `accuracy_by_modifiers`
        (model, member, modifiers), fractions right; `construction_example` (construction),
        `modifiers_example` (modifiers), a sentence of each kind; `diverged_step` (model, member),
        -1 = never; `label` (example).

    Returns:
      Figure: a table whose cells are the darker the better.
    """
    kinds, accuracy, alive = [], [], data["diverged_step"] < 0
    for kind, titles in (("construction", data["construction"].values), ("modifiers", MODIFIED)):
        examples = data[f"{kind}_example"].values
        kinds += [f"{title}\n{text}" for title, text in zip(titles, examples, strict=True)]
        accuracy.append(data[f"accuracy_by_{kind}"].where(alive).values)
    values, chance = np.concatenate(accuracy, axis=2), style.chance(data)
    models, num_rows = data["model"].values.tolist(), len(kinds)
    figure = style.sheet(3.55 + CELL * len(models), 0.75 + 0.42 * num_rows)
    axes: Any = figure.subplots()
    means = np.full((num_rows, len(models)), np.nan)
    for r, p in np.ndindex(means.shape):
        known = values[p, np.isfinite(values[p, :, r]), r].astype(np.float64)
        means[r, p] = known.mean() if known.size else np.nan
        text = f"{means[r, p]:.2f}" if known.size else "–"
        if known.size > 1 and round(float(np.ptp(known)), 2) > 0:
            text += f"\n{known.min():.2f} to {known.max():.2f}"
        ink = "white" if means[r, p] > chance + 0.6 * (1.0 - chance) else style.INK
        axes.text(p, r, text, ha="center", va="center", color=ink, linespacing=1.15)
    axes.imshow(means, cmap=SHADES, vmin=chance, vmax=1.0, aspect="auto")
    titles = [style.model_title(model, CELL - 0.1, 8.5) for model in models]
    axes.xaxis.tick_top()
    for axis, names in (axes.yaxis, kinds), (axes.xaxis, titles):
        axis.set_ticks(range(len(names)), names)
        axis.set_ticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.tick_params(which="both", length=0, labelsize=8.5)
    axes.spines[:].set_visible(False)
    axes.grid(which="minor", color="white", linewidth=2)
    caption = (
        f"Test accuracy after training, mean over {style.members(data.sizes['member'])} and below "
        "it the lowest and the highest of them where they differ, for sentences of each kind. "
        f"White is guessing ({chance:.2f}), dark is always right. {style.source(data)}"
    )
    return style.finish(figure, "Which sentences are understood", caption, data)
