"""Torch in one process with one thread a core, each with a model of its own, channels last."""

import multiprocessing
import signal
from typing import Any

from catdog_jax.population.devices import num_cores
from experiments.baselines import torch_channels_last
from experiments.baselines.case import Case, Start, Trainer

_own: dict[str, Trainer] = {}  # in each of the processes


def prepare(case: Case, start: Start) -> Trainer:
    """Start the processes; all of them make the same number of steps at the same time."""
    spawn, quiet = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_DFL)
    # Pools, which end with the process that made them: executors would be waited for, for ever.
    processes = [spawn.Pool(1, signal.signal, quiet) for _ in range(num_cores())]
    for process in processes:
        process.apply(_prepare, (case, start))

    def train(num_steps: int) -> None:
        for call in [process.apply_async(_call, ("train", num_steps)) for process in processes]:
            call.get()

    return Trainer(len(processes), train, lambda: processes[-1].apply(_call, ("params",)))


def _prepare(case: Case, start: Start) -> None:
    _own["trainer"] = torch_channels_last.prepare(case, start, threads=1)


def _call(name: str, *arguments: Any) -> Any:
    return getattr(_own["trainer"], name)(*arguments)
