"""What a run will do, said before it starts, and what its manifest records about that."""

import dataclasses
import importlib.metadata
import math
import os
import platform
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from catdog_jax.models.build import MODEL
from catdog_jax.population import Plan, parse_vary
from catdog_jax.population.estimate import (
    Work,
    equivalent_steps,
    product_speed,
    run_seconds,
    step_seconds,
)
from catdog_jax.population.fit import flops_of, work_of
from catdog_jax.population.machine import peak_of
from catdog_jax.types import Dataset, InputError
from experiments.shared import jobs as job_module
from experiments.shared.config import TrainConfig
from experiments.shared.jobs import Job
from experiments.shared.plans import training_of
from experiments.shared.progress import duration
from experiments.shared.report import aligned, size

SECONDS_TO_COMPILE = 4.0  # a model
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "xarray")


def run_summary(
    config: TrainConfig,
    dataset: Dataset,
    jobs: Sequence[Job],
    plans: Sequence[Plan],
    path: Path,
    num_processes: int = 1,
) -> str:
    """Write what a run is about to do: one line per model, then what it takes.

    Args:
      config: the settings.
      dataset: the run's.
      jobs, plans: the models to train, and how.
      path: the run folder.
      num_processes: how many share the waves.
    """
    head = ["model", "parameters", "steps", "batch", "optimizer", "rate", "decay", "augment"]
    rows = [[*head, "waves", "strategy"]]
    for job, plan in zip(jobs, plans, strict=True):
        numbers = (f"{x:g}" if isinstance(x, float) else x for x in job.recipe)
        cells = (f"{x:,}" if isinstance(x, int) else x for x in (job.num_params, *numbers))
        waves = f"{math.ceil(config.num_members / plan.wave)} × {plan.wave}"
        rows.append([job.label, *cells, waves, plan.strategy])
    counts = f"{len(dataset.train.labels):,} train, {len(dataset.test.labels):,} test"
    side = dataset.train.inputs.shape[1]
    form = {"images": f"{side} × {side} pixels", "tokens": f"up to {side} words"}.get(
        dataset.kind, f"{side} numbers"
    )
    devices = f"{jax.local_device_count()} {jax.default_backend()} device(s)"
    if num_processes > 1:
        devices = f"{num_processes} processes of {devices} each"
    memory = max((plan.wave * plan.bytes_per_member for plan in plans), default=0)
    seconds = training_seconds(config, jobs, plans) / num_processes
    return "\n".join(
        [
            f"{config.num_members} members of each model on {dataset.name} ({counts}, "
            f"{form}, {' / '.join(dataset.class_names)}); "
            f"varied between members: {config.vary}",
            *aligned(rows),
            *_own(jobs),
            *_twins(config, jobs),
            *_idle(config, plans, num_processes),
            f"on {devices}; memory about {size(memory)}, disk about "
            f"{size(disk_bytes(config, jobs))}, time roughly {duration(seconds)}",
            f"run folder: {path}",
        ]
    )


def _own(jobs: Sequence[Job]) -> list[str]:
    """Say what a model of a person's own is given."""
    own = [job.label for job in jobs if MODEL.is_own(job.entry) and job.dataset.kind == "images"]
    if not own:
        return []
    return [
        f"note: {', '.join(own)} gets pictures as they are, uint8 0..255; a builder with the "
        "keywords mean and std is told those of the training pictures, in 0..1"
    ]


def _idle(config: TrainConfig, plans: Sequence[Plan], num_processes: int) -> list[str]:
    """Say where there are fewer waves than processes."""
    waves = sum(math.ceil(config.num_members / plan.wave) for plan in plans)
    if waves >= num_processes:
        return []
    return [f"note: {waves} waves for {num_processes} processes: the others only wait"]


def _twins(config: TrainConfig, jobs: Sequence[Job]) -> list[str]:
    """Name the models whose members cannot differ, because nothing varied touches them."""
    streams = parse_vary(config.vary)
    twins = [
        job.label
        for job in jobs
        if "init" not in streams
        and not ("order" in streams and job.recipe.batch_size < len(job.dataset.train.labels))
        and not ("augment" in streams and job.recipe.augment != "none")
    ]
    if not twins or config.num_members == 1:
        return []
    return [
        f"note: all members of {', '.join(twins)} will be alike: --vary={config.vary} has no hold"
    ]


