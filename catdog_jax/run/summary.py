"""What a run will do, said before it starts, and what its manifest records about that."""

import contextlib
import itertools
import math
import os
import platform
import shutil
import subprocess
import textwrap
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

TO_COMPILE = 2.5, 0.95  # seconds a model, and each of its arrays of weights; two cores, 4 models
WIDTH = 80  # letters of a line
LONGEST_NAME = 20  # in the first column of a table


def run_summary(
    tasks: Sequence[Task], plans: Sequence[Plan], path: Path, seconds: float, num_processes: int = 1
) -> str:
    """Write what a run is about to do: one line per model, then what it takes.

    Args:
      tasks, plans: the models to train, at least one, and how.
      path: the run folder.
      seconds: that the command takes.
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
    columns = ",".join([*members.streams, *members.settings]) or "nothing"
    return "\n".join(
        [
            f"{members.count} members of each model on {data.name} ({counts}, {form}, "
            f"{' / '.join(data.class_names)}); varied between members: {columns}",
            *aligned(rows),
            *_notes(tasks, plans, num_processes),
            f"on {devices}; memory about {size(memory)}, disk about {size(disk_bytes(tasks))}, "
            f"time about {duration(seconds)}",
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


def expected_seconds(
    tasks: Sequence[Task], plans: Sequence[Plan], num_processes: int
) -> list[float]:
    """Estimate how many seconds each task takes, compilation included.

    The estimate decides no number of a run: what is told, and whether a person is asked for --yes.
    """
    peak = peak_of(jax.local_devices()[0].device_kind)
    speed = peak or estimate.product_speed()
    found = []
    for task, plan in zip(tasks, plans, strict=True):
        training = task.training
        # A CPU's speed is that of a product, with all that lies around one.
        work = estimate.Work(estimate.flops_of(training), 0, 0)
        if peak:
            work = estimate.work_of(training, plan)
        step = estimate.step_seconds(work, plan, training.how.precision, speed)
        seconds = estimate.run_seconds(training, plan, step)
        once, each = TO_COMPILE
        compiling = once + each * len(jax.tree.leaves(task.param_shapes))
        found.append(compiling + seconds / num_processes)
    return found


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
        "commit": _commit(),
        **versions(),
    }


def _commit() -> str:
    """Name the commit of the code, and whether it was changed since; '' outside of a checkout."""
    root = Path(__file__).parents[2]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    with contextlib.suppress(OSError):
        if (root / ".git").exists():
            return subprocess.run(
                command, capture_output=True, text=True, check=False
            ).stdout.strip()
    return ""


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


def aligned(rows: Sequence[Sequence[str]], width: int = WIDTH, keys: int = 1) -> list[str]:
    """Set rows of cells in columns: the first to the left, the others to the right.

    What does not fit the width stands below, behind the columns that name the rows; and long
    names in the first column are cut to what is before their settings and behind their module, with
    a key.

    Args:
      rows: of text, the heading first.
      width: letters of a line.
      keys: how many columns, from the left, name a row.
    """
    cells = [[*map(printable, row)] for row in rows]
    names = [row[0] for row in cells]
    whole = {name: name for name in names if len(name) <= LONGEST_NAME}  # by what is shown
    for row in cells:
        short, others = row[0], itertools.count(2)
        if len(row[0]) > LONGEST_NAME and " " not in row[0]:
            stem = short = row[0].partition(":")[0].rpartition(".")[2][:LONGEST_NAME]
            while whole.setdefault(short, row[0]) != row[0]:
                short = f"{stem}-{next(others)}"
        row[0] = short
    columns = [[*column] for column in zip(*cells, strict=True)]
    widths = [max(map(len, column)) for column in columns]
    set_columns = [
        [cell.rjust(size) if at else cell.ljust(size) for cell in column]
        for at, (column, size) in enumerate(zip(columns, widths, strict=True))
    ]
    lines: list[str] = []
    begin = keys
    while begin < len(widths) or not lines:
        end, room = begin + 1, width - sum(widths[:keys]) - 2 * keys
        while end < len(widths) and sum(widths[begin : end + 1]) + 2 * (end - begin) <= room:
            end += 1
        lines += [""] * bool(lines)
        block = zip(*set_columns[:keys], *set_columns[begin:end], strict=True)
        lines += ["  ".join(row).rstrip() for row in block]
        begin = end
    key = [f"{short}: {name}" for short, name in whole.items() if short != name]
    return lines + [line for text in key for line in folded(text, width)]


def tell(text: str) -> None:
    """Print what was found; lines that are too long for a terminal are broken, paths never."""
    for line in text.split("\n"):
        breaks = len(line) > WIDTH and max(map(len, line.split())) < WIDTH // 2
        print(*(folded(line) if breaks else [line]), sep="\n", flush=True)


def folded(text: str, width: int = WIDTH) -> list[str]:
    """Break text into lines of at most so many letters; a word that is longer stays whole."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
