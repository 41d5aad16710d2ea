"""Networks trained from the same starts on several training sets: bias and variance of each."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from catdog_jax.analysis import bias_variance
from catdog_jax.types import Dataset, InputError, Split
from experiments.shared import jobs as job_module
from experiments.shared.config import TrainConfig
from experiments.shared.jobs import Job
from experiments.shared.results import Trained

PARTS = ("error", "bias", "from_sets", "from_starts", "from_pairs")
LOSSES = ("squared", "zero_one")


class Network(NamedTuple):
    """One network on training sets of one size.

    Attributes:
      width, depth: of the MLP.
      size: training examples in each set.
    """

    width: int
    depth: int
    size: int

    @property
    def entry(self) -> str:
        """The entry of `--models`."""
        return f"mlp:width={self.width}:depth={self.depth}"

    @property
    def label(self) -> str:
        """Its name in the results."""
        return f"{self.entry}, {self.size} examples"


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
    found |= {middle._replace(size=size) for size in sizes}
    return sorted(found, key=lambda n: (n.size, n.depth, n.width))


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


def as_vectors(dataset: Dataset) -> Dataset:
    """Turn pictures into the numbers a network sees, normalised by all training pictures alike.

    So that training sets differ in their examples alone; pictures that are vectors stay as they
    are.
    """
    if dataset.kind != "images":
        return dataset
    mean, std = job_module.channel_statistics(dataset)
    middle, spread = np.array(mean, np.float32), np.array(std, np.float32)

    def flat(split: Split) -> Split:
        pixels = (split.inputs / np.float32(255) - middle) / spread
        rows = pixels.reshape(len(split.labels), -1).astype(np.float32)
        return dataclasses.replace(split, inputs=rows, factors={})

    return dataclasses.replace(
        dataset, train=flat(dataset.train), valid=flat(dataset.valid), test=flat(dataset.test)
    )


def make_jobs(
    config: TrainConfig, dataset: Dataset, grid: Sequence[Network], rows: Sequence[np.ndarray]
) -> list[Job]:
    """Make one job for each network and training set, judged at the start and the end only.

    Args:
      config: the settings.
      dataset: vectors, all of them.
      grid: the networks.
      rows: of each training set, at the largest size.
    """
    jobs: list[Job] = []
    for network in grid:
        for number, whole in enumerate(rows):
            part = _only(dataset, whole[: network.size])
            tag = f" on set {number} of {network.size}"
            (job,) = job_module.make_jobs(config, part, [network.entry], first=len(jobs), tag=tag)
            every = config.eval_every or job.recipe.num_steps
            jobs.append(job._replace(schedule=job.schedule._replace(eval_every=every)))
    return jobs


def _only(dataset: Dataset, rows: np.ndarray) -> Dataset:
    train = dataset.train
    ids = tuple(train.ids[row] for row in rows)
    part = Split(train.inputs[rows], train.labels[rows], ids)
    return dataclasses.replace(dataset, train=part)


def assemble(
    dataset: Dataset, grid: Sequence[Network], num_sets: int, trained: Sequence[Trained]
) -> xr.Dataset:
    """Decompose the error of every network and lay all numbers out along `network`.

    Args:
      dataset: of the test examples.
      grid: the networks, in the order of the jobs.
      num_sets: R.
      trained: R for each network.
    """
    groups = [trained[i : i + num_sets] for i in range(0, len(trained), num_sets)]
    labels, num_classes = dataset.test.labels, len(dataset.class_names)

    def stacked(name: str) -> np.ndarray:
        return np.stack([np.stack([one.arrays[name] for one in group]) for group in groups])

    logits, diverged = stacked("test_logits"), stacked("diverged_step")
    found = [decompose(x, labels, num_classes, f) for x, f in zip(logits, diverged, strict=True)]
    over = ("network", "training_set", "member")
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "width": (("network",), np.array([n.width for n in grid])),
        "depth": (("network",), np.array([n.depth for n in grid])),
        "num_examples": (("network",), np.array([n.size for n in grid])),
        "num_parameters": (
            ("network",),
            np.array([group[0].weights.shape[1] for group in groups]),
        ),
        "train_loss": (over, stacked("train_loss")[..., -1]),
        "train_accuracy": (over, stacked("train_accuracy")[..., -1]),
        "test_loss": (over, stacked("test_loss")[..., -1]),
        "test_accuracy": (over, stacked("test_accuracy")[..., -1]),
        "diverged_step": (over, diverged),
        "logits": ((*over, "example", "class"), logits),
        "label": (("example",), labels),
    }
    for name in found[0]:
        dims = ("network", "loss", "component", "estimate")[: found[0][name].ndim + 1]
        dims = ("network", "main_part") if name == "main_prediction" else dims
        variables[name] = (dims, np.stack([one[name] for one in found]))
    return xr.Dataset(
        variables,
        {
            "network": np.array([n.label for n in grid], dtype=object),
            "training_set": np.arange(num_sets),
            "loss": np.array(LOSSES, dtype=object),
            "component": np.array(PARTS, dtype=object),
            "estimate": np.array(["value", "standard error"], dtype=object),
            "main_part": np.array(bias_variance.MainPrediction._fields, dtype=object),
            "class": np.array(dataset.class_names, dtype=object),
        },
    )


def decompose(
    logits: np.ndarray, labels: np.ndarray, num_classes: int, diverged: np.ndarray
) -> Mapping[str, np.ndarray]:
    """Decompose one network's squared (Brier) and zero-one error, averaged over test examples.

    A start that diverged on any set is left out on all.

    Args:
      logits: [R, M, N, K].
      labels: [N].
      num_classes: K.
      diverged: [R, M], -1 = never.

    Returns:
      'decomposition' [loss, part, 2] with jackknife standard errors over sets, and
      'main_prediction' [4]; nan where fewer than two starts are left.
    """
    kept = logits[:, (diverged < 0).all(axis=0)].astype(np.float64)
    values = np.full((len(LOSSES), len(PARTS), 2), np.nan)
    main = np.full(len(bias_variance.MainPrediction._fields), np.nan)
    if kept.shape[1] < 2:
        return {"decomposition": values, "main_prediction": main}
    powers = np.exp(kept - kept.max(-1, keepdims=True))
    probabilities, votes = powers / powers.sum(-1, keepdims=True), kept.argmax(-1)
    targets = np.eye(num_classes)[labels]

    def squared(x: np.ndarray) -> np.ndarray:
        return np.array(bias_variance.squared_decomposition(x, targets).mean())

    def zero_one(x: np.ndarray) -> np.ndarray:
        return np.array(bias_variance.zero_one_decomposition(x, labels, num_classes).mean())

    for index, (statistic, members) in enumerate([(squared, probabilities), (zero_one, votes)]):
        values[index, :, 0] = statistic(members)
        values[index, :, 1] = bias_variance.jackknife_error(statistic, members)
    parts = bias_variance.main_prediction(votes, labels, num_classes)
    main[:] = [part.mean() for part in parts]
    return {"decomposition": values, "main_prediction": main}
