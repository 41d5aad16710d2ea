"""Many members in one program: keys, plan, compiled program, waves.

The only room that knows about devices.
"""

from catdog_jax.population.compilation import use_compilation_cache
from catdog_jax.population.devices import use_all_cores
from catdog_jax.population.machine import find_machine
from catdog_jax.population.members import Members, Seeds, member_keys, parse_vary, varied
from catdog_jax.population.plan import Execution, Plan, make_plan
from catdog_jax.population.program import Program
from catdog_jax.population.waves import Schedule, Wave, train_population

__all__ = [
    "Execution",
    "Members",
    "Plan",
    "Program",
    "Schedule",
    "Seeds",
    "Wave",
    "find_machine",
    "make_plan",
    "member_keys",
    "parse_vary",
    "train_population",
    "use_all_cores",
    "use_compilation_cache",
    "varied",
]
