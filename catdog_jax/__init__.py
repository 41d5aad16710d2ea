"""Cats, dogs, and every random start in one JAX program."""

from catdog_jax.analysis.findings import findings
from catdog_jax.data import load_dataset
from catdog_jax.models.build import build_model, normaliser
from catdog_jax.optimizers import make_optimizer
from catdog_jax.population import (
    Members,
    Plan,
    Schedule,
    Seeds,
    Wave,
    train_population,
    use_all_cores,
    varied,
)
from catdog_jax.run import Run, Task, open_run, train_run
from catdog_jax.train import Learner, make_learner
from catdog_jax.types import Data, Dataset, InputError, Model, Recipe

__version__ = "0.2.0"
