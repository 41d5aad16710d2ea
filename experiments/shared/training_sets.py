"""Networks trained from the same starts on several training sets: bias and variance of each."""

import dataclasses
from collections.abc import Sequence
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
SHOWN_PARTS = ("error", "bias", "from_sets", "from_starts_on_a_set")


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


def make_jobs(
    config: TrainConfig, dataset: Dataset, grid: Sequence[Network], rows: Sequence[np.ndarray]
) -> list[Job]:
    """Make one job for each network and training set, judged at the start and the end only.

    Args:
      config: the settings.
      dataset: all examples. Pictures are normalised by all training pictures alike, so that
        training sets differ in their examples alone.
      grid: the networks.
      rows: of each training set, at the largest size.
    """
    jobs: list[Job] = []
    train = dataset.train
    for network in grid:
        for number, whole in enumerate(rows):
            chosen = whole[: network.num_examples]
            split = Split(
                train.inputs[chosen], train.labels[chosen], tuple(train.ids[row] for row in chosen)
            )
            part = dataclasses.replace(dataset, train=split)
            tag = f" on set {number} of {network.num_examples}"
            (job,) = job_module.make_jobs(config, part, [network.model], first=len(jobs), tag=tag)
            every = config.eval_every or job.recipe.num_steps
            jobs.append(job._replace(schedule=job.schedule._replace(eval_every=every)))
    return jobs


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
    labels, num_classes = dataset.test.labels, len(dataset.class_names)
    over = ("network", "training_set", "member")

    def stacked(name: str) -> np.ndarray:
        values = np.stack([one.arrays[name] for one in trained])
        return values.reshape(len(grid), num_sets, *values.shape[1:])

    logits, diverged = stacked("test_logits"), stacked("diverged_step")
    found = [decompose(x, labels, num_classes, f) for x, f in zip(logits, diverged, strict=True)]
    parts = np.stack([parts for parts, _ in found])
    curves = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
    sizes = [one.weights.shape[1] for one in trained[::num_sets]]
    return xr.Dataset(
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
            "main_part": np.array(bias_variance.MainPrediction._fields, dtype=object),
            "class": np.array(dataset.class_names, dtype=object),
        },
    )


def shown_parts(decomposition: np.ndarray) -> np.ndarray:
    """Put the variance of starts and of pairs together, what a start changes on a given set.

    Of their sum the standard error is taken as if they were independent.

    Args:
      decomposition: [..., 5, 2], in the order of PARTS: value, standard error.

    Returns:
      [..., 4, 2], in the order of SHOWN_PARTS.
    """
    value, error = np.moveaxis(decomposition[..., 3:, :], -1, 0)
    starts = np.stack([value.sum(axis=-1), np.hypot(error[..., 0], error[..., 1])], axis=-1)
    return np.concatenate([decomposition[..., :3, :], starts[..., None, :]], axis=-2)


def decompose(
    logits: np.ndarray, labels: np.ndarray, num_classes: int, diverged: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Decompose one network's squared (Brier) and zero-one error, averaged over test examples.

    A start that diverged on any set is left out on all.

    Args:
      logits: [R, M, N, K].
      labels: [N].
      num_classes: K.
      diverged: [R, M], -1 = never.

    Returns:
      [loss, part, 2], the parts with jackknife standard errors over sets, and [4], those of
      `MainPrediction`; nan where fewer than two starts are left.
    """
    kept = logits[:, (diverged < 0).all(axis=0)].astype(np.float64)
    if kept.shape[1] < 2:
        return np.full((2, len(PARTS), 2), np.nan), np.full(4, np.nan)
    powers = np.exp(kept - kept.max(-1, keepdims=True))
    probabilities, votes = powers / powers.sum(-1, keepdims=True), kept.argmax(-1)
    targets = np.eye(num_classes)[labels]

    def squared(x: np.ndarray) -> np.ndarray:
        return np.array(bias_variance.squared_decomposition(x, targets).mean())

    def zero_one(x: np.ndarray) -> np.ndarray:
        return np.array(bias_variance.zero_one_decomposition(x, labels, num_classes).mean())

    parts = [
        np.stack([statistic(x), bias_variance.jackknife_error(statistic, x)], axis=-1)
        for statistic, x in ((squared, probabilities), (zero_one, votes))
    ]
    main = bias_variance.main_prediction(votes, labels, num_classes)
    return np.stack(parts), np.mean(main, axis=1)
