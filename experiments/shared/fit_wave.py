"""On accelerators, waves as large as their compiled programs allow.

The plan's own estimate counts every array of the formula once, as if nothing were reused; what the
compiler says of the very programs of a run is exact, and usually lets several times as many members
train together. Only shapes and total memory go in, so the same machine gets the same waves.
"""

import math

from catdog_jax.population import Plan
from catdog_jax.population.topology import Machine
from catdog_jax.types import InputError
from experiments.shared import fit_programs as programs
from experiments.shared.config import TrainConfig
from experiments.shared.fit_search import Trial, best, largest_fit
from experiments.shared.jobs import Job


def fitted_plan(config: TrainConfig, job: Job, plan: Plan, machine: Machine) -> Plan:
    """Give a plan the largest waves that fit, all of nearly the same size.

    Args:
      config, job: the training run.
      plan: of the job; its wave is where the search begins.
      machine: the devices of the run.

    Raises:
      InputError: not even one chunk of members fits.
    """

    def compile_at(members: int) -> Trial:
        parts = programs.compile_programs(
            config, job, programs.resized(plan, members), machine, lambda text: print(text)
        )
        return Trial(members, programs.fits(parts, machine), programs.needed(parts))

    places = plan.num_devices // plan.share
    multiple = 1 if plan.strategy == "vmap" else plan.chunk
    wanted = math.ceil(config.num_members / places)
    trials = largest_fit(
        compile_at,
        compile_at(programs.members_per_device(plan)),
        memory=machine.memory,
        most=math.ceil(wanted / multiple) * multiple,
        multiple=multiple,
    )
    found = best(trials)
    if found is None:
        raise InputError(
            f"not even {min(t.members for t in trials)} member(s) of {job.label} fit on a device; "
            "make the model, --batch_size or --image_size smaller"
        )
    num_waves = math.ceil(wanted / found.members)
    members = math.ceil(math.ceil(wanted / num_waves) / multiple) * multiple
    return programs.resized(plan, min(members, found.members))
