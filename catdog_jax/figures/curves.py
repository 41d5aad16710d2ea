"""Fits of curves from many starts: what a formula can be, and what it cannot."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import style

PALE_STARTS = 8  # curves of starting weights that are drawn
SMALLEST = 1e-8  # of a gap
TRUE: Any = {"color": style.INK, "linewidth": 1.1, "linestyle": "--"}


@style.look()
def curve_fits(data: xr.Dataset) -> Figure:
    """Draw the fits of every start: a row per curve, a column per formula.

    Args:
      data: y over `grid`: `curve_truth` (curve, grid), `curve_start` and `curve_fit` (curve,
        family, start, grid), before and after training; `curve_point_x`, `curve_point_y` (curve,
        point), the training points. The last family is the network.

    Returns:
      Figure.
    """
    rows, columns = data.sizes["curve"], data.sizes["family"]
    shared = {"sharex": True, "sharey": "row"}
    figure, grid = style.sheet(1.75 * columns, 1.75 * rows, rows, columns, **shared)
    for (c, f), axes in np.ndenumerate(grid):
        one, network = data.isel(curve=c, family=f), int(f == columns - 1)
        x, start = one["grid"], one["curve_start"].values[:PALE_STARTS]
        axes.plot(x, start.T, color=style.PALE, linewidth=0.7, zorder=1, label="before training")
        axes.plot(x, one["curve_truth"], zorder=2, label="true curve", **TRUE)
        label = f"{('polynomials', 'network')[network]}, trained"
        thin = {"color": style.colour(network), "linewidth": 0.9, "alpha": 0.6, "zorder": 3}
        axes.plot(x, one["curve_fit"].values.T, label=label, **thin)
        points = style.hollow(style.INK, 3.6, mew=0.8, zorder=4, label="training points")
        axes.plot(one["curve_point_x"], one["curve_point_y"], **points)
        low, high = float(one["curve_point_y"].min()), float(one["curve_point_y"].max())
        axes.set_ylim(low - 0.35 * (high - low), high + 0.35 * (high - low))
        axes.set_xlabel("x" * (c == rows - 1))
        axes.set_title(str(one["family"].values) * (c == 0))
        axes.set_ylabel(f"y of the {one['curve'].values}" * (f == 0))
    starts = data.sizes["start"]
    caption = (
        f"{starts} random starts of each formula, trained on the same {data.sizes['point']} "
        f"points, all of them drawn ({min(starts, PALE_STARTS)} before training). "
        "Where one line is seen they all met; where a band is, descent had not arrived, or "
        "there is no one lowest point to arrive at (network). What lies beyond a panel is cut off. "
        "A polynomial cannot leave its family: a line stays a line."
    )
    title = "The formula decides which curve is learned, the start hardly does"
    return style.finish(figure, title, caption, data)


@style.look()
def curve_errors(data: xr.Dataset) -> Figure:
    """Draw train and test error against degree, and test error against the number of points.

    Args:
      data: mean squared errors: `curve_expected_error` (curve, part, quantile, degree, exact_size)
        of the closed form, train and test, quartiles over training sets; `curve_train_error`,
        `curve_test_error` (curve, family, size, start) of learned starts on one set, the families
        in the order of the degrees; axis `point`, as long as the size that is drawn on the left;
        attributes `noise` (standard deviation) and `exact_sets`.

    Returns:
      Figure.
    """
    shown, noise, count = data.sizes["point"], float(data.attrs["noise"]), data.sizes["curve"]
    degree, size, exact = (data[name].values for name in ("degree", "size", "exact_size"))
    floor = max(noise**2, 1e-6)
    ratios = {"width_ratios": (1.0, 1.35), "sharey": "row"}
    figure, panels = style.sheet(9.0, 2.5 * count, count, 2, **ratios)
    for c, (left, right) in enumerate(panels):
        one = data.isel(curve=c)
        expected = one["curve_expected_error"]
        for part, hue in (("train", style.GREY), ("test", style.INK)):
            solved = np.maximum(expected.sel(part=part, exact_size=shown).values, floor * 1e-4)
            learned = one[f"curve_{part}_error"].sel(size=shown).values[: len(degree)]
            _errors(left, degree, solved, hue, f"{part} error", degree, learned)
        for d in range(len(degree)):
            solved, learned = (
                expected.sel(part="test")[:, d].values,
                one["curve_test_error"].values[d],
            )
            _errors(right, exact, solved, style.colour(d), f"degree {degree[d]}", size, learned)
        for axes in (left, right):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.axhline(floor, **style.DOTTED, label="noise")
        left.set(ylim=(floor / 12, 2500 * floor), xticks=degree)
        left.set_ylabel(f"squared error, {one['curve'].values}")
        _name_sizes(right, size)
    panels[0, 0].set_title(f"{shown} points, every degree")
    panels[0, 1].set_title("test error, every degree")
    panels[-1, 0].set_xlabel("degree of the polynomial")
    caption = (
        f"Lines and bands: least squares solved exactly on {data.attrs['exact_sets']} training "
        "sets, median and quartiles. Dots: all starts of gradient descent on one of the sets; "
        "starts that met lie on one another. Test errors are those of fresh points, their noise "
        f"(dotted, {noise**2:.3g}) included. What lies above a panel is cut off."
    )
    title = "Too stiff a formula errs with many points too; too free a one errs with few"
    return style.finish(figure, title, caption, data)


@style.look()
def starts_meet(data: xr.Dataset) -> Figure:
    """Draw how far the starts end from least squares, and from one another in their weights.

    Args:
      data: `curve_gap` (curve, degree, size, start), relative distance of each start's curve to
        least squares; `curve_gap_powers` (curve, degree, start), the same at the shown size with
        weights of x, x², x³, … themselves; `curve_weight_distance` (curve, family, size), mean
        relative distance of two starts' weights; axis `point`, as long as the shown size;
        attributes `met`, the gap below which a start has met least squares, and `curve_steps`.

    Returns:
      Figure.
    """
    degree, size, shown = data["degree"].values, data["size"].values, data.sizes["point"]
    families, count = data["family"].values.tolist(), data.sizes["curve"]
    figure, panels = style.sheet(9.0, 2.3 * count, count, 2, width_ratios=(1.5, 1.0))
    worst = np.maximum(data["curve_gap"].max("start"), SMALLEST)
    powers = np.maximum(data["curve_gap_powers"].max("start"), SMALLEST)
    apart = np.maximum(data["curve_weight_distance"].sel(size=shown), SMALLEST)
    for c, (left, right) in enumerate(panels):
        for d in range(len(degree)):
            line = {"color": style.colour(d), "linewidth": 1.2, "markersize": 4}
            left.plot(size, worst[c, d], "o-", label=f"degree {degree[d]}", **line)
            bare = style.hollow(style.colour(d), 6.0, "^", label="powers x, x², x³ …, same family")
            left.plot(shown * 1.08, powers[c, d], **bare)
        left.plot([], [], "o-", color=style.INK, markersize=4, label="Legendre polynomials")
        left.axhline(data.attrs["met"], **style.DOTTED, label="met")
        left.set(yscale="log", ylim=(SMALLEST / 2, 8))
        left.set_ylabel(f"gap to least squares, {data['curve'].values[c]}")
        _name_sizes(left, size)
        hues = [style.PALETTE[0]] * (len(families) - 1) + [style.PALETTE[1]]
        bars = right.barh(families, apart[c], color=hues, height=0.6)
        right.bar_label(bars, fmt="{:.2g}", padding=4, size=8)
        right.set(xscale="log", xlim=(SMALLEST, 60))
        right.invert_yaxis()
        for axis in (left.yaxis, right.xaxis):
            axis.set_major_formatter("{x:g}")
    panels[0, 0].set_title("gap of the worst start")
    panels[0, 1].set_title(f"distance of weights, {shown} points")
    panels[-1, 1].set_xlabel("relative to their length, mean over pairs")
    caption = (
        f"After {data.attrs['curve_steps']:,} steps from {data.sizes['start']} starts. Gap: root "
        "mean square difference of the two curves, over that of least squares. The loss of a "
        "polynomial has one lowest value; with few points for the degree, or weights of bare "
        "powers, some directions are so flat that gradient descent has not arrived there. A "
        "network's starts end with weights that have nothing in common (two random vectors of one "
        "length are 1.4 apart), at low errors too."
    )
    return style.finish(figure, "Do the starts of one formula meet?", caption, data)


def _errors(axes, x, solved, hue, label, places, learned):
    """Draw quartiles solved [3, X] as line and band, and learned errors [P, S] as dots."""
    axes.fill_between(x, solved[0], solved[2], color=hue, alpha=0.16, linewidth=0)
    axes.plot(x, solved[1], color=hue, linewidth=1.6, label=label)
    dots = style.hollow(hue, 4.0, mew=1.0, zorder=4, label="learned, one training set")
    axes.plot(np.repeat(places, learned.shape[1]), np.maximum(learned, 1e-12).ravel(), **dots)


def _name_sizes(axes, size):
    """Write every number of points at a logarithmic axis."""
    axes.set(xscale="log", xlabel="training points")
    axes.set_xticks(size, size)
    axes.minorticks_off()
