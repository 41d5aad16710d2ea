"""From the lowest rung to the highest: the accuracy of every classifier, by origin of its weights.

Origins differ in colour and in the form of their marks. One rung can be seen: the average cat, the
average dog, and their difference.
"""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from catdog_jax.figures import parts, style

LINE = 0.2  # inches, height of a rung whose name takes one line
MORE = 0.145  # inches, of each further line of a name
HEADER = 0.27  # inches, of a group's heading
COLUMNS = {"test": 36.0, "parameters": 93.6, "seconds": 140.4}  # right edges, points
ORIGINS = {
    "programmed": ("s", style.colour(0), "typed in by a person, who saw no data"),
    "estimated": ("D", style.colour(1), "computed from the training data in one step"),
    "learned": ("o", style.colour(2), "found in many small steps that lower the loss"),
}
MAX_DOTS = 200
REMARKS = {
    "generating_rule": "generating_rule is the ceiling: it is told how each picture was drawn, and "
    "does not look at pixels.",
    "drawn_rule": "Whoever wrote drawn_rule knew the drawing program.",
}
ACROSS = 5  # pictures in a line, and so many other linear rungs at most
INCHES = 1.7  # width of a picture with the room beside it
NUM_BINS = 40  # even: the boundary at 0 splits no bin
LEFT_OUT = ("constant", "centroid", "diagonal_centroid")  # nothing, or nearly that difference


@style.look()
def ladder(data: xr.Dataset) -> Figure:
    """Draw the ladder: a rung per classifier, grouped by origin, the best of each group on top.

    Args:
      data: `origin` (rung), 'programmed', 'estimated' or 'learned', groups in the order of first
        appearance, the first at the bottom; `train_accuracy`, `test_accuracy` (rung, member),
        fractions right, nan where a rung has fewer members or one diverged; `test_low`,
        `test_high` (rung), 95 % interval of the mean test accuracy; `num_parameters` (rung);
        `rung_seconds` (rung), seconds to get the weights of all members, nan where unknown;
        `label` (example).

    Returns:
      Figure.
    """
    means = data["test_accuracy"].astype(float).mean("member").fillna(-1.0).values
    groups = list(dict.fromkeys(data["origin"].values))
    places = np.array([groups.index(origin) for origin in data["origin"].values])
    data = data.isel(rung=np.lexsort((means, places)))
    train, test = (data[f"{name}_accuracy"].astype(float) for name in ("train", "test"))
    middle, hollow = test.mean("member").values, train.mean("member").values
    low, high = data["test_low"].values, data["test_high"].values
    names, origins = data["rung"].values.tolist(), data["origin"].values.tolist()
    words = [name.replace(":", " ", 1).replace(":", ", ") for name in names]
    labels = ["\n".join(style.wrap(text, 2.6, 8.5, 3)) for text in words]
    rows, headings, height = [], {}, 0.05  # inches from the bottom
    for label, origin, above in zip(labels, origins, [*origins[1:], ""], strict=True):
        tall = LINE + MORE * label.count("\n")
        rows.append(height + tall / 2)
        height += tall
        if above != origin:
            headings[origin] = height + HEADER / 2
            height += HEADER + 0.06
    figure, [[axes]] = style.sheet(9.0, height + 0.75)
    beside: Any = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    beside |= {"ha": "right", "va": "center"}
    for origin, y in headings.items():
        _, colour, text = ORIGINS[origin]
        colour = style.ink(colour)
        axes.annotate(origin, (0, y), (-4, 0), **beside, weight="bold", color=colour)
        left = beside | {"ha": "left", "bbox": {"facecolor": "white", "linewidth": 0, "pad": 1.5}}
        axes.annotate(text, (0, y), (5, 0), **left, color=colour)
        if y < height - HEADER:
            axes.axhline(y + HEADER / 2 + 0.03, color=style.GREY, linewidth=0.7, zorder=0)
    columns = {height + 0.08: list(COLUMNS)}
    for r, y in enumerate(rows):
        marker, colour, _ = ORIGINS[origins[r]]
        axes.axhline(y, color=style.PALE, linewidth=0.6, zorder=0)
        members = test[r].dropna("member").values
        if 1 < members.size <= MAX_DOTS:
            heights, alpha = y - 0.03 - 0.05 * parts.spread(members.size), style.thin(members.size)
            dots = {"color": colour, "mew": 0, "markersize": 2.2, "alpha": max(0.25, alpha)}
            axes.plot(members, heights, "o", zorder=2, label="member", **dots)
        axes.plot([hollow[r], middle[r]], [y, y], color=colour, lw=0.6, alpha=0.45, zorder=1)
        edge = style.hollow(colour, 4.2, marker, mew=0.9, zorder=3, label="on training data")
        axes.plot([hollow[r]], [y], **edge)
        thick = {"linewidth": 2.0, "solid_capstyle": "butt", "zorder": 4, "label": "95 % interval"}
        axes.plot([low[r], high[r]], [y, y], color=colour, **thick)
        filled = {"markersize": 5.4, "mew": 0, "zorder": 5, "label": origins[r]}
        axes.plot([middle[r]], [y], marker, color=colour, **filled)
        held, spent = (float(data[name][r]) for name in ("num_parameters", "rung_seconds"))
        count = f"{held:,.0f}" if held < 1e7 else f"{held / 1e6:,.1f} M"
        columns[y] = [f"{middle[r]:.3f}", count, _duration(spent)]
    for y, cells in columns.items():
        for place, text in zip(COLUMNS.values(), cells, strict=True):
            axes.annotate(text.replace("nan", "–"), (1, y), (place, 0), **beside)
    chance = style.chance(data)
    axes.axvline(chance, **style.GUESSING)
    style.name_rows(axes, rows, labels, 8.5)
    drawn = np.concatenate([train.values.ravel(), test.values.ravel(), low, high, [chance]])
    first, last = np.nanmin(drawn), np.nanmax(drawn)
    room = max(0.03 * (last - first), 0.005)
    axes.set(xlim=(first - room, last + room), ylim=(0, height), xlabel="accuracy (fraction right)")
    caption = (
        "One rung for each classifier, grouped by where its numbers come from; in a group the best "
        "on the test examples is on top. Filled marks: on the test examples, the mean over members "
        "where there are several (small dots). Thick line: 95 % interval by drawing the test "
        "examples again and again (bootstrap). Columns: test accuracy, the numbers that a "
        "classifier holds, and the seconds to get them for all its members together."
        + "".join(f" {remark}" for name, remark in REMARKS.items() if name in names)
    )
    return style.finish(figure, "The ladder: programmed, estimated, learned", caption, data)


