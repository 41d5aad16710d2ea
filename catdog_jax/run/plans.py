"""How the tasks of a run are planned: anew, or as they were when it was begun."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from catdog_jax.population import Execution, Plan, find_machine
from catdog_jax.population.fit import plan_training
from catdog_jax.run import autotune
from catdog_jax.run.task import Task
from catdog_jax.store import RunFolder, manifest
from catdog_jax.types import InputError

MEASURE = "measure"


class Plans(NamedTuple):
    """How the tasks of a run are trained.

    Attributes:
      plans: of each task.
      trials: label of a task -> what was measured to plan it, where anything was.
    """

    plans: list[Plan]
    trials: dict[str, Any]


def new_plans(tasks: Sequence[Task], count: int) -> Plans:
    """Plan the tasks of a new run so that, where no wave is given, each process gets waves.

    Args:
      tasks: of the run.
      count: of processes; the part of one is planned as a run of its own would be.

    Raises:
      InputError: not even one member fits.
    """
    plans, trials = [], {}
    for task in tasks:
        how = task.execution
        members = task.members.count if how.wave else math.ceil(task.members.count / count)
        if how.strategy == MEASURE:
            strategy, conv, trials[task.label] = autotune.fastest(task, members, ruled_plan)
            how = how._replace(strategy=strategy, conv=conv)
        plans.append(ruled_plan(task, members, how))
    return Plans(plans, trials)


def has_plans(place: Path) -> bool:
    """Return whether a run was planned before, without taking its folder."""
    try:
        found = manifest.read(place)
    except (OSError, InputError):  # `RunFolder.open_or_create` says what is wrong
        return False
    return found is not None and "plans" in found


def kept_plans(folder: RunFolder, tasks: Sequence[Task]) -> Plans | None:
    """Take the plans of a run that was begun before, on which its bits depend; None in a new one.

    A task that was added to the run since is planned as of a new one.

    Raises:
      InputError: the devices of now cannot share its waves.
    """
    if "plans" not in folder.manifest:
        return None
    plans = [_repeated(folder, task) for task in tasks]
    return Plans(plans, dict(folder.manifest.get("trials", {})))


def _repeated(folder: RunFolder, task: Task) -> Plan:
    known = folder.manifest["plans"]
    if task.label not in known:
        return ruled_plan(task, task.members.count, task.execution)
    plan = Plan(**known[task.label])
    if plan.num_devices <= jax.local_device_count():
        return plan
    smaller = ruled_plan(task, plan.wave, Execution(plan.strategy, plan.conv, plan.wave))
    if smaller.wave != plan.wave:  # members would be left out, or counted twice
        raise InputError(
            f"run {folder.path.name!r} was begun in waves of {plan.wave} members of {task.label}, "
            f"which {smaller.num_devices} device(s) cannot share evenly; give it as many devices "
            "as before, or choose another --name"
        )
    return smaller


def ruled_plan(task: Task, num_members: int, how: Execution) -> Plan:
    """Plan a task, or so many members of it, on this machine; see `plan_training`."""
    plan, _ = plan_training(
        task.training._replace(members=task.members.rows(0, num_members), how=how),
        find_machine(),
        tell=lambda text: print(f"{task.label}: {text}", flush=True),
    )
    return plan
