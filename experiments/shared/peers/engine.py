"""This engine, as the experiments use it: `make_jobs`, `plans.job_plan`, `job_learner`, `Program`.

Its real optimiser with schedule, its losses, freezing, per-step metrics, the order of the epochs,
the gathering and normalising of batches. Only training steps are timed, no evaluation.
"""

import itertools
import math
import time

import jax
import numpy as np

from catdog_jax.population import Program, member_keys, use_all_cores
from catdog_jax.population.devices import member_mesh
from catdog_jax.population.plan import tree_bytes
from catdog_jax.population.waves import SEGMENT_SECONDS
from experiments.shared import jobs, plans
from experiments.shared.peers import stock
from experiments.shared.peers.reference import Reference, distance
from experiments.shared.peers.runner import Runner, first_steps
from experiments.shared.throughput.problem import Problem, random_dataset, train_config

CALLS_LONGER = 8  # a sample of this engine than one of the others, at most


def prepare(problem: Problem, reference: Reference | None) -> Runner:
    """Build the engine's programs, and start its first wave.

    Where members are more than a wave holds, each sample is of another wave, which is drawn before
    it: timed by itself, because a run does that once in thousands of steps.
    """
    use_all_cores()
    config, dataset = train_config(problem), random_dataset(problem)
    (job,) = jobs.make_jobs(config, dataset, [problem.entry])
    plan = plans.job_plan(config, job, problem.strategy, 0)
    if problem.conv:
        plan = plan._replace(conv=problem.conv)
    learner = jobs.job_learner(config, job, plan)
    waves, number = math.ceil(problem.members / plan.wave), 0
    keys = member_keys(jobs.seeds_of(config), 0, plan.wave)
    mesh = member_mesh(plan.num_devices, plan.share)
    program = Program(learner, keys, dataset.train.data, {}, plan, mesh)
    state = program.init(keys)
    state_bytes = tree_bytes((state.params, state.opt_state))
    members = min(problem.members, plan.wave)

    def next_wave() -> None:
        nonlocal keys, number, state
        number = (number + 1) % waves
        keys = member_keys(jobs.seeds_of(config), number * plan.wave, (number + 1) * plan.wave)
        del state  # as in a run, before the next one is drawn
        state = program.init(keys)
        jax.block_until_ready(state)

    def call(num_steps: int) -> np.ndarray:
        nonlocal state
        state, info = program.segment(state, keys, num_steps)
        return np.asarray(info.loss)

    def compare(losses: np.ndarray) -> dict[str, float] | None:
        if reference is None:
            return None
        known = [m for m in reference.start if m < members]
        params = jax.tree.map(np.asarray, state.params)
        weights = {m: stock.flat(jax.tree.map(lambda x, m=m: x[m], params)) for m in known}
        reached = {m: (weights[m], float(losses[m])) for m in known}
        return distance(reference, "scheduled", reached)

    check, compile_seconds, pace = first_steps(call, compare)

    def run(num_steps: int) -> None:
        nonlocal pace
        begin = time.perf_counter()
        for count in calls(num_steps, pace):
            call(count)
        pace = (time.perf_counter() - begin) / num_steps

    return Runner(
        run,
        members,
        check=check,
        # One call to the devices is as long as in a run, where members are moved in and out once
        # per call.
        seconds=min(SEGMENT_SECONDS, CALLS_LONGER * problem.seconds),
        start=next_wave if waves > 1 else None,
        state_bytes=state_bytes,
        compile_seconds=compile_seconds,
        facts={"plan": plan._asdict(), "waves": waves},
        device_memory=device_memory,
    )


def calls(num_steps: int, pace: float) -> list[int]:
    """Cut the steps of a sample into calls to the devices that last as long as those of a run.

    Args:
      num_steps: to make, >= 1.
      pace: seconds that a step takes, about.

    Returns:
      Steps of each call, as equal as can be.
    """
    count = min(max(1, round(num_steps * pace / SEGMENT_SECONDS)), num_steps)
    ends = [num_steps * index // count for index in range(count + 1)]
    return [end - begin for begin, end in itertools.pairwise(ends)]


def device_memory() -> int | None:
    """Tell the peak bytes on the busiest accelerator; None on a CPU."""
    peaks = [(d.memory_stats() or {}).get("peak_bytes_in_use") for d in jax.local_devices()]
    known = [peak for peak in peaks if peak is not None]
    return max(known) if known else None
