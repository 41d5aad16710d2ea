"""What a run will do, said before it starts, and what its manifest records about that."""

import math
import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from catdog_jax.population import Plan, estimate
from catdog_jax.population.machine import peak_of
from catdog_jax.registry import printable
from catdog_jax.run.progress import duration
from catdog_jax.run.task import KEEP_BYTES, Task
from catdog_jax.store.manifest import versions
from catdog_jax.types import Dataset, InputError

SECONDS_TO_COMPILE = 4.0  # a model


def run_summary(
    tasks: Sequence[Task], plans: Sequence[Plan], path: Path, num_processes: int = 1
) -> str:
    """Write what a run is about to do: one line per model, then what it takes.

    Args:
      tasks, plans: the models to train, at least one, and how.
      path: the run folder.
      num_processes: how many share the waves.
    """
    head = ["model", "parameters", "steps", "batch", "optimizer", "rate", "decay", "augment"]
    rows = [[*head, "waves", "strategy"]]
    for task, plan in zip(tasks, plans, strict=True):
        numbers = (f"{x:g}" if isinstance(x, float) else x for x in task.recipe[:6])
        cells = (f"{x:,}" if isinstance(x, int) else x for x in (task.num_params, *numbers))
        waves = f"{math.ceil(task.members.count / plan.wave)} × {plan.wave}"
        rows.append([task.label, *cells, waves, plan.strategy])
    data, members = tasks[0].data, tasks[0].members
    counts = f"{len(data.train.labels):,} train, {len(data.test.labels):,} test"
    side = data.train.inputs.shape[1]
    form = {"images": f"{side} × {side} pixels", "tokens": f"up to {side} words"}.get(
        data.kind, f"{side} numbers"
    )
    devices = f"{jax.local_device_count()} {jax.default_backend()} device(s)"
    if num_processes > 1:
        devices = f"{num_processes} processes of {devices} each"
    memory = max(plan.wave * plan.bytes_per_member for plan in plans)
    seconds = training_seconds(tasks, plans) / num_processes
    columns = ",".join([*members.streams, *members.settings]) or "nothing"
    return "\n".join(
        [
            f"{members.count} members of each model on {data.name} ({counts}, {form}, "
            f"{' / '.join(data.class_names)}); varied between members: {columns}",
            *aligned(rows),
            *_notes(tasks, plans, num_processes),
            f"on {devices}; memory about {size(memory)}, disk about {size(disk_bytes(tasks))}, "
            f"time roughly {duration(seconds)}",
            f"run folder: {path}",
        ]
    )


def _notes(tasks: Sequence[Task], plans: Sequence[Plan], num_processes: int) -> list[str]:
    """Say what is likely to surprise."""
    notes = []
    if own := [t.label for t in tasks if t.data.kind == "images" and t.is_own]:
        notes.append(
            f"note: {', '.join(own)} gets pictures as they are, uint8 0..255; a builder with the "
            "keywords mean and std is told those of the training pictures, in 0..1"
        )
    if alike := [task.label for task in tasks if task.alike]:
        columns = ",".join(tasks[0].members.streams)
        notes.append(
            f"note: all members of {', '.join(alike)} will be alike: --vary={columns} has no hold"
        )
    waves = sum(math.ceil(t.members.count / p.wave) for t, p in zip(tasks, plans, strict=True))
    if waves < num_processes:
        notes.append(f"note: {waves} waves for {num_processes} processes: the others only wait")
    return notes


def training_seconds(tasks: Sequence[Task], plans: Sequence[Plan]) -> float:
    """Estimate how long the run takes, compilation included. The estimate decides nothing."""
    peak = peak_of(jax.local_devices()[0].device_kind)
    speed = peak or estimate.product_speed()
    seconds = SECONDS_TO_COMPILE * len(tasks)
    for task, plan in zip(tasks, plans, strict=True):
        training = task.training
        # A CPU's speed is that of a product, with all that lies around one.
        work = estimate.Work(estimate.flops_of(training), 0, 0)
        if peak:
            work = estimate.work_of(training, plan)
        step = estimate.step_seconds(work, plan, training.how.precision, speed)
        seconds += estimate.run_seconds(training, plan, step)
    return seconds


def disk_bytes(tasks: Sequence[Task], keep: str | None = None) -> float:
    """Estimate what a run leaves on the disk, the checkpoints of one wave included.

    Args:
      tasks: of the run.
      keep: see `train_run`.
    """
    total = 0.0
    for task in tasks:
        members = task.members.count
        logits = 4 * len(task.data.test.labels) * len(task.data.class_names)
        sketches = 4 * 1024 * task.schedule.num_evaluations
        total += 2 * members * (logits + sketches) + 4 * members * task.num_params
        total += 3 * 4 * members**2
        if keep != "final" and (keep or task.logits_bytes <= KEEP_BYTES):
            total += task.logits_bytes
    states = (task.members.count * task.state_bytes for task in tasks)
    return total + 2 * max(states, default=0)


def check_disk(
    out_dir: str | os.PathLike[str], tasks: Sequence[Task], keep: str | None = None
) -> None:
    """Check that a run fits on the disk.

    Raises:
      InputError: it needs more than is free.
    """
    folder = Path(out_dir).expanduser().absolute()
    while not os.path.exists(folder):  # unlike Path.exists, also False where it may not look
        folder = folder.parent
    total, _, free = shutil.disk_usage(folder)
    needed = disk_bytes(tasks, keep)
    if needed > free and total > 0:  # a file system without a size says so when it is written to
        raise InputError(
            f"the run needs about {size(needed)} on disk, and {folder} has {size(free)} free; "
            "free some, choose another --out_dir, or fewer --num_members"
        )


def machine_entries() -> dict[str, Any]:
    """Collect where a run is made: system, devices, libraries."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "backend": jax.default_backend(),
        "devices": [d.device_kind for d in jax.local_devices()],
        **versions(),
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


def size(num_bytes: float | int) -> str:
    """Write bytes for a person: '3 MiB', '1.2 GiB'."""
    for unit in ("B", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} GiB"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Set rows of cells in columns: the first to the left, the others to the right."""
    rows = [[*map(printable, row)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]
