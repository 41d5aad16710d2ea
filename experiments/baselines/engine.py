"""This engine, as an experiment uses it: its task, plan, learner and compiled program.

So its real optimiser, its losses, diverged members stopped, metrics of every step, the order of the
epochs, the gathering and normalising of batches. Only training steps are timed, no evaluation.
"""

import itertools
import math
from typing import Any

import jax
import numpy as np

from catdog_jax.population import Program, Seeds, member_keys, use_all_cores
from catdog_jax.population.devices import member_mesh
from experiments.baselines.case import Case, Start, Trainer
from experiments.baselines.flax_loop import as_flax
from experiments.shared import jobs, plans


def prepare(case: Case, start: Start) -> Trainer:
    """Build the program and draw the first wave.

    Where members are more than a wave holds, each sample is of another wave, which is drawn before
    it: a run does that once in thousands of steps.
    """
    use_all_cores()
    config, job = case.config(), case.job()
    plan = plans.job_plan(config, job, case.strategy, 0)
    num_waves = math.ceil(case.members / plan.wave)
    waves = itertools.cycle(range(num_waves))
    state: Any = None
    keys = member_keys(Seeds(), 0, plan.wave)
    mesh = member_mesh(plan.num_devices, plan.share)
    learner = jobs.job_learner(config, job, plan)
    program = Program(learner, keys, job.dataset.train.data, {}, plan, mesh)

    def next_wave() -> None:
        nonlocal keys, state
        first = next(waves) * plan.wave
        keys = member_keys(Seeds(), first, first + plan.wave)
        state = None  # as in a run, before the next one is drawn
        state = jax.block_until_ready(program.init(keys))

    def train(num_steps: int) -> np.ndarray:
        nonlocal state
        state, info = program.segment(state, keys, num_steps)
        return np.asarray(info.loss)

    next_wave()
    return Trainer(
        min(case.members, plan.wave),
        train,
        lambda: as_flax(state.params),
        next_wave if num_waves > 1 else lambda: None,
        {"waves": num_waves, "plan": plan._asdict()},
    )
