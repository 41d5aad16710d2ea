"""Bias and variance of networks of every width, depth and number of training pictures.

Networks are trained from the same starts on several training sets. Expected, after Neal et al.
2018: bias and variance both fall with width. Found on the drawn pictures: bias falls; the variance
between starts falls beyond the width that fits every training picture; the variance between
training sets grows with width, and falls with the number of pictures.

  python -m experiments.bias_variance
  python -m experiments.bias_variance --dataset=cifar10 --data_dir=DIR

The first takes about three minutes on two cores. It ends with a table and the path of the run
folder. Rerun the same command to resume a run.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import xarray as xr

from catdog_jax.analysis.bias_variance import MAIN_PARTS, PARTS, SHOWN_PARTS, decompose, shown_parts
from catdog_jax.analysis.labelled import described
from catdog_jax.registry import Range
from catdog_jax.run import Population, Run, Task
from catdog_jax.run.summary import aligned
from catdog_jax.types import Dataset, InputError, Split
from experiments import _cli, _tasks
from experiments._cli import whole_numbers
from experiments._experiment import Experiment
from experiments._tasks import STEP_MAX, TrainConfig


@dataclass(frozen=True)
class Config(TrainConfig):
    """Settings of bias_variance.

    Attributes:
      models: none can be given: MLPs are trained, see --widths and --depths
      num_members: random starts of each network on each training set
      augment: none, or a list of flip,shift,cutout
      widths: units of each hidden layer, at --depth layers
      depths: hidden layers, of --width units each
      sizes: training examples; empty: an eighth, a quarter, half of --set_size
      width: where depth and size vary
      depth: where width and size vary
      num_sets: training sets
      set_size: examples of each; 0: shared out evenly, 2,500 at most
      data_seed: of the training sets; unset: 0
    """

    num_members: Annotated[int, Range(2)] = 8
    augment: str | None = "none"
    widths: str = "4,16,64,256"
    depths: str = "1,2,3"
    sizes: str = ""
    width: Annotated[int, Range(1)] = 64
    depth: Annotated[int, Range(1, 16)] = 2
    num_sets: Annotated[int, Range(2)] = 4
    set_size: Annotated[int, Range(0)] = 0


class Network(NamedTuple):
    """One network on training sets of one size.

    Attributes:
      width, depth: of the MLP.
      num_examples: in each set.
    """

    width: int
    depth: int
    num_examples: int

    @property
    def model(self) -> str:
        """As `--models` takes it."""
        return f"mlp:width={self.width}:depth={self.depth}"

    @property
    def label(self) -> str:
        """Its name in the results."""
        return f"{self.model}, {self.num_examples} examples"


def networks(
    widths: Sequence[int], depths: Sequence[int], sizes: Sequence[int], middle: Network
) -> list[Network]:
    """List the networks that differ from the middle one in width, in depth, or in size; once each.

    Returns:
      Sorted by size, depth, width.
    """
    found = {middle}
    found |= {middle._replace(width=width) for width in widths}
    found |= {middle._replace(depth=depth) for depth in depths}
    found |= {middle._replace(num_examples=size) for size in sizes}
    return sorted(found, key=lambda n: n[::-1])


def draw_rows(num_examples: int, num_sets: int, size: int, seed: int) -> list[np.ndarray]:
    """Draw the rows of each training set: disjoint sets where there are examples enough.

    Args:
      num_examples: N.
      num_sets: R.
      size: of each set, at most N.
      seed: of the draw.

    Returns:
      R arrays [size]; a smaller set of the same number is the head of a larger one.

    Raises:
      InputError: a size beyond N.
    """
    if size > num_examples:
        raise InputError(
            f"a training set of {size:,} examples is more than the {num_examples:,} there are; "
            "give a smaller --set_size, and smaller --sizes"
        )
    whole = np.random.default_rng(seed).permutation(num_examples)
    if num_sets * size <= num_examples:
        return [whole[r * size : (r + 1) * size] for r in range(num_sets)]
    return [
        np.random.default_rng([seed, r]).permutation(num_examples)[:size] for r in range(num_sets)
    ]


def tasks(config: Config, data: Dataset) -> list[Task]:
    """Make one task for each network and training set, judged at the start and the end only.

    Pictures are normalised by all training pictures alike, so that training sets differ in their
    examples alone.
    """
    if config.models:
        raise InputError(
            f"--models={config.models}: this experiment trains MLPs; give --widths and --depths"
        )
    num_examples = len(data.train.labels)
    set_size = config.set_size or max(2, min(num_examples // config.num_sets, 2500))
    shares = tuple(max(2, set_size // part) for part in (8, 4, 2))
    sizes = whole_numbers("sizes", config.sizes, 2) if config.sizes else shares
    widths = whole_numbers("widths", config.widths, 1)
    middle = Network(config.width, config.depth, set_size)
    grid = networks(widths, whole_numbers("depths", config.depths, 1, 16), sizes, middle)
    most = max(network.num_examples for network in grid)
    rows = draw_rows(num_examples, config.num_sets, most, config.data_seed or 0)
    disjoint = config.num_sets * most <= num_examples
    found, train = [], data.train
    for network, (number, whole) in itertools.product(grid, enumerate(rows)):
        chosen = whole[: network.num_examples]
        ids = tuple(train.ids[row] for row in chosen)
        split = Split(train.inputs[chosen], train.labels[chosen], ids)
        every = config.eval_every or STEP_MAX
        (task,) = _tasks.tasks(
            dataclasses.replace(config, models=network.model, eval_every=every),
            dataclasses.replace(data, train=split),
            tag=f" on set {number} of {network.num_examples}",
        )
        tags = {**network._asdict(), "disjoint": disjoint, "middle": network == middle}
        found.append(dataclasses.replace(task, tags=tags))
    return found


def analyse(populations: Mapping[str, Population], config: Config) -> xr.Dataset:
    """Decompose the error of every network and lay all numbers out along `network`.

    Variables:
      width: units of each hidden layer
      depth: hidden layers
      num_examples: of each training set
      num_parameters: weights of one member
      train_loss: cross-entropy on a fixed part of the training set, final weights [nats]
      train_accuracy: accuracy on a fixed part of the training set, final weights
      test_loss: cross-entropy on all test examples, final weights [nats]
      test_accuracy: accuracy on all test examples, final weights
      diverged_step: step whose loss or gradient was not finite; -1 = never [step]
      logits: of the final weights on the test examples [nats]
      label: class index of the test examples
      decomposition: error and its parts, averaged over the test examples
      error_part: decomposition, the variance of starts and of pairs in one
      main_prediction: zero-one loss and its parts around the main prediction
    """
    del config
    trained = list(populations.values())
    tags = [found.entry["tags"] for found in trained]
    all_sets = [Network(*(one[name] for name in Network._fields)) for one in tags]
    grid, middle = list(dict.fromkeys(all_sets)), all_sets[[x["middle"] for x in tags].index(True)]
    num_sets, data = len(trained) // len(grid), trained[0].data
    labels, num_classes = data.test.labels, len(data.class_names)
    over = ("network", "training_set", "member")

    def stacked(name: str) -> np.ndarray:
        values = np.stack([one.arrays[name] for one in trained])
        return values.reshape(len(grid), num_sets, *values.shape[1:])

    logits, diverged = stacked("test_logits"), stacked("diverged_step")
    found = [decompose(x, labels, num_classes, f) for x, f in zip(logits, diverged, strict=True)]
    parts = np.stack([parts for parts, _ in found])
    curves = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
    sizes = [one.num_params for one in trained[::num_sets]]
    results = xr.Dataset(
        {
            **{name: ("network", [getattr(n, name) for n in grid]) for name in Network._fields},
            "num_parameters": ("network", sizes),
            **{name: (over, stacked(name)[..., -1]) for name in curves},
            "diverged_step": (over, diverged),
            "logits": ((*over, "example", "class"), logits),
            "label": ("example", labels),
            "decomposition": (("network", "loss", "component", "estimate"), parts),
            "error_part": (("network", "loss", "shown_part", "estimate"), shown_parts(parts)),
            "main_prediction": (("network", "main_part"), np.stack([main for _, main in found])),
        },
        {
            "network": np.array([n.label for n in grid], dtype=object),
            "training_set": np.arange(num_sets),
            "loss": np.array(["squared", "zero_one"], dtype=object),
            "component": np.array(PARTS, dtype=object),
            "shown_part": np.array(SHOWN_PARTS, dtype=object),
            "estimate": np.array(["value", "standard error"], dtype=object),
            "main_part": np.array(MAIN_PARTS, dtype=object),
            "class": np.array(data.class_names, dtype=object),
        },
    )
    attrs = {
        "dataset": data.name,
        "disjoint": int(tags[0]["disjoint"]),
        **{f"middle_{name}": value for name, value in middle._asdict().items()},
    }
    return described(results.assign_attrs(attrs), analyse)


FIGURES = {"bias_variance": "bias_variance.bias_variance"}


def table(run: Run) -> str:
    """Write the parts of the error of every network."""
    data = run.data
    errors = itertools.product(("Brier", "0–1"), ("", " bias²", " sets", " starts"))
    head = ["network", "parameters", "train acc", "test acc", *map("".join, errors)]
    rows = [[*head, "main wrong"]]
    for name in map(str, data["network"].values):
        one = data.sel(network=name)
        values, alive = one["error_part"].values[..., 0].ravel(), one["diverged_step"] < 0
        right = (one[f"{kind}_accuracy"].where(alive).mean() for kind in ("train", "test"))
        rows.append(
            [
                name,
                f"{int(one['num_parameters']):,}",
                *(f"{float(x):.3f}" for x in right),
                *(f"{x:.4f}" for x in [*values, float(one["main_prediction"][1])]),
            ]
        )
    lost = int((data["diverged_step"] >= 0).sum())
    note = (
        f"{data.sizes['member']} starts × {data.sizes['training_set']} training sets; Brier: the "
        "squared error of probabilities; 0–1: the share of wrong answers; each is bias² + variance "
        "between sets + variance between starts on a set; main wrong: share of test examples whose "
        "most frequent vote is wrong"
    )
    diverged = [f"{lost} members diverged and left out"] if lost else []
    return "\n".join([*aligned(rows), note, *diverged])


main = Experiment(
    "bias_variance", Config, analyse, FIGURES, table, tasks, "bias", growable=False
).main

if __name__ == "__main__":
    _cli.command(main)
