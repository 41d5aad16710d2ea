"""Torch in one process with one thread a core, each with a model of its own, channels last."""

from typing import Any

from catdog_jax.population.devices import num_cores
from experiments.baselines import torch_channels_last
from experiments.baselines.case import Case, Start, Trainer, new_process

_own: dict[str, Trainer] = {}  # in each of the processes


def prepare(case: Case, start: Start) -> Trainer:
    """Start the processes; all of them make the same number of steps at the same time."""
    processes = [new_process() for _ in range(num_cores())]
    for process in processes:
        process.submit(_prepare, case, start).result()

    def train(num_steps: int) -> None:
        for call in [process.submit(_call, "train", num_steps) for process in processes]:
            call.result()

    return Trainer(len(processes), train, lambda: processes[-1].submit(_call, "params").result())


def _prepare(case: Case, start: Start) -> None:
    _own["trainer"] = torch_channels_last.prepare(case, start, threads=1)


def _call(name: str, *arguments: Any) -> Any:
    return getattr(_own["trainer"], name)(*arguments)
