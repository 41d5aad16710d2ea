"""What happens to a picture, layer after layer? Probes of every layer, before and after training.

From the features of each layer of each trained network, and of the same network at its random
start, one linear regression reads the class, and on the drawn pictures also how they were drawn:
ears, muzzle, light, pose. Its penalty is chosen on the training pictures, its score is of the test
pictures. Beside it: the nearest class mean and the nearest neighbours in each layer, and how alike
the layers of two networks are. Expected: the class is read better the deeper the layer, by
training and not at the start; what the class does not need, the pose of the head above all, is
thrown away on the way; and the last step needs no gradient descent: a ridge regression on the last
features is as good as the trained head.

On the drawn pictures the first holds for networks of convolutions; of an MLP the first layer
already gives all that the others have, and depth only gathers the classes around their means. The
second does not hold: convolutions make the pose easier to read (the cnn up to its last features,
the resnet half way), and an MLP loses it with depth at its random start already; only the logits
have forgotten it. The third does: the regression is as good to within a point in a hundred, on
convolutions a little better.

  python -m experiments.layers
  python -m experiments.layers --dataset=cifar10 --data_dir=DIR

The first takes about three minutes on two cores. It ends with a table and the path of the run
folder: results.nc (every number), figures/*.png, and the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import xarray as xr

from catdog_jax.analysis.layers import probe_layers
from catdog_jax.registry import Range
from catdog_jax.run import Population, Run, Task
from catdog_jax.run.progress import Progress
from catdog_jax.run.summary import aligned
from catdog_jax.types import Dataset, InputError
from experiments import _cli, _tasks
from experiments._experiment import Experiment
from experiments._results import number, training_results
from experiments._tasks import TrainConfig

MODELS = "mlp:depth=1,mlp:depth=3,mlp:depth=5,cnn,resnet"
SMALL_MODELS = (
    "mlp:width=64:depth=1,mlp:width=64:depth=3,mlp:width=64:depth=5,"
    "cnn:widths=8-16-32:head=flatten,resnet:widths=8-16-32:stem_stride=2:head=flatten"
)


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of layers.

    Attributes:
      models: list as in init_convergence; empty: MLPs of depth 1, 3 and 5, a cnn and a resnet,
        small ones on the embedded pictures
      probe_examples: training examples that probes are fitted on, and test examples, at most
      probe_features: a layer of more numbers is mixed down to so many before it is probed
      neighbours: nearest neighbours that vote in each layer
    """

    num_members: Annotated[int, Range(1)] = 4
    probe_examples: Annotated[int, Range(3)] = 10000
    probe_features: Annotated[int, Range(8, 4096)] = 512
    neighbours: Annotated[int, Range(1)] = 15


def tasks(config: Config, data: Dataset) -> list[Task]:
    """The usual tasks, of small models on the embedded pictures."""
    if min(len(data.train.labels), len(data.test.labels)) < 3:
        raise InputError(
            f"the data set {data.name} has {len(data.train.labels)} training and "
            f"{len(data.test.labels)} test examples; layers are compared on at least 3 of each"
        )
    models = SMALL_MODELS if data.name == "procedural" else MODELS
    return _tasks.tasks(config, data, models=models)


def analyse(populations: Mapping[str, Population], config: Config) -> xr.Dataset:
    """Probe every layer of every member, before and after training."""
    trained = next(iter(populations.values()))
    count = 2 * len(populations) * trained.num_members
    with Progress("probing", count, "networks") as progress:
        probed = probe_layers(
            populations,
            trained.data,
            probe_examples=config.probe_examples,
            probe_features=config.probe_features,
            neighbours=config.neighbours,
            progress=progress.to,
        )
    return training_results(populations).merge(probed, combine_attrs="no_conflicts")


FIGURES = {
    "class_by_layer": "layers.class_by_layer",
    "neighbours_by_layer": "layers.neighbours_by_layer",
    "factors_by_layer": "layers.factors_by_layer",
    "alignment": "layers.alignment",
}


def table(run: Run) -> str:
    """Write what probes read off the input, the last features and the network itself."""
    data = run.data
    shown = [f for f in ("ear_hang", "muzzle_length", "head_x", "tilt") if f in data["factor"]]
    rows = []
    for model in data["model"].values:
        one = data.sel(model=model)
        last = int(one["num_layers"]) - 2
        before, after = one.sel(when="before"), one.sel(when="after")
        cells = {
            "pixels": before["probe_accuracy"][:, 0],
            "ridge, start": before["ridge_accuracy"],
            "ridge, trained": after["ridge_accuracy"],
            "own answer": after["head_accuracy"],
            "same answer": after["ridge_agreement"],
            "centroid": after["centroid_accuracy"][:, last],
            f"{data.attrs['neighbours']}-NN": after["neighbour_accuracy"][:, last],
        }
        written = {name: _median(values) for name, values in cells.items()}
        pixels, features = before["factor_r2"][:, 0], after["factor_r2"][:, last]
        for name in shown:
            both = (_median(values.sel(factor=name)) for values in (pixels, features))
            written[f"{name} R²"] = " → ".join(both)
        rows.append([str(model), *written.values()])
    return "\n".join(
        [
            *aligned([["model", *written], *rows]),
            f"medians of {data.sizes['member']} members. pixels, ridge: test accuracy of ridge "
            "regression on the input and, in the head's place, on the last features; own answer: "
            "of the trained network; same answer: share of test examples on which the two agree; "
            "centroid, NN: on the last features",
            *(["R²: of the factor read off the pixels → off the last features"] if shown else []),
        ]
    )


def _median(values: xr.DataArray) -> str:
    return number(float(values.median()))


main = Experiment("layers", Config, analyse, FIGURES, table, tasks).main

if __name__ == "__main__":
    _cli.command(main)
