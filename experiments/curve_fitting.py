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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from catdog_jax import Data, Schedule, Seeds, build_model, make_learner, make_optimizer, run
from catdog_jax.analysis import curves, distance
from catdog_jax.losses import REGRESSION
from catdog_jax.population import Execution, make_plan, member_keys, train_population, varied
from catdog_jax.registry import Range
from catdog_jax.run.progress import Progress
from catdog_jax.run.summary import aligned
from experiments import _cli
from experiments._cli import deciding, whole_numbers
from experiments._experiment import Experiment
from experiments._tasks import FolderConfig, Seed

OPTIMIZER = "sgd:momentum=0.98:nesterov=true"
NETWORK = "mlp:width=32:depth=1:activation=tanh"
NETWORK_RATE = 0.03
GAIN = 4.0  # starts are spread wider than the answers
EXACT_SETS = 200  # training sets that the closed form is solved on
EXACT_SIZES = (6, 8, 10, 12, 15, 20, 28, 40, 57, 80, 113, 160, 226, 320)
MET = 1e-3  # a fit this near to least squares, relative to its size, has met it


@dataclass(frozen=True)
class Config(FolderConfig):
    """Settings of curve_fitting.

    Attributes:
      degrees: of the polynomials
      points: numbers of points on a curve
      shown_points: the number of points whose fits are drawn
      num_members: random starts of each fit
      num_steps: steps of each fit, on all points at once
      noise: standard deviation of the noise on the curves
      init_seed: of the starting weights
      data_seed: of the points
    """

    degrees: str = "1,2,3,5,9"
    points: str = "10,20,40,160"
    shown_points: Annotated[int, Range(2)] = 20
    num_members: Annotated[int, Range(2)] = 32
    num_steps: Annotated[int, Range(1)] = 3000
    noise: Annotated[float, Range(0)] = 0.2
    init_seed: Seed = 0
    data_seed: Seed = 0


class Training(NamedTuple):
    """How every fit is trained.

    Attributes:
      num_members: random starts.
      num_steps: steps of gradient descent, each on all points.
      seed: of the starting weights.
      size: of the largest set of points.
    """

    num_members: int
    num_steps: int
    seed: int
    size: int


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


def fit_polynomial(data: Data, degree: int, training: Training, *, powers: bool = False) -> Fit:
    """Fit by gradient descent from many starts, with steps near 1 over the largest curvature.

    Args:
      data: the points.
      degree: of the polynomial.
      training: how.
      powers: the weights belong to x, x², x³, … themselves and not to Legendre polynomials.
    """
    x = np.asarray(data.inputs[:, 0], np.float64)
    used = np.vander(x, degree + 1, increasing=True) if powers else curves.columns(x, degree)
    largest = len(x) / (2 * float(np.linalg.norm(used, 2)) ** 2)
    rate = 2.0 ** math.floor(math.log2(largest))  # few different ones: few programs to compile
    if powers:
        entry, inputs, grid = f"polynomial:degree={degree}", x[:, None], curves.GRID[:, None]
    else:  # a linear formula of the Legendre polynomials is the same family
        grid = curves.columns(curves.GRID, degree)[:, 1:]
        entry, inputs = "polynomial:degree=1", used[:, 1:]
    # Every point as often as fills the largest size: the same mean, and one program for all sizes.
    times = training.size // len(x) if training.size % len(x) == 0 else 1
    repeated = Data(np.tile(inputs, (times, 1)), np.tile(data.labels, times))
    tx = make_optimizer(OPTIMIZER, rate, num_steps=training.num_steps)
    return _fit(f"{entry}:gain={GAIN}", repeated, grid, training, tx)


