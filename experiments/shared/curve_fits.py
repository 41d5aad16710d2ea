"""Fits numbers on a line: polynomials and a network from many starts, beside least squares."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.polynomial import legendre

from catdog_jax import Data, Schedule, Seeds, build_model, make_learner, make_optimizer
from catdog_jax.analysis import distance
from catdog_jax.losses import REGRESSION
from catdog_jax.population import local_plan, member_keys, train_population, varied

# y of x in -1..1: one curve that degree 2 holds, and one that no polynomial does.
CURVES: dict[str, Callable[[Any], Any]] = {
    "parabola": lambda x: -0.5 * x + 1.5 * x**2,
    "sine": lambda x: np.sin(2 * np.pi * x),
}
GRID = np.linspace(-1.0, 1.0, 401)  # where fits are drawn and judged
QUANTILES = (0.25, 0.5, 0.75)
OPTIMIZER = "sgd:momentum=0.98:nesterov=true"
NETWORK = "mlp:width=32:depth=1:activation=tanh"
NETWORK_RATE = 0.03
GAIN = 4.0  # starts are spread wider than the answers
EXACT_SETS = 200  # training sets that the closed form is solved on
EXACT_SIZES = (6, 8, 10, 12, 15, 20, 28, 40, 57, 80, 113, 160, 226, 320)
MET = 1e-3  # a fit this near to least squares, relative to its size, has met it

# Axes after `curve`, and meaning; all are pure numbers.
VARIABLES = {
    "truth": ("grid", "y of the true curves"),
    "point_x": ("point", "x of the training points of the fits that are kept"),
    "point_y": ("point", "y of the training points, with noise"),
    "start": ("family start grid", "y before training"),
    "fit": ("family start grid", "y after training"),
    "least_squares": ("degree grid", "y of the polynomial of least squared error"),
    "coefficient": (
        "degree start power",
        "learned weights of 1, x, x², x³, …; 0 beyond the degree",
    ),
    "train_error": ("family size start", "mean squared error on the training points"),
    "test_error": ("family size start", "mean squared error on fresh points, their noise included"),
    "weight_distance": ("family size", "mean relative distance of the weights of two starts"),
    "gap": ("degree size start", "root mean square difference to least squares, over its size"),
    "gap_powers": ("degree start", "curve_gap with weights of the bare powers of x"),
    "expected_error": (
        "part quantile degree exact_size",
        "least squares: quantiles of the error over training sets",
    ),
}


class Settings(NamedTuple):
    """What decides the fits.

    Attributes:
      degrees: of the polynomials, rising.
      sizes: numbers of training points, rising.
      shown: the one of the sizes whose fits are kept.
      num_starts: random starts of each fit.
      num_steps: steps of gradient descent, each on all points.
      noise: standard deviation of the noise on y.
      data_seed, init_seed: of the points, and of the starting weights.
    """

    degrees: tuple[int, ...]
    sizes: tuple[int, ...]
    shown: int
    num_starts: int
    num_steps: int
    noise: float
    data_seed: int
    init_seed: int


class Fit(NamedTuple):
    """One formula, fitted from many starts.

    Attributes:
      before, after: [M, G] float32, y on the grid before and after training.
      train_error: [M] mean squared error on the training points.
      weights: [M, D], those of the first layer before its bias.
    """

    before: np.ndarray
    after: np.ndarray
    train_error: np.ndarray
    weights: np.ndarray


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
    return np.mean(np.square(y - CURVES[curve](GRID)), axis=-1) + noise**2


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


def fit_polynomial(data: Data, degree: int, settings: Settings, *, powers: bool = False) -> Fit:
    """Fit by gradient descent from many starts, with steps near 1 over the largest curvature.

    Args:
      data: the points.
      degree: of the polynomial.
      settings: see `Settings`.
      powers: the weights belong to x, x², x³, … themselves and not to Legendre polynomials.
    """
    x = np.asarray(data.inputs[:, 0], np.float64)
    used = np.vander(x, degree + 1, increasing=True) if powers else columns(x, degree)
    largest = len(x) / (2 * float(np.linalg.norm(used, 2)) ** 2)
    rate = 2.0 ** math.floor(math.log2(largest))  # few different ones: few programs to compile
    if powers:
        entry, inputs, grid = f"polynomial:degree={degree}", x[:, None], GRID[:, None]
    else:  # a linear formula of the Legendre polynomials is the same family
        grid = columns(GRID, degree)[:, 1:]
        entry, inputs = "polynomial:degree=1", used[:, 1:]
    # Every point as often as fills the largest size: the same mean, and one program for all sizes.
    times = settings.sizes[-1] // len(x) if settings.sizes[-1] % len(x) == 0 else 1
    repeated = Data(np.tile(inputs, (times, 1)), np.tile(data.labels, times))
    return _fit(f"{entry}:gain={GAIN}", repeated, grid, settings, OPTIMIZER, rate, "constant")


def _fit(
    entry: str,
    data: Data,
    grid: np.ndarray,
    settings: Settings,
    optimizer: str,
    rate: float,
    schedule: str,
) -> Fit:
    """Train all starts side by side on inputs [N, D], and give their y of grid [G, D]."""
    train = Data(data.inputs.astype(np.float32), data.labels)
    judged = Data(grid.astype(np.float32), np.zeros(len(grid), np.float32))
    model = build_model(entry, train.inputs.shape[1:], 1)
    tx = make_optimizer(optimizer, rate, num_steps=settings.num_steps, schedule=schedule)
    size, count, seeds = len(train.labels), settings.num_starts, Seeds(init=settings.init_seed)
    learner = make_learner(model, tx, batch_size=size, objective=REGRESSION, eval_batch=len(grid))
    (wave,) = train_population(
        learner,
        train,
        Schedule(settings.num_steps, settings.num_steps),
        members=varied(count),
        evaluations={"train": train, "grid": judged},
        seeds=seeds,
        plan=local_plan(model, train.inputs, size, count, strategy="vmap", wave=count),
    )
    starts = jax.vmap(model.init)(member_keys(seeds, varied(count)).init)
    before = jax.jit(jax.vmap(model.apply, (0, None)))(starts, jnp.asarray(judged.inputs))
    return Fit(
        np.asarray(before)[..., 0],
        wave.logits["grid"][:count, :, 0],
        wave.history["train_loss"][:count, -1],
        distance.flatten_members(jax.tree.map(lambda x: x[:count], wave.params)),
    )


def relative_gap(fits: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Measure how far fits [M, G] are from a reference [G], in root mean squares of it; [M]."""
    size = np.sqrt(np.mean(np.square(reference)))
    return np.sqrt(np.mean(np.square(fits - reference), axis=-1)) / size


