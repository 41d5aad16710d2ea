"""Fits numbers on a line: polynomials and a network from many starts, beside least squares."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from catdog_jax.analysis import distance
from catdog_jax.losses import REGRESSION
from catdog_jax.models.build import build_model
from catdog_jax.optimizers import make_optimizer
from catdog_jax.population import Schedule, Seeds, local_plan, train_population
from catdog_jax.population.keys import member_keys
from catdog_jax.train import make_learner
from catdog_jax.types import Data
from experiments.shared import curves
from experiments.shared.curves import CURVES, GRID

OPTIMIZER = "sgd:momentum=0.98:nesterov=true"
NETWORK = "mlp:width=32:depth=1:activation=tanh"
NETWORK_RATE = 0.03
GAIN = 4.0  # starts are spread wider than the answers
EXACT_SETS = 200  # training sets that the closed form is solved on
EXACT_SIZES = (6, 8, 10, 12, 15, 20, 28, 40, 57, 80, 113, 160, 226, 320)
MET = 1e-3  # a fit this near to least squares, relative to its size, has met it


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

    def points(self, curve: str, size: int) -> Data:
        """The training points of a curve."""
        return curves.points(curve, size, self.noise, self.data_seed)


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


def fit_polynomial(data: Data, degree: int, settings: Settings, *, powers: bool = False) -> Fit:
    """Fit by gradient descent from many starts, with steps near 1 over the largest curvature.

    Args:
      data: the points.
      degree: of the polynomial.
      settings: see `Settings`.
      powers: the weights belong to x, x², x³, … themselves and not to Legendre polynomials.
    """
    x = np.asarray(data.inputs[:, 0], np.float64)
    used = np.vander(x, degree + 1, increasing=True) if powers else curves.columns(x, degree)
    largest = len(x) / (2 * float(np.linalg.norm(used, 2)) ** 2)
    rate = 2.0 ** math.floor(math.log2(largest))  # few different ones: few programs to compile
    if powers:
        entry, inputs, grid = f"polynomial:degree={degree}", x[:, None], GRID[:, None]
    else:  # a linear formula of the Legendre polynomials is the same family
        grid = curves.columns(GRID, degree)[:, 1:]
        entry, inputs = "polynomial:degree=1", used[:, 1:]
    # Every point as often as fills the largest size: the same mean, and one program for all sizes.
    times = settings.sizes[-1] // len(x) if settings.sizes[-1] % len(x) == 0 else 1
    repeated = Data(np.tile(inputs, (times, 1)), np.tile(data.labels, times))
    return _fit(f"{entry}:gain={GAIN}", repeated, grid, settings, OPTIMIZER, rate, "constant")


def fit_network(data: Data, settings: Settings) -> Fit:
    """Fit a small network from many starts by Adam."""
    return _fit(NETWORK, data, GRID[:, None], settings, "adam", NETWORK_RATE, "cosine")


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
    learner = make_learner(
        model,
        make_optimizer(optimizer, rate, num_steps=settings.num_steps, schedule=schedule),
        batch_size=len(train.labels),
        objective=REGRESSION,
        eval_batch=len(grid),
    )
    count, seeds = settings.num_starts, Seeds(init=settings.init_seed)
    (wave,) = train_population(
        learner,
        train,
        Schedule(settings.num_steps, settings.num_steps),
        num_members=count,
        evaluations={"train": train, "grid": judged},
        seeds=seeds,
        plan=local_plan(model, train.inputs, len(train.labels), count, strategy="vmap", wave=count),
    )
    starts = jax.vmap(model.init)(member_keys(seeds, 0, count).init)
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


def mean_relative_distance(weights: np.ndarray) -> float:
    """Average the relative distance of the weights [M, D] over pairs; nan for one member."""
    apart = distance.relative_weight_distance(
        distance.pairwise_weight_distance(weights), distance.weight_norms(weights)
    )
    pairs = apart[np.triu_indices(len(apart), 1)]
    return float(pairs.mean()) if pairs.size else math.nan


def _cells(settings: Settings) -> Iterator[tuple[int, str, int, int | None]]:
    """Name every fit: (number of the curve, its name, number of the size, degree or network)."""
    for c, curve in enumerate(CURVES):
        for s, size in enumerate(settings.sizes):
            for degree in settings.degrees:
                yield c, curve, s, degree
            if size == settings.shown:
                yield c, curve, s, None


def count_fits(settings: Settings) -> int:
    """Count the fits that `fit_all` tells of."""
    return len(list(_cells(settings)))


def fit_all(settings: Settings, tell: Callable[[int], None]) -> xr.Dataset:
    """Fit every curve by every formula at every size; the network at the shown size only.

    Args:
      settings: see `Settings`.
      tell: takes the number of fits done, of `count_fits`.

    Returns:
      Along curve, family (the degrees and the network), degree, size, start and grid; what was not
      fitted is nan.
    """
    degrees, num_starts = settings.degrees, settings.num_starts
    num_curves, num_sizes = len(CURVES), len(settings.sizes)
    families = [*(f"degree {d}" for d in degrees), "network"]
    per_fit = np.full((2, num_curves, len(families), num_sizes, num_starts), np.nan)
    apart = np.full((num_curves, len(families), num_sizes), np.nan)
    gap = np.full((num_curves, len(degrees), num_sizes, num_starts), np.nan)
    powers = np.full((num_curves, len(degrees), num_starts), np.nan)
    kept = np.zeros((2, num_curves, len(families), num_starts, len(GRID)), np.float32)
    exact = np.zeros((num_curves, len(degrees), len(GRID)))
    learned = np.zeros((num_curves, len(degrees), num_starts, degrees[-1] + 1))
    for number, (c, curve, s, degree) in enumerate(_cells(settings)):
        data = settings.points(curve, settings.sizes[s])
        f = len(degrees) if degree is None else degrees.index(degree)
        is_shown = settings.sizes[s] == settings.shown
        if degree is None:
            fit = fit_network(data, settings)
        else:
            fit = fit_polynomial(data, degree, settings)
            best = curves.columns(GRID, degree) @ curves.least_squares(data, degree)
            gap[c, f, s] = relative_gap(fit.after, best)
            if is_shown:
                exact[c, f] = best
                # The params are laid out weights first: the bias belongs before them.
                weights = np.roll(fit.weights.astype(np.float64), 1, axis=1)
                learned[c, f, :, : degree + 1] = curves.coefficients(weights)
                other = fit_polynomial(data, degree, settings, powers=True)
                powers[c, f] = relative_gap(other.after, best)
        per_fit[0, c, f, s] = fit.train_error
        per_fit[1, c, f, s] = curves.errors(fit.after, curve, settings.noise)
        apart[c, f, s] = mean_relative_distance(fit.weights)
        if is_shown:
            kept[:, c, f] = fit.before, fit.after
        tell(number + 1)
    shown = [settings.points(curve, settings.shown) for curve in CURVES]
    exact_sizes = sorted({*EXACT_SIZES, *settings.sizes})
    expected = [
        curves.expected_errors(
            curve, degrees, exact_sizes, settings.noise, settings.data_seed, EXACT_SETS
        )
        for curve in CURVES
    ]
    over = ("curve", "family", "size", "start")
    return xr.Dataset(
        {
            "curve_truth": (("curve", "grid"), np.stack([f(GRID) for f in CURVES.values()])),
            "curve_point_x": (("curve", "point"), np.stack([d.inputs[:, 0] for d in shown])),
            "curve_point_y": (("curve", "point"), np.stack([d.labels for d in shown])),
            "curve_start": (("curve", "family", "start", "grid"), kept[0]),
            "curve_fit": (("curve", "family", "start", "grid"), kept[1]),
            "curve_least_squares": (("curve", "degree", "grid"), exact),
            "curve_coefficient": (("curve", "degree", "start", "power"), learned),
            "curve_train_error": (over, per_fit[0]),
            "curve_test_error": (over, per_fit[1]),
            "curve_weight_distance": (over[:3], apart),
            "curve_gap": (("curve", "degree", "size", "start"), gap),
            "curve_gap_powers": (("curve", "degree", "start"), powers),
            "curve_expected_error": (
                ("curve", "part", "quantile", "degree", "exact_size"),
                np.stack(expected),
            ),
        },
        {
            "curve": np.array(list(CURVES), dtype=object),
            "family": np.array(families, dtype=object),
            "degree": np.array(degrees),
            "size": np.array(settings.sizes),
            "grid": GRID,
            "part": np.array(["train", "test"], dtype=object),
            "quantile": np.array(curves.QUANTILES),
            "exact_size": np.array(exact_sizes),
        },
    )
