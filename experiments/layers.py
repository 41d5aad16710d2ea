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
  python -m experiments.layers --dataset=cifar10 --data_dir=DIR --models=cnn,resnet

The first takes about three minutes on two cores. It ends with a table and the path of the run
folder: results.nc (every number), figures/*.png, and the weights.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from catdog_jax.store import Run
from experiments.shared import figures, launcher, layer_figures
from experiments.shared.config import TrainConfig, setting
from experiments.shared.layer_results import probe_layers
from experiments.shared.training import prepare, refuse_all_lost, train_to_folder

MODELS = "mlp:depth=1,mlp:depth=3,mlp:depth=5,cnn,resnet"
SMALL_MODELS = (
    "mlp:width=64:depth=1,mlp:width=64:depth=3,mlp:width=64:depth=5,"
    "cnn:widths=8-16-32:head=flatten,resnet:widths=8-16-32:stem_stride=2:head=flatten"
)


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of layers."""

    num_members: int = setting(4, "random starts of each model", low=1)
    models: str = setting(
        "",
        "list as in init_convergence; empty: MLPs of depth 1, 3 and 5, a cnn and a resnet, small "
        "ones on the embedded pictures",
    )
    probe_examples: int = setting(
        10000, "training examples that probes are fitted on, and test examples, at most", low=3
    )
    probe_features: int = setting(
        512,
        "a layer of more numbers is mixed down to so many before it is probed",
        low=8,
        high=4096,
    )
    neighbours: int = setting(15, "nearest neighbours that vote in each layer", low=1)


FIGURES: dict[str, Callable[[Run], Figure | None]] = {
    "class_by_layer": layer_figures.class_by_layer,
    "neighbours_by_layer": layer_figures.neighbours_by_layer,
    "factors_by_layer": layer_figures.factors_by_layer,
    "alignment": layer_figures.alignment,
}


def run(config: Config) -> Run:
    """Train, probe every layer, draw, print the table."""
    dataset = prepare(config)
    models = SMALL_MODELS if dataset.name == "procedural" else MODELS
    measure = functools.partial(
        probe_layers,
        config,
        dataset,
        probe_examples=config.probe_examples,
        probe_features=config.probe_features,
        neighbours=config.neighbours,
    )
    finished, folder = train_to_folder(config, "layers", dataset, models, measure)
    figures.draw(finished, folder, FIGURES)
    print(layer_figures.table(finished.data))
    print(f"results, weights and figures: {folder}")
    refuse_all_lost(finished, folder)
    return finished


main = functools.partial(launcher.main, "experiments.layers", Config, run)

if __name__ == "__main__":
    main()