def training_seconds(config: TrainConfig, jobs: Sequence[Job], plans: Sequence[Plan]) -> float:
    """Estimate how long the run takes, compilation included. The estimate decides nothing."""
    peak = peak_of(jax.local_devices()[0].device_kind)
    speed = peak or product_speed()
    seconds = SECONDS_TO_COMPILE * len(jobs)
    for job, plan in zip(jobs, plans, strict=True):
        training = training_of(config, job)
        work = work_of(training, plan) if peak else Work(flops_of(training), 0, 0)
        judged = sum(len(data.labels) for data in training.evaluations.values())
        steps = equivalent_steps(job.schedule, judged, job.recipe.batch_size)
        step = step_seconds(work, plan, config.precision, speed)
        seconds += run_seconds(plan, config.num_members, steps, step)
    return seconds


def disk_bytes(config: TrainConfig, jobs: Sequence[Job]) -> float:
    """Estimate what a run leaves on the disk, the checkpoints of one wave included."""
    members = config.num_members
    total = 0.0
    for job in jobs:
        logits = 4 * len(job.dataset.test.labels) * len(job.dataset.class_names)
        sketches = 4 * 1024 * job.schedule.num_evaluations
        total += 2 * members * (logits + sketches) + 4 * members * job.num_params
        total += 3 * 4 * members**2
    states = (members * job_module.state_bytes(config, job) for job in jobs)
    return total + 2 * max(states, default=0)


def check_disk(config: TrainConfig, jobs: Sequence[Job]) -> None:
    """Check that a run fits on the disk.

    Raises:
      InputError: it needs more than is free.
    """
    folder = Path(config.out_dir).expanduser().absolute()
    while not os.path.exists(folder):  # unlike Path.exists, also False where it may not look
        folder = folder.parent
    total, _, free = shutil.disk_usage(folder)
    needed = disk_bytes(config, jobs)
    if needed > free and total > 0:  # a file system without a size says so when it is written to
        raise InputError(
            f"the run needs about {size(needed)} on disk, and {folder} has {size(free)} free; "
            "free some, choose another --out_dir, or fewer --num_members"
        )


def command_line(config: Any, experiment: str) -> str:
    """Write the command that makes the run: every setting that is not a default.

    Where things lie on this machine is left out, but for a mark that a folder is needed.
    """
    words = []
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if item.name == "data_dir" and value is not None:
            words.append("--data_dir=DIR")
        elif not item.metadata["operational"] and value != item.default:
            words.append(shlex.quote(f"--{item.name}={value}"))
    return " ".join(["python", "-m", f"experiments.{experiment}", *words])


def manifest_entries(
    config: TrainConfig,
    experiment: str,
    dataset: Dataset,
    jobs: Sequence[Job],
    plans: Sequence[Plan],
) -> dict[str, Any]:
    """Collect what a manifest records beside the recipe: how to read the run, where it was made."""
    return {
        "command": command_line(config, experiment),
        "parts": [{"model": job.label, "entry": job.entry, "part": job.folder} for job in jobs],
        "plans": {job.label: plan._asdict() for job, plan in zip(jobs, plans, strict=True)},
        "inputs": input_entries(dataset),
        "data": dict(dataset.provenance),
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "backend": jax.default_backend(),
            "devices": [d.device_kind for d in jax.local_devices()],
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
    }


def input_entries(dataset: Dataset) -> dict[str, Any]:
    """Collect what is needed to give a run's models other inputs than its own."""
    entries: dict[str, Any] = {
        "kind": dataset.kind,
        "shape": list(dataset.train.inputs.shape[1:]),
        "class_names": list(dataset.class_names),
    }
    if dataset.kind == "images":
        entries |= {name: list(dataset.constants[name]) for name in ("mean", "std")}
    if dataset.vocabulary:
        entries["vocabulary"] = list(dataset.vocabulary)
    return entries
