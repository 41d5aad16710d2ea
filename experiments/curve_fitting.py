"""What can a formula become? Numbers from a curve, fitted by polynomials from many random starts.

Numbers from y = a x + b x², and from a sine, are fitted by polynomials from many random starts.
Expected: all starts of a degree meet in its least squares fit, since the loss is convex in the
weights, and none leaves its family: a line never bends. Too low a degree errs however many points
there are; too high a one errs where there are few. A small network's starts do not meet.

  python -m experiments.curve_fitting
  python -m experiments.curve_fitting --degrees=1,2,3 --points=20,80

The first takes some forty seconds on two cores. It ends with a table and the path of the run
folder: results.nc (every number) and figures/*.png.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from catdog_jax import Data, Schedule, Seeds, build_model, make_learner, make_optimizer, run
from catdog_jax.analysis import distance
from catdog_jax.analysis.curves import (
    CURVES,
    GRID,
    QUANTILES,
    coefficients,
    columns,
    errors,
    expected_errors,
    least_squares,
    points,
    relative_gap,
)
from catdog_jax.losses import REGRESSION
from catdog_jax.population import local_plan, member_keys, train_population, varied
from catdog_jax.run.progress import Progress
from catdog_jax.run.summary import aligned
from experiments import _cli
from experiments._cli import check_ranges, command_line, deciding, setting, whole_numbers
from experiments._experiment import Experiment
from experiments._tasks import SEED_MAX

OPTIMIZER = "sgd:momentum=0.98:nesterov=true"
NETWORK = "mlp:width=32:depth=1:activation=tanh"
NETWORK_RATE = 0.03
GAIN = 4.0  # starts are spread wider than the answers
EXACT_SETS = 200  # training sets that the closed form is solved on
EXACT_SIZES = (6, 8, 10, 12, 15, 20, 28, 40, 57, 80, 113, 160, 226, 320)
MET = 1e-3  # a fit this near to least squares, relative to its size, has met it


@dataclass(frozen=True)
class Config:
    """Settings of curve_fitting."""

    degrees: str = setting("1,2,3,5,9", "of the polynomials")
    points: str = setting("10,20,40,160", "numbers of points on a curve")
    shown_points: int = setting(20, "the number of points whose fits are drawn", low=2)
    num_members: int = setting(32, "random starts of each fit", low=2)
    num_steps: int = setting(3000, "steps of each fit, on all points at once", low=1)
    noise: float = setting(0.2, "standard deviation of the noise on the curves", low=0.0)
    init_seed: int = setting(0, "of the starting weights", low=0, high=SEED_MAX)
    data_seed: int = setting(0, "of the points", low=0, high=SEED_MAX)
    out_dir: str = setting("runs", "where run folders are made", operational=True)
    name: str = setting("", "of the run folder; empty: made from the settings", operational=True)
    fresh: bool = setting(
        False, "start another run beside one of the same settings", operational=True
    )


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


def analyse(populations: Mapping[str, run.Population], config: Config) -> xr.Dataset:
    """Fit every curve by every formula at every size; the network at the shown size only.

    Returns:
      Along curve, family (the degrees and the network), degree, size, start and grid; what was not
      fitted is nan.
    """
    del populations  # they are small: what they end as is kept, and they are not
    degrees = whole_numbers("degrees", config.degrees, 1, 12)
    sizes = sorted({*whole_numbers("points", config.points, 2), config.shown_points})
    settings = Settings(
        degrees,
        tuple(sizes),
        config.shown_points,
        config.num_members,
        config.num_steps,
        config.noise,
        config.data_seed,
        config.init_seed,
    )
    with Progress("curves", len(CURVES) * (len(sizes) * len(degrees) + 1), "fits") as progress:
        data = fit_all(settings, progress)
    attrs = {"noise": config.noise, "curve_steps": config.num_steps}
    return data.assign_attrs(attrs, exact_sets=EXACT_SETS, met=MET)


def fit_all(settings: Settings, progress: Progress) -> xr.Dataset:
    """Fit every curve; see `analyse`."""
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
        progress.to(next(numbers), family)

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


FIGURES = {
    "curve_fits": "curves.curve_fits",
    "curve_errors": "curves.curve_errors",
    "starts_meet": "curves.starts_meet",
}


def table(run: run.Run) -> str:
    """Write how well every formula fits, and whether its starts met."""
    data = run.data
    shown = data.sizes["point"]
    head = ["curve", "formula", "train error", "test error", "gap to least squares", "met"]
    rows, found = [[*head, "gap with bare powers", "distance of weights"]], []
    for curve in map(str, data["curve"].values):
        one = data.sel(curve=curve, size=shown)
        for family in map(str, one["family"].values):
            fit, met = one.sel(family=family), ["–", "–", "–"]
            if family != "network":
                exact = one.sel(degree=int(family.removeprefix("degree ")))
                gap, powers = exact["curve_gap"].values, exact["curve_gap_powers"].values.max()
                met = [f"{gap.max():.1e}", f"{(gap < MET).sum()} of {gap.size}", f"{powers:.1e}"]
            errors = (f"{fit[f'curve_{k}_error'].values.mean():.4f}" for k in ("train", "test"))
            apart = f"{float(fit['curve_weight_distance']):.1e}"
            rows.append([curve, family, *errors, *met, apart])
        if 2 in one["degree"]:
            weights = one["curve_coefficient"].sel(degree=2).values.T
            terms = (
                f"{word} {values.mean():.4f} ± {values.std():.0e}"
                for word, values in zip(("bias", "x^1", "x^2"), weights[:3], strict=True)
            )
            found.append(f"{curve}, degree 2, learned: {', '.join(terms)} over starts")
    lost = (~(data["curve_gap"] < MET)).sum("start").to_series()
    missed = [
        f"{curve}, degree {degree}, {size} points: {count} of {data.sizes['start']} starts "
        "have not met least squares"
        for (curve, degree, size), count in lost[lost > 0].items()
    ]
    note = f"{shown} points, {data.sizes['start']} starts; met: a gap below {MET:g}"
    return "\n".join([*aligned(rows), note, *found, *missed])


def train(config: Config) -> run.Run:
    """Open the run folder; nothing is trained into it, for a fit takes a second."""
    check_ranges(config)
    whole_numbers("degrees", config.degrees, 1, 12)
    whole_numbers("points", config.points, 2)
    run.begin()
    return run.train_run(
        [],
        experiment="curve_fitting",
        settings=deciding(config),
        short_name="curves",
        command=command_line(config, "curve_fitting"),
        out_dir=config.out_dir,
        name=config.name,
        fresh=config.fresh,
        growable=False,
    )


def main(argv: Sequence[str]) -> int:
    """Run on command-line arguments; return the exit status."""
    experiment = Experiment("curve_fitting", analyse, FIGURES, table, train=train)
    return _cli.run(argv, Config, experiment)


if __name__ == "__main__":
    _cli.command(main)
