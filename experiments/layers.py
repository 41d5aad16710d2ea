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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import layer_maps
from catdog_jax.figures import layers as layer_figures
from catdog_jax.store import Run
from experiments.shared import figures, launcher
from experiments.shared.config import TrainConfig, setting
from experiments.shared.figures import chance, command, models, source
from experiments.shared.layer_results import probe_layers
from experiments.shared.report import aligned, number
from experiments.shared.training import prepare, raise_if_all_diverged, train_to_folder

MODELS = "mlp:depth=1,mlp:depth=3,mlp:depth=5,cnn,resnet"
SMALL_MODELS = (
    "mlp:width=64:depth=1,mlp:width=64:depth=3,mlp:width=64:depth=5,"
    "cnn:widths=8-16-32:head=flatten,resnet:widths=8-16-32:stem_stride=2:head=flatten"
)


# The factors of the drawn pictures that are shown; results.nc has all.
GROUPS: Mapping[str, Sequence[str]] = {
    "cues of the class": (
        *("ear_hang", "ear_angle", "ear_length", "muzzle_length", "nose_size"),
        *("nose_pink", "pupil_width", "whisker_length", "head_width", "body_width"),
    ),
    "pose": ("head_x", "head_y", "scale", "tilt", "yaw"),
    "light": ("light_angle (cos)", "light_angle (sin)", "light_strength"),
    "coat and scene": (
        *("fur_hue", "fur_value", "background_value", "background_hue (cos)"),
        *("clutter", "occlusion", "noise"),
    ),
}
MOST_FACTORS = 32  # shown of a data set with factors of its own


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


def class_by_layer(run: Run) -> Figure:
    """Accuracy of linear probes of the class, layer by layer."""
    names = ("probe_accuracy", "head_accuracy", "ridge_accuracy")
    probe, head, ridge = (run.data[name].values for name in names)
    return layer_figures.class_by_layer(probe, head, ridge, chance=chance(run), **_common(run))


def neighbours_by_layer(run: Run) -> Figure:
    """Accuracy of nearest centroid and nearest neighbours, layer by layer."""
    rules = {
        "nearest class average": run.data["centroid_accuracy"].values,
        f"{run.data.attrs['neighbours']} nearest neighbours": run.data["neighbour_accuracy"].values,
    }
    return layer_figures.neighbours_by_layer(rules, chance=chance(run), **_common(run))


def factors_by_layer(run: Run) -> Figure | None:
    """R² of linear probes of the drawing factors; None where nothing is known but the class."""
    data = run.data
    names = [str(name) for name in data["factor"].values]
    if not names:
        return None
    scores, of_label = data["factor_r2"].median("member").values, data["label_r2"].values
    common = _common(run) | {"num_members": data.sizes["member"]}
    return layer_maps.factors_by_layer(scores, of_label, groups(names), names, **common)


def alignment(run: Run) -> Figure:
    """Alignment of layers within a network, between networks, and with the start."""
    note = (
        f"Averages over the first {run.data.sizes['cka_member']} members, or over their pairs, on "
        f"{run.data.attrs['cka_examples']:,} test pictures. "
    )
    return layer_maps.alignment(alignment_maps(run.data["cka"].values), **_common(run, note))


def groups(names: Sequence[str]) -> dict[str, list[int]]:
    """Sort factors into those of the drawn pictures that are shown, or show the first of any."""
    found = {
        title: [names.index(f) for f in group if f in names] for title, group in GROUPS.items()
    }
    found = {title: places for title, places in found.items() if places}
    return found or {"factors": list(range(min(len(names), MOST_FACTORS)))}


def alignment_maps(cka: np.ndarray) -> dict[str, np.ndarray]:
    """Average the alignment of all layers of all members, [P, 2, M, L, 2, M, L], into maps.

    Returns:
      What is compared -> [P, L, L]; nan where there is one member only, and so no pair.
    """
    same = np.eye(cka.shape[2], dtype=bool)

    def mean(when: int, other: int, pairs: np.ndarray) -> np.ndarray:
        chosen = np.moveaxis(cka[:, when, :, :, other], 3, 2)[:, pairs]
        return np.ma.masked_invalid(chosen).mean(axis=1).filled(np.nan)

    # Rows are layers of the first named, columns of the second.
    maps = {}
    for when, word in enumerate(("at the start", "trained")):
        maps[f"one network, {word}"] = mean(when, when, same)
        maps[f"two networks, {word}"] = mean(when, when, ~same)
    maps["one network, start (down) and trained (across)"] = mean(0, 1, same)
    return maps


def table(data: xr.Dataset) -> str:
    """Write what probes read off the input, the last features and the network itself.

    Args:
      data: of `results.nc`.
    """
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


def _common(run: Run, note: str = "") -> dict[str, Any]:
    data, attrs = run.data, run.data.attrs
    note = note or (
        f"{attrs['probe_train_examples']:,} training and {attrs['probe_test_examples']:,} test "
        f"examples; layers of more than {attrs['probe_features']} numbers are mixed down to so "
        "many. "
    )
    rows = zip(data["layer_name"].values, data["num_layers"].values, strict=True)
    return {
        "layers": [[str(name) for name in row[:n]] for row, n in rows],
        "models": models(run),
        "command": command(run),
        "note": note + source(run),
    }


FIGURES: dict[str, Callable[[Run], Figure | None]] = {
    "class_by_layer": class_by_layer,
    "neighbours_by_layer": neighbours_by_layer,
    "factors_by_layer": factors_by_layer,
    "alignment": alignment,
}


def run(config: Config) -> Run:
    """Train, probe every layer, draw, print the table."""
    dataset = prepare(config)
    default = SMALL_MODELS if dataset.name == "procedural" else MODELS
    settings = config.probe_examples, config.probe_features, config.neighbours
    measure = functools.partial(probe_layers, config, dataset, *settings)
    finished, folder = train_to_folder(config, "layers", dataset, default, measure)
    figures.draw(finished, folder, FIGURES)
    print(table(finished.data))
    print(f"results, weights and figures: {folder}")
    raise_if_all_diverged(finished, folder)
    return finished


main = functools.partial(launcher.main, "experiments.layers", Config, run)

if __name__ == "__main__":
    main()
