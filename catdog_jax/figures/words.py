"""What models of sentences understand, and what becomes of their words."""

import numpy as np
import xarray as xr
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from catdog_jax.figures import style

MEMBERS = 3  # shown at most, the first that did not diverge
SHOWN = ("cat", "tabbies", "dog", "puppies", "chased", "slept", "by", "that", "was", "the",
         "small", "suddenly", "Paris")  # fmt: skip
PANEL = 3.0  # inches, side of a plane
MARKS = dict(
    zip(("cats", "dogs", "running after", "grammatical words", "other words"), "os^D.", strict=True)
)
HUES = dict(zip(MARKS, (*style.PALETTE[:4], style.GREY), strict=True))
OFFSETS = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)])
SHADES = LinearSegmentedColormap.from_list("shades", ["#FFFFFF", style.PALETTE[0]])
MODIFIED = ("nothing more is said of the animals", "of one", "of both")
CELL = 1.1  # inches, width


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
    owners = data["layer_model"].values.tolist()
    models = list(dict.fromkeys(owners))
    # A row with the model's name alone goes before its layers.
    heights = [layer + models.index(model) + 1 for layer, model in enumerate(owners)]
    heads = [owners.index(model) + m for m, model in enumerate(models)]
    rows, names = [*heads, *heights], [*models, *data["layer_name"].values]
    figure, [panels] = style.sheet(
        10.0, 0.7 + 0.27 * len(rows), 1, data.sizes["probe"], sharey=True
    )
    middle = data["probe_accuracy"].median("probed").values
    for p, axes in enumerate(panels):
        for layer, y in enumerate(heights):
            hue = style.colour(models.index(owners[layer]))
            start, end = middle[layer, :, p]
            axes.plot([start, end], [y, y], color=hue, lw=1.2, zorder=2)
            axes.plot(start, y, **style.hollow(hue, 5.5, label="random start (median)"))
            axes.plot(end, y, "o", color=hue, markersize=5.5, label="trained (median)")
            trained = data["probe_accuracy"].values[layer, :, 1, p]
            ticks = {"color": hue, "alpha": 0.6, "label": "one trained member", "zorder": 1}
            axes.plot(trained, [y] * trained.size, "|", markersize=7, **ticks)
        axes.axvline(data["probe_baseline"][p], **style.DOTTED, label="most frequent answer")
        title = data["probe"].values[p]
        axes.set(xlim=(0.0, 1.04), xticks=[0, 0.5, 1], xlabel="accuracy", title=title)
        style.name_rows(axes, rows, names)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    for label in panels[0].get_yticklabels()[: len(heads)]:
        label.set_fontweight("bold")
    caption = (
        "Ridge regressions from the vector that a layer makes of a word, of "
        f"{style.members(data.sizes['probed'])}, fitted on training sentences, judged on test "
        "sentences. Class of unseen words: the word class, of words that the probe has not met, in "
        "classes of four words or more. Number: singular or plural. Role: whether an animal runs "
        "after the other or is run after, read off its word. Answer: whether it is the cat or the "
        "dog that runs, read off the same."
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
    kinds, parts, chance = [], [], style.chance(data)
    for kind, names in (("construction", data["construction"].values), ("modifiers", MODIFIED)):
        examples = data[f"{kind}_example"].values
        kinds += [f"{title}\n{text}" for title, text in zip(names, examples, strict=True)]
        living = data[f"accuracy_by_{kind}"].where(data["diverged_step"] < 0).astype(float)
        over = (living.mean("member"), living.min("member"), living.max("member"))
        parts.append([part.values.T for part in over])
    means, low, high = np.concatenate(parts, axis=1)  # each [kinds, models]
    titles = [style.model_title(model, CELL - 0.1, 8.5) for model in data["model"].values]
    figure, [[axes]] = style.sheet(3.55 + CELL * len(titles), 0.75 + 0.42 * len(kinds))
    image = axes.imshow(means, cmap=SHADES, vmin=chance, vmax=1.0, aspect="auto")
    for (r, p), mean in np.ndenumerate(means):
        text = f"{mean:.2f}".replace("nan", "–")
        if round(high[r, p] - low[r, p], 2) > 0:
            text += f"\n{low[r, p]:.2f} to {high[r, p]:.2f}"
        ink = style.ink_on(image.to_rgba(mean))
        axes.text(p, r, text, color=ink, **style.CENTRED)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    axes.tick_params(which="both", length=0, labelsize=8.5)
    for axis, words in (axes.yaxis, kinds), (axes.xaxis, titles):
        axis.set_ticks(range(len(words)), words)
        axis.set_ticks(np.arange(len(words) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    caption = (
        f"Test accuracy after training, mean over {style.members(data.sizes['member'])} and below "
        "it the lowest and the highest of them where they differ, for sentences of each kind. "
        f"White is guessing ({chance:.2f}), dark is always right."
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
    told = zip(shown["member"].values, shown["word_plane_explained"].values, strict=True)
    titles = [f"member {m}:{x:.0%} and {y:.0%} of the variance" for m, (x, y) in told]
    figure, panels = style.panels(titles, 3.4, 3.6, xlabel="component 1", ylabel="component 2")
    for points, axes in zip(shown["word_plane"].values, panels, strict=True):
        reach = 1.15 * float(np.abs(points).max())
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        boxes: list[tuple[np.ndarray, np.ndarray]] = []
        for group, mark in MARKS.items():
            rows = np.flatnonzero(data["word_group"] == group)
            dots = {"markersize": 5, "markeredgecolor": "white", "mew": 0.4 * (mark != ".")}
            axes.plot(*points[rows].T, mark, color=HUES[group], label=group, **dots)
            for row in rows if group != "other words" else ():
                place = _room(words[row], points[row], points, boxes, reach)
                if place is not None:
                    look = {"size": style.SMALL, "color": style.ink(HUES[group])}
                    axes.text(*place, words[row], **look, **style.CENTRED)
    caption = (
        f"The vectors of all {len(words)} words that {_which(shown, data)} learned, each member in "
        "the plane of its own two principal components, turned so that the planes match. Every "
        "member began with random vectors. Labels that would cover others are left out."
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
    colours = [style.ink(HUES[group]) for group in data["word_group"].values]
    nearest = shown["nearest_word"].sel(when="trained", word=list(SHOWN)).values
    # A column for each rank, as wide as its longest word.
    widths = np.vectorize(len)(words[nearest]).max(axis=1) * style.SIZE / style.LETTERS + 0.12
    widths[:, -1] += 0.23  # between members
    starts = 0.9 + np.cumsum([0.0, *widths.ravel()])
    width = max(6.0, starts[-1])
    figure, [[axes]] = style.sheet(width, 0.21 * (len(SHOWN) + 1.2))
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
    caption = (
        "The words whose vectors point most nearly the same way (cosine), the nearest first, in "
        f"{_which(shown, data)}, after training."
    )
    if len(alive) > 1:
        by_chance = data.sizes["rank"] / (len(words) - 1)
        shared = {
            when: style.pairs(one["neighbour_overlap"].sel(when=when).values).mean()
            for when in one["when"].values
        }
        caption += (
            f" Two members have {shared['trained']:.2f} of a word's neighbours in common on average"
            f" ({shared['start']:.2f} at the random start; {by_chance:.2f} by chance)."
        )
    squares = [Patch(color=hue, label=group) for group, hue in HUES.items()]
    return style.finish(figure, "Which words lie together", caption, data, *squares)


def _which(shown, data):
    """Say which members are shown, of which model."""
    found = ", ".join(map(str, shown["member"].values))
    every = style.members(data.sizes["member"])
    return f"members {found} (of {every}) of {data['embedded'].values[-1]}"


def _room(word, point, points, boxes, reach):
    """Return the centre of a free place for a word beside its point; None where there is none.

    A place is free of points, and of boxes of words placed before (centre and half the size), to
    which it is added; the panel is a square of 2 · reach units and `PANEL` inches.
    """
    unit = 2 * reach / PANEL
    half = np.array([len(word) / style.LETTERS, 1 / 72]) * style.SMALL / 2 * unit
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
