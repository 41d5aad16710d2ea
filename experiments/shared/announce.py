"""What a run will do, said before it starts, and what its manifest records about that."""

import dataclasses
import importlib.metadata
import math
import os
import platform
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from catdog_jax.population import Plan, parse_vary
from catdog_jax.population.flops import step_flops
from catdog_jax.types import Dataset, InputError
from experiments.shared import jobs as job_module
from experiments.shared.config import TrainConfig
from experiments.shared.jobs import TRAIN_EVAL_EXAMPLES, Job
from experiments.shared.progress import duration
from experiments.shared.report import aligned, size

EFFICIENCY = {"map": 0.5, "chunk": 0.4, "vmap": 0.3}  # of a matrix product's speed, typical on CPU
SECONDS_TO_COMPILE = 4.0
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "xarray")


def announcement(
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
        recipe = job.recipe
        waves = f"{math.ceil(config.num_members / plan.wave)} × {plan.wave}"
        rows.append(
            [
                job.label,
                f"{job.num_params:,}",
                f"{recipe.num_steps:,}",
                str(recipe.batch_size),
                recipe.optimizer,
                f"{recipe.learning_rate:g}",
                f"{recipe.weight_decay:g}",
                recipe.augment,
                waves,
                plan.strategy,
            ]
        )
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
            *_twins(config, jobs),
            *_idle(config, plans, num_processes),
            f"on {devices}; memory about {size(memory)}, disk about "
            f"{size(disk_bytes(config, jobs))}, time roughly {duration(seconds)}",
            f"run folder: {path}",
        ]
    )


def _idle(config: TrainConfig, plans: Sequence[Plan], num_processes: int) -> list[str]:
    """Say where there are fewer waves than processes."""
    waves = sum(math.ceil(config.num_members / plan.wave) for plan in plans)
    if waves >= num_processes:
        return []
    return [f"note: {waves} waves for {num_processes} processes: the others only wait"]


def _twins(config: TrainConfig, jobs: Sequence[Job]) -> list[str]:
    """Name the models whose members cannot differ, because nothing varied touches them."""
    twins = []
    for job in jobs:
        moves = {
            "init": True,
            "order": job.recipe.batch_size < len(job.dataset.train.labels),
            "augment": job.recipe.augment != "none",
        }
        if not any(moves[stream] for stream in parse_vary(config.vary)):
            twins.append(job.label)
    if not twins or config.num_members == 1:
        return []
    return [
        f"note: all members of {', '.join(twins)} will be alike: --vary={config.vary} has no hold"
    ]


def training_seconds(config: TrainConfig, jobs: Sequence[Job], plans: Sequence[Plan]) -> float:
    """Guess how long the run takes: its floating-point operations over a matrix product's speed.

    The guess decides nothing. Evaluations count a third of a step per example, compilation a few
    seconds per model.
    """
    speed = product_speed()
    seconds = 0.0
    for job, plan in zip(jobs, plans, strict=True):
        per_step = work_of_step(config, job)
        train, test = job.dataset.train, job.dataset.test
        judged = min(len(train.labels), TRAIN_EVAL_EXAMPLES) + len(test.labels)
        steps = job.recipe.num_steps + job.schedule.num_evaluations * judged / (
            3 * job.recipe.batch_size
        )
        members = plan.wave * math.ceil(config.num_members / plan.wave)
        seconds += SECONDS_TO_COMPILE
        seconds += steps * members * per_step / (EFFICIENCY[plan.strategy] * speed)
    return seconds


def work_of_step(config: TrainConfig, job: Job) -> int:
    """Count the floating-point operations of one member's step, from its formula."""
    model = job_module.job_learner(config, job, Plan("vmap", 1, 1, 1, 0, "lax", 0)).model
    params = jax.eval_shape(model.init, jax.eval_shape(lambda: jax.random.key(0)))
    examples = job.dataset.train.inputs
    shape = (job.recipe.batch_size, *examples.shape[1:])
    kind = np.float32 if job.dataset.kind == "images" else examples.dtype
    return step_flops(model.apply, params, jax.ShapeDtypeStruct(shape, kind))


def product_speed() -> float:
    """Measure a float32 matrix product on all devices, in operations a second (a rough figure)."""
    side = 1024
    devices = jax.local_devices()
    products = [jax.device_put(np.ones((side, side), np.float32), d) for d in devices]
    multiply = jax.jit(lambda x: x @ x)
    jax.block_until_ready([multiply(x) for x in products])
    begin = time.perf_counter()
    jax.block_until_ready([multiply(x) for x in products for _ in range(3)])
    return 3 * len(devices) * 2 * side**3 / (time.perf_counter() - begin)


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
    """Refuse a run that cannot fit on the disk.

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


def manifest_facts(
    config: TrainConfig,
    experiment: str,
    dataset: Dataset,
    jobs: Sequence[Job],
    plans: Sequence[Plan],
) -> dict[str, Any]:
    """Collect what a manifest records beside the recipe: how to read the run, where it was made."""
    return {
        "command": command_line(config, experiment),
        "parts": [{"model": job.label, "entry": job.entry, "part": job.part} for job in jobs],
        "plans": {job.label: plan._asdict() for job, plan in zip(jobs, plans, strict=True)},
        "inputs": input_facts(dataset),
        "data": dict(dataset.provenance),
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "backend": jax.default_backend(),
            "devices": [d.device_kind for d in jax.local_devices()],
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
    }


def input_facts(dataset: Dataset) -> dict[str, Any]:
    """Collect what is needed to give a run's models other inputs than its own."""
    facts: dict[str, Any] = {
        "kind": dataset.kind,
        "shape": list(dataset.train.inputs.shape[1:]),
        "class_names": list(dataset.class_names),
    }
    if dataset.kind == "images":
        mean, std = job_module.channel_statistics(dataset)
        facts |= {"mean": list(mean), "std": list(std)}
    if dataset.vocabulary:
        facts["vocabulary"] = list(dataset.vocabulary)
    return facts
