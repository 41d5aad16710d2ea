"""How the jobs of a run are planned: anew, or as they were when it was begun."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from catdog_jax.analysis.sketch import sketch
from catdog_jax.optimizers import NUMBERWISE
from catdog_jax.population import Plan
from catdog_jax.population.fit import Training, plan_training
from catdog_jax.population.machine import LOCAL, find_machine
from catdog_jax.registry import parse_entry
from catdog_jax.store import RunFolder, manifest
from catdog_jax.types import Data, InputError
from experiments.shared import autotune
from experiments.shared import jobs as job_module
from experiments.shared.config import TrainConfig
from experiments.shared.jobs import MEASURE, TRAIN_EVAL_EXAMPLES, Job


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
    plans = [job_plan(config, job, config.strategy, config.wave) for job in jobs]
    trials = {job.label: autotune.recall(config, job)[1] for job in jobs}
    return Plans(plans, trials if config.strategy == MEASURE else {})


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
    smaller = ruled_plan(alone, job, plan.strategy, plan.conv, plan.wave)
    if smaller.wave != plan.wave:  # members would be left out, or counted twice
        raise InputError(
            f"run {folder.path.name!r} was begun in waves of {plan.wave} members of {job.label}, "
            f"which {smaller.num_devices} device(s) cannot share evenly; give it as many devices "
            "as before, or choose another --name"
        )
    return smaller


def job_plan(config: TrainConfig, job: Job, strategy: str, wave: int) -> Plan:
    """Plan one job on this machine, by the written rule or in the fastest way.

    Args:
      config: the settings.
      job: of `make_jobs`.
      strategy: one of STRATEGIES, or 'measure'.
      wave: members that train together, 0 for as many as fit.

    Raises:
      InputError: not even one member fits.
    """
    if strategy != MEASURE:
        return ruled_plan(config, job, strategy, config.conv, wave)
    strategy, conv = autotune.fastest(config, job, ruled_plan)
    return ruled_plan(config, job, strategy, conv, wave)


def ruled_plan(config: TrainConfig, job: Job, strategy: str, conv: str, wave: int) -> Plan:
    """Plan one job on this machine by the written rule; see `plan_training`."""
    plan, _ = plan_training(
        training_of(config, job),
        find_machine(LOCAL),
        strategy=strategy,
        conv=conv,
        wave=wave,
        transpose=may_transpose(job),
        tell=lambda text: print(f"{job.label}: {text}", flush=True),
    )
    return plan


def may_transpose(job: Job) -> bool:
    """Return whether a job's optimiser treats a matrix and its transpose alike."""
    return parse_entry(job.recipe.optimizer)[0] in NUMBERWISE


def training_of(config: TrainConfig, job: Job) -> Training:
    """Describe what a job trains by shapes alone, to plan it and to compile its programs."""
    train, test = job.dataset.train, job.dataset.test
    judged = min(len(train.labels), TRAIN_EVAL_EXAMPLES)
    logits = 4 * len(job.dataset.class_names) * (len(test.labels) + TRAIN_EVAL_EXAMPLES)
    judged_part = Data(train.inputs[:judged], train.labels[:judged])
    return Training(
        model=job.model,
        stock=job_module.formula(job.entry, job.dataset, "lax"),
        learner=lambda plan: job_module.job_learner(config, job, plan),
        batch_size=job.recipe.batch_size,
        train=_shapes(train.data),
        evaluations={"train": _shapes(judged_part), "test": _shapes(test.data)},
        members=job_module.members_of(config),
        fixed_bytes=train.inputs.nbytes + test.inputs.nbytes + logits,
        observe=sketch,
    )


def _shapes(data: Data) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), data)
