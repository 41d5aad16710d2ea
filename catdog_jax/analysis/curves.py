"""Numbers on a line: curves, their polynomials of least squared error, and what those err.

A polynomial's weights belong to Legendre polynomials, on which gradient descent goes well.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.polynomial import legendre

from catdog_jax.analysis.labelled import described
from catdog_jax.types import Data

# y of x in -1..1: one curve that degree 2 holds, and one that no polynomial does.
CURVES: dict[str, Callable[[Any], Any]] = {
    "parabola": lambda x: -0.5 * x + 1.5 * x**2,
    "sine": lambda x: np.sin(2 * np.pi * x),
}
GRID = np.linspace(-1.0, 1.0, 401)  # where fits are drawn and judged
QUANTILES = (0.25, 0.5, 0.75)


def points(curve: str, size: int, noise: float, seed: int, number: int = 0) -> Data:
    """Draw training points: x even in -1..1, y with normal noise; a larger set adds to a smaller.

    Args:
      curve: a name of CURVES.
      size: how many.
      noise: standard deviation.
      seed: of all sets.
      number: of the set.
    """
    place = [seed, number, list(CURVES).index(curve)]
    x = np.random.default_rng([*place, 0]).uniform(-1.0, 1.0, size)
    y = CURVES[curve](x) + noise * np.random.default_rng([*place, 1]).normal(size=size)
    return Data(x[:, None].astype(np.float32), y.astype(np.float32))


def columns(x: np.ndarray, degree: int) -> np.ndarray:
    """Give the Legendre polynomials of degree 0 to `degree`, of mean square 1 on -1..1, [N, P].

    Source: Abramowitz and Stegun 1964, 22.2.10.
    """
    return legendre.legvander(x, degree) * np.sqrt(2.0 * np.arange(degree + 1) + 1.0)


def least_squares(data: Data, degree: int) -> np.ndarray:
    """Solve for the polynomial of least squared error in float64; of many, the smallest weights.

    Returns:
      [P] weights of `columns`.
    """
    x, y = (np.asarray(part, np.float64) for part in (data.inputs[:, 0], data.labels))
    return np.linalg.lstsq(columns(x, degree), y, rcond=None)[0]


def coefficients(weights: np.ndarray) -> np.ndarray:
    """Turn weights of `columns` [..., P] into the bias, a, b, c of y = bias + a x + b x² + …."""
    size = weights.shape[-1]
    # Row k holds the powers of the k-th column.
    table = np.zeros((size, size))
    for k in range(size):
        table[k, : k + 1] = legendre.leg2poly(np.eye(size)[k, : k + 1] * np.sqrt(2 * k + 1))
    return weights @ table


def errors(y: np.ndarray, curve: str, noise: float) -> np.ndarray:
    """Mean squared error on fresh points of y [..., G] on the grid, their noise included."""
    return np.asarray(np.mean(np.square(y - CURVES[curve](GRID)), axis=-1) + noise**2)


def expected_errors(
    curve: str, degrees: Sequence[int], sizes: Sequence[int], noise: float, seed: int, num_sets: int
) -> np.ndarray:
    """Quartiles of the closed form's train and test error over training sets.

    Returns:
      [2, 3, degree, size]: train and test; the quantiles of QUANTILES.
    """
    found = np.zeros((2, num_sets, len(degrees), len(sizes)))
    tables = [columns(GRID, degree) for degree in degrees]
    for number in range(num_sets):
        data = points(curve, max(sizes), noise, seed, number)
        for s, size in enumerate(sizes):
            part = Data(data.inputs[:size], data.labels[:size])
            x = np.asarray(part.inputs[:, 0], np.float64)
            for d, degree in enumerate(degrees):
                weights = least_squares(part, degree)
                left = columns(x, degree) @ weights - part.labels
                found[0, number, d, s] = np.mean(np.square(left))
                found[1, number, d, s] = errors(tables[d] @ weights, curve, noise)
    return np.quantile(found, QUANTILES, axis=1).swapaxes(0, 1)


def relative_gap(fits: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Measure how far fits [M, G] are from a reference [G], in root mean squares of it; [M]."""
    size = np.sqrt(np.mean(np.square(reference)))
    return np.sqrt(np.mean(np.square(fits - reference), axis=-1)) / size


# The axes of each variable after `curve`.
VARIABLES = {
    "truth": "grid",
    "point_x": "point",
    "point_y": "point",
    "start": "family start grid",
    "fit": "family start grid",
    "least_squares": "degree grid",
    "coefficient": "degree start power",
    "train_error": "family size start",
    "test_error": "family size start",
    "weight_distance": "family size",
    "gap": "degree size start",
    "gap_powers": "degree start",
    "expected_error": "part quantile degree exact_size",
}


def empty_results(
    degrees: Sequence[int],
    sizes: Sequence[int],
    exact_sizes: Sequence[int],
    num_starts: int,
    num_points: int,
) -> xr.Dataset:
    """Lay out the results of fits, all nan: `curve_<name>` for each name of VARIABLES.

    Args:
      degrees: of the polynomials, rising; the network is one more family.
      sizes: numbers of training points of the fits, rising.
      exact_sizes: those of the closed form.
      num_starts: random starts of each fit.
      num_points: points of the fits that are kept.

    Variables:
      curve_truth: y of the true curves
      curve_point_x: x of the training points of the fits that are kept
      curve_point_y: y of the training points, with noise
      curve_start: y before training
      curve_fit: y after training
      curve_least_squares: y of the polynomial of least squared error
      curve_coefficient: learned weights of 1, x, x², x³, …; 0 beyond the degree
      curve_train_error: mean squared error on the training points
      curve_test_error: mean squared error on fresh points, their noise included
      curve_weight_distance: mean relative distance of the weights of two starts
      curve_gap: root mean square difference to least squares, over its size
      curve_gap_powers: curve_gap with weights of the bare powers of x
      curve_expected_error: least squares: quantiles of the error over training sets
    """
    coordinates: dict[str, Any] = {
        "curve": np.array(list(CURVES), dtype=object),
        "family": np.array([*(f"degree {d}" for d in degrees), "network"], dtype=object),
        "degree": np.array(degrees),
        "size": np.array(sizes),
        "grid": GRID,
        "part": np.array(["train", "test"], dtype=object),
        "quantile": np.array(QUANTILES),
        "exact_size": np.array(exact_sizes),
    }
    lengths = {axis: len(values) for axis, values in coordinates.items()}
    lengths |= {"start": num_starts, "power": degrees[-1] + 1, "point": num_points}
    data = xr.Dataset(coords=coordinates)
    for name, axes in VARIABLES.items():
        over = ["curve", *axes.split()]
        data[f"curve_{name}"] = over, np.full([lengths[axis] for axis in over], np.nan)
    return described(data, empty_results)