def _fit(entry: str, data: Data, grid: np.ndarray, training: Training, tx: Any) -> Fit:
    """Train all starts side by side on inputs [N, D], and give their y of grid [G, D]."""
    train = Data(data.inputs.astype(np.float32), data.labels)
    judged = Data(grid.astype(np.float32), np.zeros(len(grid), np.float32))
    model = build_model(entry, train.inputs.shape[1:], 1)
    size, count, seeds = len(train.labels), training.num_members, Seeds(init=training.seed)
    learner = make_learner(model, tx, batch_size=size, objective=REGRESSION, eval_batch=len(grid))
    (wave,) = train_population(
        learner,
        train,
        Schedule(training.num_steps, training.num_steps),
        members=varied(count),
        evaluations={"train": train, "grid": judged},
        seeds=seeds,
        plan=make_plan(model, train.inputs, count, Execution("vmap", wave=count)),
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
    degrees = sorted(whole_numbers("degrees", config.degrees, 1, 12))
    shown, noise, seed = config.shown_points, config.noise, config.data_seed
    sizes = sorted({*whole_numbers("points", config.points, 2), shown})
    exact_sizes = sorted({*EXACT_SIZES, *sizes})
    training = Training(config.num_members, config.num_steps, config.init_seed, sizes[-1])
    data = curves.empty_results(degrees, sizes, exact_sizes, config.num_members, shown)
    families = list(zip(data["family"].values, (*degrees, None), strict=True))
    count, total = itertools.count(), len(curves.CURVES) * (len(sizes) * len(degrees) + 1)
    tx = make_optimizer("adam", NETWORK_RATE, num_steps=config.num_steps, schedule="cosine")

    def put(place: dict[str, Any], **values: Any) -> None:
        for name, value in values.items():
            data[f"curve_{name}"].loc[place] = value

    with Progress("curves", total, "fits") as progress:
        for curve, size in itertools.product(curves.CURVES, sizes):
            one, train = {"curve": curve}, curves.points(curve, size, noise, seed)
            if size == shown:
                exact = curves.expected_errors(curve, degrees, exact_sizes, noise, seed, EXACT_SETS)
                put(one, truth=curves.CURVES[curve](curves.GRID), expected_error=exact)
                put(one, point_x=train.inputs[:, 0], point_y=train.labels)
            for family, degree in families if size == shown else families[:-1]:
                progress.to(next(count), family)
                if degree is None:
                    fit = _fit(NETWORK, train, curves.GRID[:, None], training, tx)
                else:
                    fit = fit_polynomial(train, degree, training)
                    best = curves.columns(curves.GRID, degree) @ curves.least_squares(train, degree)
                    gap = curves.relative_gap(fit.after, best)
                    put(one | {"degree": degree, "size": size}, gap=gap)
                _, apart = distance.weight_distances(fit.weights)
                apart = apart[np.triu_indices(len(apart), 1)]
                place, tested = one | {"family": family}, curves.errors(fit.after, curve, noise)
                put(place | {"size": size}, train_error=fit.train_error, test_error=tested)
                put(place | {"size": size}, weight_distance=apart.mean())
                if size != shown:
                    continue
                put(place, start=fit.before, fit=fit.after)
                if degree is not None:
                    # The params are laid out weights first: the bias belongs before them.
                    weights = curves.coefficients(np.roll(fit.weights.astype(np.float64), 1, 1))
                    learned = np.pad(weights, ((0, 0), (0, degrees[-1] - degree)))
                    other = fit_polynomial(train, degree, training, powers=True)
                    gap = curves.relative_gap(other.after, best)
                    place = one | {"degree": degree}
                    put(place, least_squares=best, coefficient=learned, gap_powers=gap)
    single = ("curve_point_x", "curve_point_y", "curve_start", "curve_fit")
    data = data.assign({name: data[name].astype(np.float32) for name in single})
    attrs = {"noise": noise, "curve_steps": config.num_steps}
    return data.assign_attrs(attrs, exact_sets=EXACT_SETS, met=MET)


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
            tested = (f"{fit[f'curve_{k}_error'].values.mean():.4f}" for k in ("train", "test"))
            apart = f"{float(fit['curve_weight_distance']):.1e}"
            rows.append([curve, family, *tested, *met, apart])
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
    return "\n".join([*aligned(rows, keys=2), note, *found, *missed])


def train(config: Config) -> run.Run:
    """Open the run folder; nothing is trained into it, for a fit takes a second."""
    whole_numbers("degrees", config.degrees, 1, 12)
    whole_numbers("points", config.points, 2)
    run.begin()
    return run.train_run(
        [],
        settings=deciding(config),
        short_name="curves",
        growable=False,
        **config.place("curve_fitting"),
    )


main = Experiment("curve_fitting", Config, analyse, FIGURES, table, train=train).main

if __name__ == "__main__":
    _cli.command(main)
