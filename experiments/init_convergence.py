"""Does it matter where you start? Every random start of every model, trained side by side.

A population of members that differ in their starting weights alone (or in what --vary names) is
trained in one program; then all of them are compared: in accuracy, in what they answer, in their
weights. Expected: members of the linear model end close together in what they answer, because
their loss has one lowest point; members of a deep model end in other weights every time, at about
the same accuracy, and disagree on the harder pictures.

  python -m experiments.init_convergence
  python -m experiments.init_convergence --dataset=cifar10 --data_dir=DIR

The first takes about two minutes on two cores, the second three quarters of an hour. It ends with a
table and the path of the run folder: results.nc (every number), manifest.json (settings, versions,
times), figures/*.png, and the weights. Rerun the same command to resume a run; where it is done, it
only prints.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from catdog_jax.run import Population
from experiments import _cli
from experiments._cli import Operational
from experiments._experiment import Experiment
from experiments._results import table, training_results
from experiments._tasks import TrainConfig

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of init_convergence.

    Attributes:
      data_sheets: draw a sheet of test pictures for each model, not only for the best
    """

    data_sheets: Operational[bool] = False


def analyse(populations: Mapping[str, Population], config: Config) -> "xr.Dataset":
    """Compare all members: in accuracy, in what they answer, in their weights."""
    del config
    return training_results(populations)


FIGURES = {
    "learning_curves": "training.learning_curves",
    "final_accuracy": "training.final_accuracy",
    "disagreement": "training.disagreement",
    "weight_distance": "training.weight_distance",
    "trajectories": "training.trajectories",
    "first_layer": "pictures.first_layer",
    "data_sheet": "pictures.data_sheet",
    "twins": "pictures.twins",
}


EXPERIMENT = Experiment(
    "init_convergence",
    Config,
    analyse,
    FIGURES,
    table,
    following=("agreement", "attribution"),
    seconds=12.0,  # it draws every start again
)


def init_convergence(config: Config) -> None:
    """Do it, with the figures that are asked for."""
    sheets = {"data_sheet_{model}": "pictures.data_sheet"} if config.data_sheets else {}
    dataclasses.replace(EXPERIMENT, figures=FIGURES | sheets)(config)


def main(argv: Sequence[str]) -> int:
    """Run on command-line arguments; return the exit status."""
    return _cli.run(argv, Config, init_convergence)


if __name__ == "__main__":
    _cli.command(main)
