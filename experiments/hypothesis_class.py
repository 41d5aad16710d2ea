"""The formula limits what can be learned: curves, and networks of every width and depth.

Curves: numbers from y = a x + b x², and from a sine, are fitted by polynomials from many random
starts. Expected: all starts of a degree meet in its least squares fit, since the loss is convex in
the weights, and none leaves its family: a line never bends. Too low a degree errs however many
points there are; too high a one errs where there are few. A small network's starts do not meet.

Cats and dogs: networks of several widths, depths and numbers of training pictures, each trained
from the same starts on several training sets. Expected, after Neal et al. 2018: bias and variance
both fall with width. Found on the drawn pictures: bias falls; the variance between starts falls
beyond the width that fits every training picture; the variance between training sets grows with
width, and falls with the number of pictures.

  python -m experiments.hypothesis_class
  python -m experiments.hypothesis_class --dataset=cifar10 --data_dir=DIR --widths=2,8,32,128,512

The first takes about three minutes on two cores, the curves some forty seconds of them. It ends
with two tables and the path of the run folder. The same command again goes on where a run was left.
"""

import functools
import json
import time
from dataclasses import dataclass, replace

import xarray as xr

from catdog_jax.store import Run, RunFolder
from catdog_jax.types import InputError
from experiments.shared import curve_fits, figures, launcher, training_sets
from experiments.shared import hypothesis_results as results
from experiments.shared import jobs as job_module
from experiments.shared.config import TrainConfig, setting
from experiments.shared.progress import Progress
from experiments.shared.results import Trained, described
from experiments.shared.training import fill_folder, prepare


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of hypothesis_class."""

    models: str = setting("", "none can be given: MLPs are trained, see --widths and --depths")
    num_members: int = setting(8, "random starts of each network on each training set", low=2)
    widths: str = setting("4,16,64,256", "units of each hidden layer, at --depth layers")
    depths: str = setting("1,2,3", "hidden layers, of --width units each")
    sizes: str = setting("", "training examples; empty: an eighth, a quarter, half of --set_size")
    width: int = setting(64, "where depth and size vary", low=1)
    depth: int = setting(2, "where width and size vary", low=1, high=16)
    num_sets: int = setting(4, "training sets", low=2)
    set_size: int = setting(0, "examples of each; 0: shared out evenly, 2,500 at most", low=0)
    data_seed: int = setting(0, "of the training sets, and of the points on the curves", low=0)
    degrees: str = setting("1,2,3,5,9", "of the polynomials")
    points: str = setting("10,20,40,160", "numbers of points on a curve")
    shown_points: int = setting(20, "the number of points whose fits are drawn", low=2)
    curve_starts: int = setting(32, "random starts of each fit of a curve", low=2)
    curve_steps: int = setting(3000, "steps of each fit of a curve", low=1)
    noise: float = setting(0.2, "standard deviation of the noise on the curves", low=0.0)


FIGURES = {
    "curve_fits": "curves.curve_fits",
    "curve_errors": "curves.curve_errors",
    "starts_meet": "curves.starts_meet",
    "bias_variance": "bias_variance.bias_variance",
}


def run(config: Config) -> Run:
    """Train the networks, fit the curves, draw every figure, print both tables."""
    if config.models:
        raise InputError(
            f"--models={config.models}: this experiment trains MLPs; give --widths and --depths"
        )
    points = whole_numbers(config, "points", 2)
    fits = curve_fits.Settings(
        whole_numbers(config, "degrees", 1, 12),
        tuple(sorted({*points, config.shown_points})),
        config.shown_points,
        config.curve_starts,
        config.curve_steps,
        config.noise,
        config.data_seed,
        config.init_seed,
    )
    widths, depths = whole_numbers(config, "widths", 1), whole_numbers(config, "depths", 1, 16)
    dataset = prepare(config)
    num_examples = len(dataset.train.labels)
    set_size = config.set_size or max(2, min(num_examples // config.num_sets, 2500))
    shares = tuple(max(2, set_size // part) for part in (8, 4, 2))
    sizes = whole_numbers(config, "sizes", 2) if config.sizes else shares
    middle = training_sets.Network(config.width, config.depth, set_size)
    grid = training_sets.networks(widths, depths, sizes, middle)
    most = max(network.num_examples for network in grid)
    rows = training_sets.draw_rows(num_examples, config.num_sets, most, config.data_seed)
    settled = replace(config, augment=config.augment or "none", set_size=set_size)
    jobs = training_sets.make_jobs(settled, dataset, grid, rows)
    settings = job_module.run_settings(settled, dataset, jobs)

    def finish(folder: RunFolder, trained: list[Trained]) -> xr.Dataset:
        begin = time.monotonic()
        with Progress("curves", curve_fits.count_fits(fits), "fits") as progress:
            data = curve_fits.fit_all(fits, progress.to)
        timings = dict(folder.manifest.get("timings", {}))
        timings["curves"] = {"seconds": time.monotonic() - begin}
        folder.update_manifest(timings=timings)
        data = data.merge(training_sets.assemble(dataset, grid, config.num_sets, trained))
        data.attrs = {
            "dataset": dataset.name,
            "recipe": json.dumps(settings, sort_keys=True),
            "noise": config.noise,
            "curve_steps": config.curve_steps,
            "exact_sets": curve_fits.EXACT_SETS,
            "met": curve_fits.MET,
            "disjoint": int(config.num_sets * most <= num_examples),
            **{f"middle_{name}": value for name, value in middle._asdict().items()},
        }
        return described(data, results.DESCRIPTIONS)

    finished, path = fill_folder(
        config, "hypothesis_class", dataset, jobs, settings, "hypothesis", finish
    )
    figures.draw(finished.data, path, FIGURES)
    print(results.tables(finished.data))
    print(f"results, weights and figures: {path}")
    lost = (finished.data["diverged_step"] >= 0).any("training_set").all("member")
    if lost.any():
        raise RuntimeError(
            f"all starts of {finished.data['network'].values[lost][0]} diverged on a training set "
            f"(a loss that was not finite); lower --learning_rate; what there is: {path}"
        )
    return finished


def whole_numbers(config: Config, name: str, low: int, high: int = 1_000_000) -> tuple[int, ...]:
    """Read a flag that is a list of whole numbers, and sort them.

    Raises:
      InputError: it is none, or a number is out of range.
    """
    text = getattr(config, name)
    try:
        found = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        found = ()
    if not found or found[0] < low or found[-1] > high:
        raise InputError(
            f"--{name}={text} is not allowed; give whole numbers from {low} to {high:,}, "
            "like 4,16,64"
        )
    return found


main = functools.partial(launcher.main, "experiments.hypothesis_class", Config, run)

if __name__ == "__main__":
    main()
