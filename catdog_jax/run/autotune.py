"""`--strategy=measure`: tries each way to run a model for a moment and takes the fastest.

Never done by itself: a run's bits depend on the choice, which its manifest keeps.
"""

import contextlib
import itertools
import time
from collections.abc import Callable
from typing import Any

import jax

from catdog_jax import interrupt
from catdog_jax.host import processor_digest
from catdog_jax.ops.conv import FOR_MAP, FORMS
from catdog_jax.population import Execution, Plan, Program, member_keys
from catdog_jax.population.devices import member_mesh
from catdog_jax.run.task import Task
from catdog_jax.types import InputError

SECONDS = 0.5  # of the call that is timed, at least


def fastest(
    task: Task, num_members: int, plan_of: Callable[[Task, int, Execution], Plan]
) -> tuple[str, str, dict[str, Any]]:
    """Find the fastest way to train a task by trying.

    Args:
      task: what is to be trained.
      num_members: of it.
      plan_of: (task, members, how) -> plan.

    Returns:
      (strategy, form of the convolution, all that was measured).
    """
    how = task.execution
    wave = min(num_members, 16 * jax.local_device_count())
    ranks = {x.ndim for x in jax.tree.leaves(task.param_shapes)}
    forms = FORMS if how.conv == "auto" and max(ranks) >= 4 else (how.conv,)
    rates = {f"auto {how.conv}": 0.0}  # the written rule, where nothing else fits
    for strategy, form in itertools.product(("map", "chunk", "vmap"), forms):
        interrupt.check()
        if strategy != "map" and form in FOR_MAP:
            continue
        with contextlib.suppress(InputError, jax.errors.JaxRuntimeError):  # too large
            plan = plan_of(task, num_members, Execution(strategy, form, wave))
            rates[f"{strategy} {plan.conv}"] = rate = member_steps_per_second(task, plan)
            print(f"{task.label}: {strategy}, {plan.conv}: {rate:,.1f} member-steps/s")
    strategy, conv = max(rates, key=rates.__getitem__).split()
    return strategy, conv, {"processor": processor_digest(), "member_steps_per_second": rates}


def member_steps_per_second(task: Task, plan: Plan) -> float:
    """Train a wave in ever longer calls, and return the rate of the last one."""
    keys = member_keys(task.seeds, task.members.rows(0, plan.wave))
    mesh = member_mesh(plan.num_devices, plan.share)
    program = Program(task.learner(plan), keys, task.data.train.data, {}, plan, mesh)
    state, _ = program.segment(program.init(keys), keys, 1)  # compiles
    steps, seconds = 1, 0.0
    while seconds < SECONDS:
        steps *= 2
        begin = time.perf_counter()
        state, _ = jax.block_until_ready(program.segment(state, keys, steps))
        seconds = time.perf_counter() - begin
    return steps * plan.wave / seconds
