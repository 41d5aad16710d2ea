"""`--strategy=measure`: tries each way to run a model for a moment and remembers the fastest.

Never done by itself: a run's bits depend on the choice. It is kept in the user's cache folder, one
file per kind of device, model, shape and library version, and in the manifest of the run.
"""

import contextlib
import hashlib
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from catdog_jax.data.cache import cache_dir, processor_digest
from catdog_jax.ops.conv import FORMS
from catdog_jax.population import Plan, Program, member_keys
from catdog_jax.population.devices import member_mesh
from catdog_jax.store.atomic import replacing
from catdog_jax.types import InputError
from experiments.shared import jobs as job_module
from experiments.shared.config import TrainConfig
from experiments.shared.jobs import Job

SECONDS = 0.5  # of the call that is timed, at least


def fastest(config: TrainConfig, job: Job, plan_of: Callable[..., Plan]) -> list[str]:
    """Find the fastest way to train a job, by trying or in the user's cache.

    Args:
      config, job: what is to be trained.
      plan_of: (config, job, strategy, form of the convolution, wave) -> plan.

    Returns:
      [strategy, form of the convolution].
    """
    file, record = recall(config, job)
    if "member_steps_per_second" not in record:
        wave = min(config.num_members, 16 * jax.local_device_count())
        ranks = {x.ndim for x in jax.tree.leaves(jax.eval_shape(job.model.init, jax.random.key(0)))}
        forms = FORMS if config.conv == "auto" and max(ranks) >= 4 else (config.conv,)
        # The written rule, where nothing else fits.
        rates = record["member_steps_per_second"] = {f"auto {config.conv}": 0.0}
        for strategy, form in itertools.product(("map", "chunk", "vmap"), forms):
            with contextlib.suppress(InputError, jax.errors.JaxRuntimeError):  # too large
                plan = plan_of(config, job, strategy, form, wave)
                rates[f"{strategy} {plan.conv}"] = rate = member_steps_per_second(config, job, plan)
                print(f"{job.label}: {strategy}, {plan.conv}: {rate:,.1f} member-steps/s")
        with contextlib.suppress(OSError), replacing(file) as out:
            out.write(json.dumps(record, indent=1).encode())
    rates = record["member_steps_per_second"]
    return max(rates, key=rates.__getitem__).split()


def recall(config: TrainConfig, job: Job) -> tuple[Path, dict[str, Any]]:
    """Return what was measured for a job, and the file that holds it.

    Returns:
      (path, record); where nothing was measured, the record is what a measurement is of.
    """
    record: dict[str, Any] = {
        "devices": [device.device_kind for device in jax.local_devices()],
        "processor": processor_digest(),  # CPUs are all of the kind 'cpu'
        "jax": jax.__version__,
        "model": [job.entry, job.recipe.batch_size, job.recipe.optimizer],
        "shapes": [*job.dataset.train.inputs.shape[1:], len(job.dataset.class_names)],
        "settings": [config.precision, config.conv, config.vary, config.num_members],
    }
    name = hashlib.sha256(json.dumps(record).encode()).hexdigest()[:16]
    file = cache_dir() / "autotune" / f"{name}.json"
    return file, json.loads(file.read_bytes()) if file.exists() else record


def member_steps_per_second(config: TrainConfig, job: Job, plan: Plan) -> float:
    """Train a wave in ever longer calls, and return the rate of the last one."""
    keys = member_keys(
        job_module.seeds_of(config), job_module.members_of(config).rows(0, plan.wave)
    )
    learner = job_module.job_learner(config, job, plan)
    mesh = member_mesh(plan.num_devices, plan.share)
    program = Program(learner, keys, job.dataset.train.data, {}, plan, mesh)
    state, _ = program.segment(program.init(keys), keys, 1)  # compiles
    steps, seconds = 1, 0.0
    while seconds < SECONDS:
        steps *= 2
        begin = time.perf_counter()
        state, _ = jax.block_until_ready(program.segment(state, keys, steps))
        seconds = time.perf_counter() - begin
    return steps * plan.wave / seconds
