"""What competitors are asked to train and hand back, and the process that each has of its own."""

import importlib
import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from catdog_jax.data import load_dataset
from catdog_jax.models.build import recipe_for
from catdog_jax.population import varied
from catdog_jax.population.waves import SEGMENT_SECONDS
from catdog_jax.run import Execution, Task
from catdog_jax.types import Dataset, Recipe, Split

SHAPE = 32, 32, 3
DATASET = "experiments.baselines.case.noise"
NUM_BATCHES = 8  # that the baselines have at hand, ready-made
CHECK_STEPS = 3
TOLERANCE = {"float32": 0.02, "tf32": 0.2, "bfloat16": 0.5}  # relative, after these steps


class Case(NamedTuple):
    """One model and so many members of it, the same for all competitors.

    Attributes:
      model: as typed in --models.
      members: how many train.
      precision, strategy: of this engine, as in an experiment.
    """

    model: str
    members: int
    precision: str = "float32"
    strategy: str = "auto"

    @property
    def title(self) -> str:
        """For a person."""
        return f"{self.model} × {self.members:,}"

    @property
    def has_conv(self) -> bool:
        """Whether the model convolves."""
        return self.model.startswith(("cnn", "resnet"))

    @property
    def recipe(self) -> Recipe:
        """What the model proposes for CIFAR-10, as all competitors can do it.

        The rate is constant and no picture is changed.
        """
        plain: dict[str, Any] = {"augment": "none", "schedule": "constant"}
        batch_size = 64 if self.has_conv else 128
        return recipe_for(self.model, "cifar10")._replace(batch_size=batch_size, **plain)

    def task(self) -> Task:
        """Make the main job's task of this case."""
        return Task(
            label=self.model,
            model=self.model,
            recipe=self.recipe,
            data=load_dataset(DATASET),
            members=varied(self.members),
            execution=Execution(strategy=self.strategy, precision=self.precision),
        )

    def flags(self, num_steps: int) -> list[str]:
        """Write the flags with which the main job trains this case for so many steps."""
        recipe = self.recipe._asdict() | {"num_steps": num_steps, "augment": "none"}
        given = ("num_steps", "batch_size", "optimizer", "learning_rate", "weight_decay", "augment")
        return [
            f"--dataset={DATASET}",
            f"--models={self.model}",
            f"--num_members={self.members}",
            f"--precision={self.precision}",
            f"--strategy={self.strategy}",
            "--schedule=constant",
            *(f"--{name}={recipe[name]}" for name in given),
        ]


def noise() -> Dataset:
    """Draw a data set of noise, its labels too: 10,000 training and 2,000 test pictures."""
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        inputs = rng.integers(0, 256, (count, *SHAPE), np.uint8)
        labels = rng.integers(0, 2, count).astype(np.int32)
        return Split(inputs, labels, tuple(map(str, range(count))))

    parts = split(10_000), split(0), split(2_000)
    constants = {"mean": (0.5,) * 3, "std": (0.29,) * 3}  # those of uniform noise
    return Dataset("noise", *parts, ("cat", "dog"), {"source": "noise"}, constants=constants)


class Start(NamedTuple):
    """Where all competitors begin, and where their first steps should lead.

    Attributes:
      backend, devices: of JAX, and the kind of each of its devices.
      flops: operations of one member's step.
      images: [S, B, H, W, C] float32, normalised, the batches of the engine's first steps.
      labels: [S, B] int32.
      params: nested dicts of numpy arrays, a few members in front.
      end: likewise, after CHECK_STEPS steps of stock Flax.
    """

    backend: str
    devices: list[str]
    flops: int
    images: np.ndarray
    labels: np.ndarray
    params: Any
    end: Any = None

    def copies(self, count: int) -> Any:
        """Give weights to so many members: those there are, over and over."""
        return jax.tree.map(lambda x: x[np.arange(count) % len(x)], self.params)

    def distance(self, params: Any) -> float:
        """Compare weights after CHECK_STEPS steps with those of stock Flax.

        Returns:
          The largest difference over members (L2 over all weights), relative to what the steps
          added to them. inf where anything is not finite.
        """
        count = min(len(jax.tree.leaves(x)[0]) for x in (params, self.end))

        def apart(a: Any, b: Any) -> Any:
            squares = jax.tree.map(lambda x, y: (x[:count] - y[:count]) ** 2, a, b)
            return np.sqrt(sum(x.reshape(count, -1).sum(1) for x in jax.tree.leaves(squares)))

        ratios = apart(params, self.end) / apart(self.end, self.params)
        return float(np.nan_to_num(ratios, nan=np.inf).max())


class Trainer(NamedTuple):
    """A competitor that is ready to train.

    Attributes:
      members: how many it trains.
      train: trains all members for so many steps and waits for the end.
      params: () -> their weights now as in `Start`; None where they are not to be compared.
      info: more to record, a dict ready for JSON.
    """

    members: int
    train: Callable[[int], None]
    params: Callable[[], Any] = lambda: None
    info: Any = ()


def loop(step: Callable[..., Any], batches: Any, wait: Any = jax.block_until_ready) -> Any:
    """Make `Trainer.train` of a step (images, labels); `wait` gets what the last one returns."""

    def train(num_steps: int) -> None:
        for batch in itertools.islice(itertools.cycle(batches), num_steps):
            done = step(*batch)
        wait(done)

    return train


def new_process() -> ProcessPoolExecutor:
    """Make a process, so that threads, devices and memory of competitors never mix."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _alone)


def _alone() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends this one without a word
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several share a GPU


_own: dict[str, Any] = {}  # in the process of a competitor, that one


def prepare(name: str, case: Case, start: Start | None, seconds: float) -> dict[str, Any]:
    """Build a competitor in its process, check its first steps, and size its samples.

    Args:
      name: of its file in this folder.
      case: what it trains.
      start: where it begins; None for this engine, unchecked.
      seconds: that a sample lasts, about. This engine's last longer: a call to the devices is as
        long as in a run, where members are moved in and out once per call.

    Returns:
      'measured', how many members it trains, and what else it tells of itself.

    Raises:
      RuntimeError: its first steps are not those of stock Flax.
    """
    trainer: Trainer = importlib.import_module(f"experiments.baselines.{name}").prepare(case, start)
    trainer.train(CHECK_STEPS)
    params = trainer.params()
    if start is not None and params is not None:
        apart = start.distance(params)
        if apart > TOLERANCE[case.precision]:
            raise RuntimeError(f"its first steps are {apart:.2g} away from stock Flax's, relative")
    if name == "engine":
        seconds = max(seconds, min(SEGMENT_SECONDS, 8 * seconds))
    _own.update(trainer=trainer, steps=calibrated(trainer, seconds))
    return {"measured": trainer.members, **dict(trainer.info)}


def calibrated(trainer: Trainer, seconds: float) -> int:
    """Find how many steps last about so long; the search is the warm-up."""
    steps, took = 0, seconds / 10
    while took < seconds / 4:
        steps = 1 + int(steps * min(seconds / took, 10))
        took = timed(trainer, steps)
    return max(1, round(steps * seconds / took))


def timed(trainer: Trainer, steps: int) -> float:
    """Train for some steps; return the seconds they took."""
    begin = time.perf_counter()
    trainer.train(steps)
    return time.perf_counter() - begin


def sample() -> float:
    """Train the competitor of this process once more; return member-steps a second."""
    trainer, steps = _own["trainer"], _own["steps"]
    return float(steps * trainer.members / timed(trainer, steps))
