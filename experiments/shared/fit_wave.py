"""On accelerators, waves as large as their compiled programs allow.

The plan's own estimate counts every array of the formula once, as if nothing were reused; what the
compiler says of the very programs of a run is exact, and usually lets several times as many members
train together. Only shapes and total memory go in, so the same machine gets the same waves, and
`fit_check` finds them without the machine.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from catdog_jax.population import Plan
from catdog_jax.population.topology import Machine
from catdog_jax.types import InputError
from experiments.shared import fit_programs as programs
from experiments.shared.config import TrainConfig
from experiments.shared.fit_programs import Part
from experiments.shared.fit_search import Trial, best, largest_fit
from experiments.shared.jobs import Job


class Search(NamedTuple):
    """What was compiled to find the largest wave.

    Attributes:
      trials: in the order they were made.
      parts: members on each device -> the programs of a wave of them.
    """

    trials: list[Trial]
    parts: dict[int, list[Part]]


def search_waves(
    config: TrainConfig,
    job: Job,
    plan: Plan,
    machine: Machine,
    tell: Callable[[str], None],
    settle: bool = False,
) -> Search:
    """Compile a job's programs in waves of several sizes, to see how large they may be.

    Args:
      config, job: the training run.
      plan: of the job, see `rule_for`; its wave is where the search begins.
      machine: the devices of the run.
      tell: called with a line before each compilation.
      settle: whether to end as soon as the number of waves is known; see `largest_fit`.
    """
    compiled: dict[int, list[Part]] = {}

    def compile_at(members: int) -> Trial:
        sized = programs.resized(plan, members)
        parts = programs.compile_programs(config, job, sized, machine, tell)
        compiled[members] = parts
        return Trial(members, programs.fits(parts, machine), programs.needed(parts))

    trials = largest_fit(
        compile_at,
        compile_at(programs.members_per_device(plan)),
        memory=programs.usable(machine),
        most=_wanted(config, plan),
        multiple=_multiple(plan),
        settle=settle,
    )
    return Search(trials, compiled)


def fitted(config: TrainConfig, job: Job, plan: Plan, trials: list[Trial]) -> Plan:
    """Give a plan the fewest waves that fit, all of nearly the same size.

    Args:
      config, job, plan: those of the search.
      trials: of the search, settled or not.

    Raises:
      InputError: nothing that was tried fits.
    """
    found = best(trials)
    if found is None:
        raise InputError(
            f"not even {min(t.members for t in trials)} member(s) of {job.label} fit on a device; "
            "make the model, --batch_size or --image_size smaller"
        )
    wanted, multiple = _wanted(config, plan), _multiple(plan)
    num_waves = math.ceil(wanted / found.members)
    members = math.ceil(math.ceil(wanted / num_waves) / multiple) * multiple
    return programs.resized(plan, min(members, found.members))


def fitted_plan(config: TrainConfig, job: Job, plan: Plan, machine: Machine) -> Plan:
    """Give a plan the waves of a run on an accelerator: `search_waves`, then `fitted`.

    Raises:
      InputError: not even one chunk of members fits.
    """
    found = search_waves(config, job, plan, machine, lambda text: print(text), settle=True)
    return fitted(config, job, plan, found.trials)


def _multiple(plan: Plan) -> int:
    """Tell what number of members on each device the strategy wants a multiple of."""
    return 1 if plan.strategy == "vmap" else plan.chunk


def _wanted(config: TrainConfig, plan: Plan) -> int:
    """Count the members on each device where all train at once."""
    members = math.ceil(config.num_members / (plan.num_devices // plan.share))
    return math.ceil(members / _multiple(plan)) * _multiple(plan)
