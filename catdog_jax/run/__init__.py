"""Where population and store meet: tasks are trained into a run folder, and read back."""

from catdog_jax.population import Execution
from catdog_jax.run.processes import begin, read_together
from catdog_jax.run.results import Population, Run, open_run
from catdog_jax.run.task import Task
from catdog_jax.run.train import take_run, train_run

__all__ = [
    "Execution",
    "Population",
    "Run",
    "Task",
    "begin",
    "open_run",
    "read_together",
    "take_run",
    "train_run",
]
