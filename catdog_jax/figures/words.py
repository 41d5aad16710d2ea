"""What models of sentences understand, and what becomes of their words."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from catdog_jax.figures import style

MEMBERS = 3  # shown at most, the first that did not diverge
SHOWN = ("cat", "tabbies", "dog", "puppies", "chased", "slept", "by", "that", "was", "the",
         "small", "suddenly", "Paris")  # fmt: skip
PANEL = 3.3  # inches, side of a plane
LETTER = 6.5  # points, of the words in a plane
MARKS = {
    "cats": "o",
    "dogs": "s",
    "running after": "^",
    "grammatical words": "D",
    "other words": ".",
}
HUES = [*style.PALETTE[: len(MARKS) - 1], style.GREY]
OFFSETS = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)])
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
    names, heights = [], []
    for model, layer in zip(data["layer_model"].values, data["layer_name"].values, strict=True):
        names += [model] * (model not in names)
        heights.append(len(names))
        names.append(layer)
    figure = style.sheet(10.0, 0.7 + ROW * len(names))
    panels = figure.subplots(1, data.sizes["probe"], sharey=True, squeeze=False)[0]
    middle = data["probe_accuracy"].median("probed").values
    for p, axes in enumerate(panels):
        for layer, y in enumerate(heights):
            hue = style.colour(models.index(data["layer_model"].values[layer]))
            start, end = middle[layer, :, p]
            axes.plot([start, end], [y, y], color=hue, lw=1.2, zorder=2)
            axes.plot(start, y, **style.hollow(hue, 5.5, label="random start (median)"))
            axes.plot(end, y, "o", color=hue, markersize=5.5, label="trained (median)")
            trained = data["probe_accuracy"].values[layer, :, 1, p]
            ticks = {"markersize": 7, "alpha": 0.6, "label": "one trained member", "zorder": 1}
            axes.plot(trained, [y] * trained.size, "|", color=hue, **ticks)
        base = data["probe_baseline"].values[p]
        axes.axvline(base, **style.DOTTED, label="most frequent answer")
        axes.set_title(data["probe"].values[p], loc="left")
        axes.set(xlim=(0.0, 1.04), xticks=[0, 0.5, 1], xlabel="accuracy")
        style.name_rows(axes, range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    for row, label in enumerate(panels[0].get_yticklabels()):
        label.set_fontweight("normal" if row in heights else "bold")
    caption = (
        "Linear probes of the vector that each layer makes of each word, of "
        f"{style.members(data.sizes['probed'])}: ridge regressions fitted on training sentences, "
        "judged on test sentences. Class of unseen words: the word class, of words that the probe "
        "has not met, in classes of four words or more. Number: singular or plural. Role: whether "
        "an animal runs after the other or is run after, read off that animal's word. Answer: "
        f"whether it is the cat or the dog that runs, read off the same. {style.source(data)}"
    )
    return style.finish(figure, "What can be read off a word, layer by layer", caption, data)


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
    for kind, names in (("construction", data["construction"].values), ("modifiers", MODIFIED)):
        examples = data[f"{kind}_example"].values
        kinds += [f"{title}\n{text}" for title, text in zip(names, examples, strict=True)]
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
        axes.text(p, r, text, color=ink, **style.CENTRED)
    axes.imshow(means, cmap=SHADES, vmin=chance, vmax=1.0, aspect="auto")
    titles = [style.model_title(model, CELL - 0.1, 8.5) for model in models]
    axes.xaxis.tick_top()
    for axis, words in (axes.yaxis, kinds), (axes.xaxis, titles):
        axis.set_ticks(range(len(words)), words)
        axis.set_ticks(np.arange(len(words) - 1) + 0.5, minor=True)
    axes.tick_params(which="both", length=0, labelsize=8.5)
    axes.spines[:].set_visible(False)
    axes.grid(which="minor", color="white", linewidth=2)
    caption = (
        f"Test accuracy after training, mean over {style.members(data.sizes['member'])} and below "
        "it the lowest and the highest of them where they differ, for sentences of each kind. "
        f"White is guessing ({chance:.2f}), dark is always right. {style.source(data)}"
    )
    return style.finish(figure, "Which sentences are understood", caption, data)


@style.look()
def embeddings(data: xr.Dataset) -> Figure | None:
    """Draw the words of a few members of the last model that has vectors, each in its own plane.

    Args:
      data: `word_plane` (embedded, member, word, axis), nan where a vector has less than two
        numbers or the member diverged; `word_plane_explained` (embedded, member, axis), fraction
        of the variance; `word_group` (word), one of `MARKS`.

    Returns:
      Figure, a panel per member; None where there is no such plane.
    """
    if "word_plane" not in data:
        return None
    one = data.isel(embedded=-1)
    one = one.isel(member=one["word_plane"].notnull().all(["word", "axis"]).values)
    if not one.sizes["member"]:
        return None
    shown, words = one.isel(member=slice(MEMBERS)), data["word"].values
    figure, panels = style.panels(shown.sizes["member"], 3.7, 3.6)
    for m, axes in enumerate(panels):
        points = shown["word_plane"].values[m]
        reach = 1.15 * float(np.abs(points).max())
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        boxes: list[tuple[np.ndarray, np.ndarray]] = []
        for hue, (group, mark) in zip(HUES, MARKS.items(), strict=True):
            rows = np.flatnonzero(data["word_group"] == group)
            dots = {"markersize": 5, "markeredgecolor": "white", "mew": 0.4 * (mark != ".")}
            axes.plot(*points[rows].T, mark, color=hue, label=group, **dots)
            for row in rows if group != "other words" else ():
                place = _room(words[row], points[row], points, boxes, reach)
                if place is not None:
                    axes.text(*place, words[row], size=LETTER, color=hue, **style.CENTRED)
        shares = " and ".join(f"{x:.0%}" for x in shown["word_plane_explained"].values[m])
        member = shown["member"].values[m]
        axes.set_title(f"member {member}: {shares} of the variance", loc="left", size=style.SIZE)
        axes.set(xlabel="first component", ylabel="second component" if m == 0 else "")
    caption = (
        f"The vectors of all {len(words)} words that {_which(shown, data)} learned, each member in "
        "the plane of its own two principal components, turned so that the planes match. Every "
        f"member began with random vectors. Labels that would cover others are left out. "
        f"{style.source(data)}"
    )
    return style.finish(figure, "Words become points", caption, data)


@style.look()
def neighbours(data: xr.Dataset) -> Figure | None:
    """Write the nearest words of some words, for a few members of the last model with vectors.

    Args:
      data: `nearest_word` (embedded, when, member, word, rank), indices of words, the nearest
        first; `neighbour_overlap` (embedded, when, member, other_member), share of a word's
        nearest words that two members have in common; `word_group` (word), one of `MARKS`;
        `diverged_step` (model, member), -1 = never.

    Returns:
      Figure; None where no member has vectors.
    """
    if "nearest_word" not in data:
        return None
    one = data.isel(embedded=-1).sel(model=data["embedded"].values[-1])
    alive = np.flatnonzero(one["diverged_step"].values < 0)
    if not alive.size:
        return None
    one, words = one.isel(member=alive, other_member=alive), data["word"].values
    shown = one.isel(member=slice(MEMBERS))
    hues = dict(zip(MARKS, HUES, strict=True))
    colours = [hues[group] for group in data["word_group"].values]
    nearest = shown["nearest_word"].sel(when="trained", word=list(SHOWN)).values
    # A column for each rank, as wide as its longest word.
    letter = style.SIZE / style.LETTERS
    longest = [max(len(words[i]) for i in column) for own in nearest for column in own.T]
    gaps = [0.35 if n % nearest.shape[2] == 0 else 0.12 for n in range(1, len(longest) + 1)]
    starts = 0.9 + np.cumsum([0.0, *(letter * n + g for n, g in zip(longest, gaps, strict=True))])
    width = max(6.0, starts[-1])
    figure = style.sheet(width, 0.21 * (len(SHOWN) + 1.2))
    axes: Any = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(len(SHOWN) + 0.2, -1.0))
    titles = ["word", *(f"member {m}" for m in shown["member"].values)]
    for left, text in zip([0, *starts[:: nearest.shape[2]]], titles, strict=False):
        axes.text(left, -0.6, text, weight="bold", va="center")
    for row, word in enumerate(SHOWN):
        axes.axhline(row - 0.1, color=style.PALE, linewidth=0.5)
        axes.text(0, row + 0.4, word, va="center")
        for left, i in zip(starts, nearest[:, row].ravel(), strict=False):
            axes.text(left, row + 0.4, words[i], color=colours[i], va="center")
    overlaps = (one["neighbour_overlap"].sel(when=when).values for when in ("trained", "start"))
    shared = [f"{style.pairs(values).mean():.2f}" for values in overlaps if len(alive) > 1]
    by_chance = data.sizes["rank"] / (len(words) - 1)
    caption = (
        "The words whose vectors point most nearly the same way (cosine), the nearest first, in "
        f"{_which(shown, data)}, after training. "
        + "Two members have {} of a word's neighbours in common on average ({} at the random "
        "start; ".format(*shared or "  ")
        * bool(shared)
        + f"{by_chance:.2f} by chance). " * bool(shared)
        + style.source(data)
    )
    squares = [style.handle(group, marker="s", color=hue) for group, hue in hues.items()]
    return style.finish(figure, "Which words lie together", caption, data, *squares)


def _which(shown, data):
    """Say which members are shown, of which model."""
    found, every = shown["member"].values, style.members(data.sizes["member"])
    if len(found) < data.sizes["member"]:
        every = f"{'the first ' * bool(found[-1] < len(found))}{len(found)} of {every}"
    return f"{every} of {data['embedded'].values[-1]}"


def _room(word, point, points, boxes, reach):
    """Return the centre of a free place for a word beside its point; None where there is none.

    A place is free of points, and of boxes of words placed before (centre and half the size), to
    which it is added; the panel is a square of 2 · reach units and `PANEL` inches.
    """
    unit = 2 * reach / PANEL
    half = np.array([len(word) / style.LETTERS, 1 / 72]) * LETTER / 2 * unit
    for offset in OFFSETS:
        centre = point + offset * (half + 0.05 * unit * (0 in offset))
        if (
            (np.abs(centre) + half <= reach).all()
            and (np.abs(points - centre) >= half).any(axis=1).all()
            and all((np.abs(centre - other) >= half + size).any() for other, size in boxes)
        ):
            boxes.append((centre, half))
            return centre
    return None
