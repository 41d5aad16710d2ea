"""This engine, as the experiments use it: `make_jobs`, `job_plan`, `job_learner`, `Program`.

Its real optimiser with schedule, its losses, freezing, per-step metrics, the order of the epochs,
the gathering and normalising of batches. Only training steps are timed, no evaluation.
"""

import time

import jax
import numpy as np

from catdog_jax.population import Program, member_keys, use_all_cores
from catdog_jax.population.devices import member_mesh
from catdog_jax.population.plan import tree_bytes
from catdog_jax.population.waves import SEGMENT_SECONDS
from experiments.shared import jobs
from experiments.shared.peers import stock
from experiments.shared.peers.reference import Reference, distance
from experiments.shared.peers.runner import Runner
from experiments.shared.throughput.problem import (
    CHECK_STEPS,
    Problem,
    random_dataset,
    train_config,
)

CALLS_LONGER = 8  # a sample of this engine than one of the others, at most


def prepare(problem: Problem, reference: Reference | None) -> Runner:
    """Build one wave of the engine; members beyond it would be trained in the same way after it."""
    use_all_cores()
    config, dataset = train_config(problem), random_dataset(problem)
    (job,) = jobs.make_jobs(config, dataset, [problem.entry])
    plan = jobs.job_plan(config, job, problem.strategy, 0)
    if problem.conv:
        plan = plan._replace(conv=problem.conv)
    learner = jobs.job_learner(config, job, plan)
    keys = member_keys(jobs.seeds_of(config), 0, plan.wave)
    mesh = member_mesh(plan.num_devices, plan.share)
    program = Program(learner, keys, dataset.train.data, {}, plan, mesh)
    state = program.init(keys)

    def run(num_steps: int) -> np.ndarray:
        nonlocal state
        state, info = program.segment(state, keys, num_steps)
        return np.asarray(info.loss)

    state_bytes = tree_bytes((state.params, state.opt_state))
    begin = time.perf_counter()
    losses = run(CHECK_STEPS)
    first = time.perf_counter() - begin
    members = min(problem.members, plan.wave)
    check = None
    if reference is not None:
        known = [m for m in reference.start if m < members]
        params = jax.tree.map(np.asarray, state.params)
        weights = {m: stock.flat(jax.tree.map(lambda x, m=m: x[m], params)) for m in known}
        reached = {m: (weights[m], float(losses[m])) for m in known}
        check = distance(reference, "scheduled", reached)
    begin = time.perf_counter()
    run(1)
    one = time.perf_counter() - begin

    def timed(num_steps: int) -> None:
        run(num_steps)

    return Runner(
        timed,
        members,
        check=check,
        # A sample is one call to the devices: as long as in a run, where members are moved in and
        # out once per call.
        seconds=min(SEGMENT_SECONDS, CALLS_LONGER * problem.seconds),
        state_bytes=state_bytes,
        compile_seconds=max(first - CHECK_STEPS * one, 0.0),
        facts={"plan": plan._asdict()},
        device_memory=device_memory,
    )


def device_memory() -> int | None:
    """Tell the peak bytes on the busiest accelerator; None on a CPU."""
    peaks = [(d.memory_stats() or {}).get("peak_bytes_in_use") for d in jax.local_devices()]
    known = [peak for peak in peaks if peak is not None]
    return max(known) if known else None