def count_fits(settings: Settings) -> int:
    """Count the fits that `fit_all` tells of."""
    return len(CURVES) * (len(settings.sizes) * len(settings.degrees) + 1)


def fit_all(settings: Settings, tell: Callable[[int], None]) -> xr.Dataset:
    """Fit every curve by every formula at every size; the network at the shown size only.

    Args:
      settings: see `Settings`.
      tell: takes the number of fits done, of `count_fits`.

    Returns:
      Along curve, family (the degrees and the network), degree, size, start and grid; what was not
      fitted is nan.
    """
    degrees, shown, seed = settings.degrees, settings.shown, settings.data_seed
    exact_sizes = sorted({*EXACT_SIZES, *settings.sizes})
    coordinates: dict[str, Any] = {
        "curve": np.array(list(CURVES), dtype=object),
        "family": np.array([*(f"degree {d}" for d in degrees), "network"], dtype=object),
        "degree": np.array(degrees),
        "size": np.array(settings.sizes),
        "grid": GRID,
        "part": np.array(["train", "test"], dtype=object),
        "quantile": np.array(QUANTILES),
        "exact_size": np.array(exact_sizes),
    }
    lengths = {axis: len(values) for axis, values in coordinates.items()}
    lengths |= {"start": settings.num_starts, "power": degrees[-1] + 1, "point": shown}
    data, numbers = xr.Dataset(coords=coordinates), itertools.count(1)
    for name, (axes, text) in VARIABLES.items():
        over = ["curve", *axes.split()]
        empty = np.full([lengths[axis] for axis in over], np.nan)
        data[f"curve_{name}"] = over, empty, {"units": "1", "long_name": text}

    def keep(curve: str, family: str, size: int, fit: Fit) -> None:
        tested = errors(fit.after, curve, settings.noise)
        apart = distance.relative_weight_distance(
            distance.pairwise_weight_distance(fit.weights), distance.weight_norms(fit.weights)
        )
        pairs = apart[np.triu_indices(len(apart), 1)]
        data["curve_train_error"].loc[curve, family, size] = fit.train_error
        data["curve_test_error"].loc[curve, family, size] = tested
        data["curve_weight_distance"].loc[curve, family, size] = pairs.mean()
        if size == shown:
            data["curve_start"].loc[curve, family] = fit.before
            data["curve_fit"].loc[curve, family] = fit.after
        tell(next(numbers))

    for curve in CURVES:
        data["curve_truth"].loc[curve] = CURVES[curve](GRID)
        data["curve_expected_error"].loc[curve] = expected_errors(
            curve, degrees, exact_sizes, settings.noise, seed, EXACT_SETS
        )
        for size in settings.sizes:
            train = points(curve, size, settings.noise, seed)
            for degree in degrees:
                fit = fit_polynomial(train, degree, settings)
                best = columns(GRID, degree) @ least_squares(train, degree)
                data["curve_gap"].loc[curve, degree, size] = relative_gap(fit.after, best)
                if size == shown:
                    # The params are laid out weights first: the bias belongs before them.
                    weights = np.roll(fit.weights.astype(np.float64), 1, axis=1)
                    other = fit_polynomial(train, degree, settings, powers=True)
                    data["curve_least_squares"].loc[curve, degree] = best
                    beyond = ((0, 0), (0, degrees[-1] - degree))
                    learned = np.pad(coefficients(weights), beyond)
                    data["curve_coefficient"].loc[curve, degree] = learned
                    data["curve_gap_powers"].loc[curve, degree] = relative_gap(other.after, best)
                keep(curve, f"degree {degree}", size, fit)
            if size == shown:
                data["curve_point_x"].loc[curve] = train.inputs[:, 0]
                data["curve_point_y"].loc[curve] = train.labels
                grid = GRID[:, None]
                fit = _fit(NETWORK, train, grid, settings, "adam", NETWORK_RATE, "cosine")
                keep(curve, "network", size, fit)
    single = ("curve_point_x", "curve_point_y", "curve_start", "curve_fit")
    return data.assign({name: data[name].astype(np.float32) for name in single})
