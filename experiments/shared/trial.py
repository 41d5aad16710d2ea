"""`--strategy=measure`: tries each way to run a model for a moment and remembers the fastest.

Never done by itself: a run's bits depend on the choice. It is kept in the user's cache folder, one
entry per kind of device, model, shape and library version, and in the manifest of the run.
"""

import dataclasses
import hashlib
import json
import logging
import statistics
import time
from pathlib import Path
from typing import Any

import jax

from catdog_jax.data.cache import cache_dir, processor_digest
from catdog_jax.ops.conv import FORMS
from catdog_jax.population import Plan, Program, member_keys, parse_vary
from catdog_jax.population.devices import member_mesh
from catdog_jax.store.atomic import replacing
from catdog_jax.types import InputError
from experiments.shared import jobs as job_module
from experiments.shared.config import TrainConfig
from experiments.shared.jobs import Job

_log = logging.getLogger(__name__)
STRATEGIES = ("map", "chunk", "vmap")
SECONDS, SAMPLES = 0.5, 3
MEMBERS = {"cpu": 8}  # of a device at a trial, at most
MEMBERS_ELSEWHERE = 64


def measured_plan(config: TrainConfig, job: Job, wave: int) -> Plan:
    """Plan a job in the fastest way, tried now or found in the user's cache.

    Raises:
      InputError: no way fits into the memory.
    """
    facts, file = _facts(config, job), _file(_facts(config, job))
    record = _read(file, facts)
    if record is None:
        rates = _try_all(config, job)
        record = {**facts, "member_steps_per_second": rates}
        try:
            with replacing(file) as out:
                out.write(json.dumps(record, indent=1).encode())
        except OSError as error:
            _log.warning("the trial of %s is not remembered: %s", job.label, error)
    strategy, _, conv = fastest(record["member_steps_per_second"]).partition(" ")
    return job_module.ruled_plan(config, job, strategy, conv, wave)


def trial_of(config: TrainConfig, job: Job) -> dict[str, Any] | None:
    """Give what was measured for a job, for the manifest; None where nothing was."""
    if config.strategy != "measure":
        return None
    return _read(_file(_facts(config, job)), _facts(config, job))


def fastest(rates: dict[str, float]) -> str:
    """Name the way with the highest rate, like 'map direct'."""
    return max(rates, key=lambda way: rates[way])


def _try_all(config: TrainConfig, job: Job) -> dict[str, float]:
    has_conv = any(x.ndim >= 4 for x in jax.tree.leaves(_shapes(job)))
    forms = FORMS if has_conv and config.conv == "auto" else (config.conv,)
    most = MEMBERS.get(jax.default_backend(), MEMBERS_ELSEWHERE) * jax.local_device_count()
    few = dataclasses.replace(config, num_members=min(config.num_members, most))
    rates, problem = {}, None
    for strategy in STRATEGIES:
        for form in forms:
            try:
                plan = job_module.ruled_plan(few, job, strategy, form, 0)
                rate = _rate(config, job, plan)
            except (InputError, jax.errors.JaxRuntimeError) as error:
                problem = error  # too large for the memory: another way may fit
                continue
            rates[f"{strategy} {plan.conv}"] = rate
            print(
                f"trial of {job.label}: {strategy}, convolution {plan.conv}: "
                f"{rate:,.1f} member-steps/s",
                flush=True,
            )
    if not rates:
        line = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise InputError(f"no strategy fits {job.label}: {line}")
    return rates


def _rate(config: TrainConfig, job: Job, plan: Plan) -> float:
    keys = member_keys(job_module.seeds_of(config), 0, plan.wave, parse_vary(config.vary))
    learner = job_module.job_learner(config, job, plan)
    mesh = member_mesh(plan.num_devices, plan.share)
    program = Program(learner, keys, job.dataset.train.data, {}, plan, mesh)
    state = program.init(keys)
    steps, seconds = 1, 0.0
    samples: list[float] = []
    while len(samples) < SAMPLES:
        begin = time.perf_counter()
        state, info = program.segment(state, keys, steps)
        jax.block_until_ready(info)
        seconds, before = time.perf_counter() - begin, seconds
        if before == 0.0:
            continue  # compiled
        if seconds < SECONDS / 2 and not samples:
            steps = max(2 * steps, int(steps * min(SECONDS / seconds, 32)))
            continue
        samples.append(steps * plan.wave / seconds)
    return statistics.median(samples)


def _facts(config: TrainConfig, job: Job) -> dict[str, Any]:
    return {
        "devices": sorted(device.device_kind for device in jax.local_devices()),
        # CPUs are all of the kind 'cpu'.
        "processor": processor_digest() if jax.default_backend() == "cpu" else "",
        "jax": jax.__version__,
        "model": job.entry,
        "input_shape": list(job.dataset.train.inputs.shape[1:]),
        "num_classes": len(job.dataset.class_names),
        "batch_size": job.recipe.batch_size,
        "optimizer": job.recipe.optimizer,
        "precision": config.precision,
        "conv": config.conv,
        "vary": config.vary,
        "num_members": config.num_members,
    }


def _file(facts: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return cache_dir() / "trials" / f"{digest}.json"


def _read(file: Path, facts: dict[str, Any]) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if all(found.get(key) == value for key, value in facts.items()) else None


def _shapes(job: Job) -> Any:
    return jax.eval_shape(job.model.init, jax.eval_shape(lambda: jax.random.key(0)))
