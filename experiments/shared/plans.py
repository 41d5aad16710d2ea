"""How the jobs of a run are planned: anew, or as they were when it was begun."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from catdog_jax.population import Plan
from catdog_jax.store import RunFolder, manifest
from catdog_jax.types import InputError
from experiments.shared import jobs as job_module
from experiments.shared.config import TrainConfig
from experiments.shared.jobs import Job
from experiments.shared.trial import trial_of


class Plans(NamedTuple):
    """How the jobs of a run are trained.

    Attributes:
      plans: of each job.
      trials: label of a job -> what was measured to plan it, where anything was.
    """

    plans: list[Plan]
    trials: dict[str, Any]


def new_plans(config: TrainConfig, jobs: Sequence[Job], count: int) -> Plans:
    """Plan the jobs of a new run so that, where --wave is not given, each process gets waves.

    Args:
      config, jobs: the run.
      count: of processes; the part of one is planned as a run of its own would be.

    Raises:
      InputError: not even one member fits.
    """
    if config.wave == 0:
        config = dataclasses.replace(config, num_members=math.ceil(config.num_members / count))
    plans = [job_module.job_plan(config, job, config.strategy, config.wave) for job in jobs]
    return Plans(plans, {job.label: found for job in jobs if (found := trial_of(config, job))})


def has_plans(config: TrainConfig, experiment: str, name: str) -> bool:
    """Return whether a run was planned before, without taking its folder."""
    if config.fresh:
        return False
    try:
        found = manifest.read(Path(config.out_dir).expanduser() / experiment / name)
    except (OSError, InputError):  # `RunFolder.open_or_create` says what is wrong
        return False
    return found is not None and "plans" in found


def kept_plans(folder: RunFolder, config: TrainConfig, jobs: Sequence[Job]) -> Plans | None:
    """Take the plans of a run that was begun before, on which its bits depend; None in a new one.

    Raises:
      InputError: the devices of now cannot share its waves.
    """
    if "plans" not in folder.manifest:
        return None
    plans = [_repeated(folder, config, job) for job in jobs]
    return Plans(plans, dict(folder.manifest.get("trials", {})))


def _repeated(folder: RunFolder, config: TrainConfig, job: Job) -> Plan:
    plan = Plan(**folder.manifest["plans"][job.label])
    if plan.num_devices <= jax.local_device_count():
        return plan
    alone = dataclasses.replace(config, num_members=plan.wave)
    smaller = job_module.ruled_plan(alone, job, plan.strategy, plan.conv, plan.wave)
    if smaller.wave != plan.wave:  # members would be left out, or counted twice
        raise InputError(
            f"run {folder.path.name!r} was begun in waves of {plan.wave} members of {job.label}, "
            f"which {smaller.num_devices} device(s) cannot share evenly; give it as many devices "
            "as before, or choose another --name"
        )
    return smaller
