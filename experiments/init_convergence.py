"""Does it matter where you start? Every random start of every model, trained side by side.

A population of members that differ in their starting weights alone (or in what --vary names) is
trained in one program; then all of them are compared: in accuracy, in what they answer, in their
weights. Expected: members of the linear model end close together in what they answer, because
their loss has one lowest point; members of a deep model end in other weights every time, at about
the same accuracy, and disagree on the harder pictures.

  python -m experiments.init_convergence
  python -m experiments.init_convergence --dataset=cifar10 --data_dir=DIR --num_members=8

The first takes about two minutes on two cores. It ends with a table and the path of the run
folder: results.nc (every number), manifest.json (settings, versions, times), figures/*.png, and
the weights. The same command again goes on where a run was left, and only prints where it is done.
"""

import functools
from dataclasses import dataclass

from catdog_jax.store import Run
from experiments.shared import figures, launcher, report
from experiments.shared.config import TrainConfig
from experiments.shared.training import raise_if_all_diverged, train_to_folder


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of init_convergence."""


FIGURES = {
    "learning_curves": "training.learning_curves",
    "final_accuracy": "training.final_accuracy",
    "disagreement": "training.disagreement",
    "weight_distance": "training.weight_distance",
    "trajectories": "training.trajectories",
    "first_layer": "first_layers.first_layer",
    "data_sheet": "data_sheet.data_sheet",
}


def run(config: Config) -> Run:
    """Train, draw every figure, print the table."""
    finished, folder = train_to_folder(config, "init_convergence")
    figures.draw(finished.data, folder, FIGURES)
    print(report.table(finished.data, finished.manifest.get("timings", {})))
    print(f"results, weights and figures: {folder}")
    raise_if_all_diverged(finished, folder)
    return finished


main = functools.partial(launcher.main, "experiments.init_convergence", Config, run)

if __name__ == "__main__":
    main()
