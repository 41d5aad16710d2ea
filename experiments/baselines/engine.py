"""This engine, as an experiment uses it: its task, plan, learner and compiled program.

So its real optimiser, its losses, diverged members stopped, metrics of every step, the order of the
epochs, the gathering and normalising of batches. Only training steps are timed, no evaluation. Of
members beyond one wave, the first wave trains: the others would be the same program.
"""

import math

import jax

from catdog_jax.population import Program, Seeds, member_keys, use_all_cores, varied
from catdog_jax.population.devices import member_mesh
from experiments.baselines.case import Case, Start, Trainer
from experiments.baselines.flax_loop import as_flax
from experiments.shared import jobs, plans


def prepare(case: Case, start: Start) -> Trainer:
    """Build the program and draw the first wave."""
    use_all_cores()
    config, job = case.config(), case.job()
    plan = plans.job_plan(config, job, case.strategy, 0)
    keys = member_keys(Seeds(), varied(plan.wave))
    mesh = member_mesh(plan.num_devices, plan.share)
    learner = jobs.job_learner(config, job, plan)
    program = Program(learner, keys, job.dataset.train.data, {}, plan, mesh)
    state = program.init(keys)

    def train(num_steps: int) -> None:
        nonlocal state
        state, info = program.segment(state, keys, num_steps)
        jax.block_until_ready(info.loss)

    info = {"waves": math.ceil(case.members / plan.wave), "plan": plan._asdict()}
    return Trainer(min(case.members, plan.wave), train, lambda: as_flax(state.params), info)