@style.look()
def average_animals(data: xr.Dataset) -> Figure:
    """Draw two averages, their difference, where it puts the test pictures, and other weights.

    Args:
      data: `class_mean` (class, row, column, channel), pixels in 0..1, of which the first two
        classes are drawn; `projection` (example), w · x + b, above zero where the second class is
        nearer; `label` (example); where there are linear rungs, their `weights` (linear_rung,
        class, row, column, channel); `test_accuracy` (rung, member), fraction right.

    Returns:
      Figure: both averages, the difference and the projections in the first line, the weights of
      the other rungs below.
    """
    found = data["linear_rung"].values.tolist() if "linear_rung" in data else []
    rungs = [rung for rung in found if rung not in LEFT_OUT][:ACROSS]
    first, second = data["class"].values[:2].tolist()
    means = data["class_mean"].values.astype(np.float64)
    pictures = {f"average {first}": (means[0], ""), f"average {second}": (means[1], "")}
    weights = {f"{second} − {first}": means}
    for rung in rungs:
        accuracy = float(data["test_accuracy"].sel(rung=rung).astype(float).mean())
        title = f"{style.model_title(rung, 1.5, style.SIZE)}\nright: {accuracy:.3f}"
        weights[title] = data["weights"].sel(linear_rung=rung).values
    for title, own in weights.items():
        largest = np.nanmax(np.abs(own[1] - own[0]), initial=0.0)
        pictures[title] = parts.normalised(own[1] - own[0]), f"largest: {largest:.2g}"
    tall = INCHES * (means.shape[1] / means.shape[2]) + 0.5
    heights = [tall, tall + 0.2][: 1 + bool(rungs)]
    figure, _ = style.sheet(ACROSS * INCHES, sum(heights), 0)
    grid = figure.add_gridspec(len(heights), ACROSS, height_ratios=heights)
    places = [0, 1, 2, *range(ACROSS, ACROSS + len(rungs))]
    for place, (title, (picture, below)) in zip(places, pictures.items(), strict=True):
        axes = figure.add_subplot(grid[divmod(place, ACROSS)])
        axes.imshow(picture.clip(0, 1), interpolation="nearest")
        axes.set(xticks=[], yticks=[], anchor="S", xlabel=below)
        axes.set_title(title, size=style.SIZE, linespacing=1.25, pad=4, loc="center")
        axes.spines[:].set_visible(True)
    # In a grid of its own, the room that its labels take is no other's.
    axes = figure.add_subplot(grid[0, 3:].subgridspec(1, 1)[0])
    right = _projections(axes, data, [style.short(first), style.short(second)])
    caption = (
        f"The average of all training pictures of {first} and of {second}, and the second minus "
        "the first. That difference is a set of weights w, one for each pixel and colour: a "
        f"picture x lies nearer to the average {second} exactly where w · x + b > 0, with b = "
        f"−(|average {second}|² − |average {first}|²) / 2; the line at 0 is that hyperplane. A "
        f"share of {right:.3f} of the test pictures lies on the side of its class. "
        f"{'Below: the same formula with numbers from elsewhere. ' * bool(rungs)}In pictures of "
        "weights mid-grey is zero, each is scaled to its own largest absolute weight, and a "
        f"brighter colour speaks for {second}, a darker one for {first}."
    )
    title = f"Average {first}, average {second}, and what lies between"
    return style.finish(figure, title, caption, data)


def _projections(axes, data, names):
    """Draw where the test pictures of two classes lie, and return the share that lies right."""
    labels, values = data["label"].values, data["projection"].values.astype(np.float64)
    asked = (labels < 2) & np.isfinite(values)
    values, labels = values[asked], labels[asked]
    right = float(((values > 0) == labels).mean())
    reach = 1.02 * np.abs(values).max()
    edges = np.linspace(-reach, reach, NUM_BINS + 1)
    for k, (line, hatch) in enumerate((("-", None), ("--", "////"))):
        hue = {"facecolor": to_rgba(style.colour(k), 0.25), "edgecolor": style.colour(k)}
        shape = {"histtype": "stepfilled", "linestyle": line, "linewidth": 1.3, "hatch": hatch}
        axes.hist(values[labels == k], edges.tolist(), label=names[k], **hue, **shape)
    axes.axvline(0.0, color=style.INK, linewidth=1.0)
    between = f"w · x + b of a test picture x\n← called {names[0]}     called {names[1]} →"
    title = f"right: {right:.3f} of {values.size:,}"
    axes.set(xlim=(-reach, reach), xlabel=between, ylabel="test pictures", title=title)
    return right


def _duration(seconds):
    """Write seconds with three digits."""
    if seconds < 0.0005:
        return "< 0.001"
    return f"{round(seconds, 3):.3g}" if seconds < 100 else f"{seconds:,.0f}"
