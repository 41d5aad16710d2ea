"""Fits of curves from many starts: what a formula can be, and what it cannot."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from catdog_jax.figures import style

PALE_STARTS = 8  # curves of starting weights that are drawn
TRUE: Any = {"color": style.INK, "linewidth": 1.1, "linestyle": "--"}


@style.look()
def curve_fits(
    grid: Float[np.ndarray, " G"],
    truth: Float[np.ndarray, "C G"],
    point_x: Float[np.ndarray, "C P"],
    point_y: Float[np.ndarray, "C P"],
    start: Float[np.ndarray, "C F S G"],
    fit: Float[np.ndarray, "C F S G"],
    curves: Sequence[str],
    families: Sequence[str],
    *,
    command: str,
) -> Figure:
    """Draw the fits of every start: a row per curve, a column per formula.

    Args:
      grid: [G] x.
      truth: [C, G] y of the true curves.
      point_x, point_y: [C, P], the training points.
      start, fit: [C, F, S, G], y before and after training, of S starts.
      curves, families: names.
      command: the command that computed the numbers.

    Returns:
      Figure.
    """
    rows, columns = fit.shape[:2]
    figure = style.sheet(1.75 * columns, 1.75 * rows)
    panels = figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)
    for c in range(rows):
        low, high = float(point_y[c].min()), float(point_y[c].max())
        room = 0.35 * (high - low)
        for f in range(columns):
            axes = panels[c, f]
            hue = style.colour(0 if f < columns - 1 else 1)
            axes.plot(grid, start[c, f, :PALE_STARTS].T, color=style.PALE, linewidth=0.7, zorder=1)
            axes.plot(grid, truth[c], zorder=2, **TRUE)
            axes.plot(grid, fit[c, f].T, color=hue, linewidth=0.9, alpha=0.6, zorder=3)
            points = style.hollow(style.INK, 3.6, markeredgewidth=0.8, zorder=4)
            axes.plot(point_x[c], point_y[c], **points)
            axes.set_ylim(low - room, high + room)
            if c == 0:
                axes.set_title(families[f], loc="left")
            if c == rows - 1:
                axes.set_xlabel("x")
        panels[c, 0].set_ylabel(f"y of the {curves[c]}")
    handles = [
        style.handle("before training", color=style.PALE, linewidth=1.4),
        style.handle("polynomials, trained", color=style.colour(0), linewidth=1.4),
        style.handle("network, trained", color=style.colour(1), linewidth=1.4),
        style.handle("true curve", **TRUE),
        style.handle("training points", **style.hollow(style.INK, 4.0)),
    ]
    caption = (
        f"{fit.shape[2]} random starts of each formula, trained on the same {point_x.shape[1]} "
        "points; every start is drawn, and where only one line is seen they all met; where "
        "there is a band, gradient descent had not arrived, or there is no one lowest point to "
        "arrive at (network). "
        f"{min(PALE_STARTS, fit.shape[2])} of them are also drawn before training. What lies "
        "beyond a panel is cut off. A polynomial cannot leave its family: a line stays a line."
    )
    title = "The formula decides which curve is learned, the start does not"
    return style.finish(figure, title, caption, command, handles)


@style.look()
def curve_errors(
    degree: Int[np.ndarray, " D"],
    exact_size: Int[np.ndarray, " E"],
    expected: Float[np.ndarray, "C 2 3 D E"],
    size: Int[np.ndarray, " Z"],
    train_error: Float[np.ndarray, "C D Z S"],
    test_error: Float[np.ndarray, "C D Z S"],
    curves: Sequence[str],
    *,
    shown: int,
    noise: float,
    num_sets: int,
    command: str,
) -> Figure:
    """Draw train and test error against degree, and test error against the number of points.

    Args:
      degree: [D].
      exact_size: [E] numbers of points of the closed form, `shown` among them.
      expected: [C, 2, 3, D, E] quartiles of the closed form's train and test error over sets.
      size: [Z] numbers of points that were learned from, `shown` among them.
      train_error, test_error: [C, D, Z, S] mean squared errors of S learned starts on one set.
      curves: names.
      shown: number of points on the left.
      noise: standard deviation of the noise.
      num_sets: sets of the closed form.
      command: the command that computed the numbers.

    Returns:
      Figure.
    """
    rows = len(curves)
    figure = style.sheet(9.0, 2.5 * rows)
    panels = figure.subplots(rows, 2, sharey="row", squeeze=False, width_ratios=(1.0, 1.35))
    at, learned_at = int(np.argmin(abs(exact_size - shown))), int(np.argmin(abs(size - shown)))
    floor = max(noise**2, 1e-6)
    for c, (left, right) in enumerate(panels):
        for part, errors, hue in ((0, train_error, style.GREY), (1, test_error, style.INK)):
            low, middle, high = np.maximum(expected[c, part, :, :, at], floor * 1e-4)
            left.fill_between(degree, low, high, color=hue, alpha=0.2, linewidth=0)
            left.plot(degree, middle, color=hue, linewidth=1.6)
            _dots(left, degree, errors[c, :, learned_at], hue)
        for d in range(len(degree)):
            hue = style.colour(d)
            low, middle, high = expected[c, 1, :, d]
            right.plot(exact_size, middle, color=hue, linewidth=1.6)
            right.fill_between(exact_size, low, high, color=hue, alpha=0.13, linewidth=0)
            _dots(right, size, test_error[c, d], hue)
        for axes in (left, right):
            axes.set_yscale("log")
            axes.axhline(floor, **style.DOTTED)
        left.set(ylim=(floor / 12, 2500 * floor), xticks=degree)
        left.set_ylabel(f"squared error, {curves[c]}")
        _name_sizes(right, size)
    panels[0, 0].set_title(f"{shown} points, every degree", loc="left")
    panels[0, 1].set_title("test error, every degree", loc="left")
    panels[-1, 0].set_xlabel("degree of the polynomial")
    panels[-1, 1].set_xlabel("training points")
    handles = [
        Patch(color=style.INK, alpha=0.7, label="test error"),
        Patch(color=style.GREY, alpha=0.5, label="train error"),
        *_degree_handles(degree),
        style.handle("learned, one training set", **style.hollow(style.INK, 4.5)),
        style.handle("least squares, median over sets", color=style.INK, linewidth=1.6),
        style.handle("noise", **style.DOTTED),
    ]
    caption = (
        f"Lines and bands: least squares solved exactly on {num_sets} training sets, median and "
        "quartiles. Dots: all starts of gradient descent on one of the sets; starts that met lie "
        "on one another. Test errors are those of fresh points, their noise (dotted, "
        f"{noise**2:.3g}) included. What lies above a panel is cut off."
    )
    title = "Too stiff a formula errs with many points too; too free a one errs with few"
    return style.finish(figure, title, caption, command, handles)


@style.look()
def starts_meet(
    size: Int[np.ndarray, " Z"],
    degree: Int[np.ndarray, " D"],
    gap: Float[np.ndarray, "C D Z S"],
    gap_powers: Float[np.ndarray, "C D S"],
    weight_distance: Float[np.ndarray, "C F"],
    curves: Sequence[str],
    families: Sequence[str],
    *,
    shown: int,
    met: float,
    num_steps: int,
    command: str,
) -> Figure:
    """Draw how far the starts end from least squares, and from one another in their weights.

    Args:
      size: [Z] numbers of points.
      degree: [D].
      gap: [C, D, Z, S] relative distance of each start's curve to least squares.
      gap_powers: [C, D, S] the same at `shown` points with weights of x, x², x³, … themselves.
      weight_distance: [C, F] mean relative distance of two starts' weights at `shown` points.
      curves, families: names.
      shown: number of points on the right, and of gap_powers.
      met: gap below which a start has met least squares.
      num_steps: of gradient descent.
      command: the command that computed the numbers.

    Returns:
      Figure.
    """
    rows = len(curves)
    figure = style.sheet(9.0, 2.3 * rows)
    panels = figure.subplots(rows, 2, squeeze=False, width_ratios=(1.5, 1.0))
    smallest = 1e-8
    gap, gap_powers = np.maximum(gap, smallest), np.maximum(gap_powers, smallest)
    places = np.arange(len(families))
    hues = [style.colour(0)] * (len(families) - 1) + [style.colour(1)]
    ticks = np.arange(0, 10, 2)
    names = ["1e-8", "1e-6", "1e-4", "1e-2", "1"]
    for c, (left, right) in enumerate(panels):
        for d in range(len(degree)):
            hue = style.colour(d)
            worst, powers = gap[c, d].max(axis=-1), gap_powers[c, d].max()
            left.plot(size, worst, "o-", color=hue, linewidth=1.2, markersize=4)
            left.plot([shown * 1.08], [powers], **style.hollow(hue, 6.0, "^"))
        left.axhline(met, **style.DOTTED)
        left.set(yscale="log", ylim=(smallest / 2, 8))
        left.set_ylabel(f"gap to least squares, {curves[c]}")
        _name_sizes(left, size)
        lengths = np.log10(np.maximum(weight_distance[c], smallest) / smallest)
        right.barh(places, lengths, color=hues, height=0.6)
        for place, length, value in zip(places, lengths, weight_distance[c], strict=True):
            right.text(length + 0.15, place, f"{value:.2g}", va="center", size=8)
        right.set_yticks(places, families)
        right.invert_yaxis()
        right.set_xticks(ticks, names)
        right.set_xlim(0, 9.8)
    panels[0, 0].set_title("gap of the worst start", loc="left")
    panels[0, 1].set_title(f"distance of two starts' weights, {shown} points", loc="left")
    panels[-1, 0].set_xlabel("training points")
    panels[-1, 1].set_xlabel("relative to their length, mean over pairs")
    powers = style.hollow(style.INK, 6.0, "^")
    handles = [
        *_degree_handles(degree),
        style.handle(
            "Legendre polynomials", linestyle="-", marker="o", color=style.INK, markersize=4
        ),
        style.handle("powers x, x², x³ … (same family)", **powers),
        style.handle("met", **style.DOTTED),
    ]
    caption = (
        f"After {num_steps:,} steps from {gap.shape[-1]} starts. The loss of a polynomial has one "
        "lowest value, and gradient descent comes to it quickly where the formula's columns are "
        "near to orthogonal; with few points for the degree, or weights of bare powers, some "
        "directions are so flat that it has not arrived. Gap: root mean square difference of the "
        "two curves, over that of least squares. A network's starts reach low errors, too, with "
        "weights that have nothing in common (two random vectors of one length are 1.4 apart)."
    )
    title = "Do the starts of one formula meet?"
    return style.finish(figure, title, caption, command, handles)


def _degree_handles(degree):
    """Name the colours of the degrees."""
    return [
        style.handle(f"degree {k}", color=style.colour(d), linewidth=1.6)
        for d, k in enumerate(degree)
    ]


def _dots(axes, x, y, hue):
    """Mark the errors y [X, S] of all starts."""
    look = style.hollow(hue, 4.0, markeredgewidth=1.0, zorder=4)
    axes.plot(np.repeat(x, y.shape[-1]), np.maximum(y, 1e-12).ravel(), **look)


def _name_sizes(axes, size):
    """Write every number of points at a logarithmic axis."""
    axes.set_xscale("log")
    axes.set_xticks(size, [str(n) for n in size])
    axes.minorticks_off()
