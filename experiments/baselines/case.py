"""What competitors are asked to train and hand back, and the process that each has of its own.

The main job is one of them, as a command of its own: how soon it begins to train, and how long all
of it takes beside training steps alone.
"""

import importlib
import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from catdog_jax.data import load_dataset
from catdog_jax.models.build import recipe_for
from catdog_jax.population.waves import SEGMENT_SECONDS
from catdog_jax.run import Task
from catdog_jax.types import Dataset, Recipe, Split
from experiments import _tasks

SHAPE = 32, 32, 3
DATASET = "experiments.baselines.case.noise"
NUM_BATCHES = 8  # that the baselines have at hand, ready-made
CHECK_STEPS = 3
TOLERANCE = {"float32": 0.02, "tf32": 0.2, "bfloat16": 0.5}  # relative, after these steps
CACHES = ("XDG_CACHE_HOME", "CATDOG_CACHE_DIR", "MPLCONFIGDIR")
# In which the main job is started -> folder of compiled programs. 'first': nothing is kept, so the
# pictures of the embedded data set are drawn as well; 'cold': those are kept in the user's cache,
# but no compiled program; 'warm': compiled programs are kept, too.
STATES = {"first": "kept", "cold": "none", "warm": "kept"}


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
        batch_size, proposed = 64 if self.has_conv else 128, recipe_for(self.model, "cifar10")
        return proposed._replace(batch_size=batch_size, augment="none", schedule="constant")

    @property
    def settings(self) -> dict[str, Any]:
        """What the main job is to be told, besides a number of steps, to train this case."""
        names = ("batch_size", "optimizer", "learning_rate", "weight_decay", "augment", "schedule")
        return {
            "dataset": DATASET,
            "models": self.model,
            "num_members": self.members,
            "precision": self.precision,
            "strategy": self.strategy,
            **{name: getattr(self.recipe, name) for name in names},
        }

    def task(self) -> Task:
        """Make the main job's task of this case."""
        (task,) = _tasks.tasks(_tasks.TrainConfig(**self.settings), load_dataset(DATASET))
        return task


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
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several share a GPU
    spawn = multiprocessing.get_context("spawn")
    # Ctrl-C ends this one without a word.
    return ProcessPoolExecutor(1, spawn, signal.signal, (signal.SIGINT, signal.SIG_DFL))


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


def main_job(settings: dict[str, Any], out_dir: Path, caches: Path) -> dict[str, float]:
    """Run the main job of one model in a process of its own.

    Args:
      settings: of the job.
      out_dir: where its run folder is made.
      caches: where it finds and keeps what a user's cache folders hold.

    Returns:
      Its latest times, see `Checkpointer`; and Unix time in seconds of when it 'began'.

    Raises:
      RuntimeError: it failed.
    """
    settings = {**settings, "out_dir": out_dir, "name": "run", "coordinator": "none"}
    flags = (f"--{name}={value}" for name, value in settings.items())
    command = [sys.executable, "-m", "experiments.init_convergence", *flags]
    environment = {**os.environ, **{name: str(caches / name) for name in CACHES}}
    began = time.time()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise RuntimeError(f"the main job ended with status {done.returncode}: {last}")
    manifest = json.loads((out_dir / "init_convergence" / "run" / "manifest.json").read_bytes())
    (timings,) = manifest["timings"].values()
    return {"began": began, **timings["latest"]}


def starts(case: Case, rounds: int, folder: Path) -> dict[str, list[float]]:
    """Measure how soon the main job begins to train, in each state in turns.

    From just before the process of `python -m experiments.init_convergence` is started to when its
    first training call, of one step, is back: imports, data, plan, starting weights, compilation,
    the first evaluation, the step. Python's bytecode and what the system keeps of files in memory
    are there in all states.

    Args:
      case: its model, members, precision and strategy.
      rounds: starts in each state.
      folder: where run folders and caches are made, and removed.

    Returns:
      State -> seconds to the first step, one per round.
    """
    names = ("models", "num_members", "precision", "strategy")
    settings = {name: case.settings[name] for name in names}
    settings |= {"num_steps": 2, "eval_every": 2}  # the first call makes one, as in a long job
    found: dict[str, list[float]] = {state: [] for state in STATES}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            base = Path(scratch)
            for state, programs in STATES.items():
                settings["compile_cache"] = base / programs
                times = main_job(settings, base / state, base / "user")
                found[state].append(times["first_step"] - times["began"])
    return found


def job(case: Case, rounds: int, seconds: float, each: float, out_dir: Path) -> dict[str, Any]:
    """Measure the whole main job after its first step, and samples of the engine alone before.

    Its end is when the last wave is on the disk: training, evaluations, checkpoints, whatever waits
    in between.

    Args:
      case: what it trains.
      rounds: samples of the engine.
      seconds: that its training should last, about.
      each: seconds of a sample of the engine.
      out_dir: where its run folder is made, and stays.

    Returns:
      'steps' after the first call, of all waves; 'job_seconds' that they and all between took;
      'engine_seconds' that the engine takes for them; and their 'ratio': by the quartiles of the
      engine's rates lower, median, upper.
    """
    with new_process() as process:
        info = process.submit(prepare, "engine", case, None, each).result()
        measured = [process.submit(sample).result() for _ in range(rounds)]
    rates = np.percentile(measured, [25, 50, 75]) / info["measured"]  # steps of a whole wave
    steps = max(20, round(seconds * rates[1] / info["waves"]))
    settings = {**case.settings, "num_steps": steps, "compile_cache": "none"}
    times = main_job(settings, out_dir, out_dir / "caches")
    took, done = times["kept"] - times["first_step"], times["steps"]
    return {
        "steps": done,
        "job_seconds": took,
        "engine_seconds": float(done / rates[1]),
        "ratio": [float(took * rate / done) for rate in rates],
    }
