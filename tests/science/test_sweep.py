"""Known answers of gradient descent on a quadratic: every rate and decay a member of one program.

Full batches, squared loss, no momentum, a constant rate.
"""

import numpy as np

from catdog_jax import population as pop
from catdog_jax.losses import REGRESSION
from catdog_jax.models.build import build_model
from catdog_jax.optimizers import make_optimizer
from catdog_jax.train import make_learner
from catdog_jax.types import Data

rng = np.random.default_rng(0)
INPUTS = rng.normal(size=(64, 5)).astype(np.float32)
LABELS = (INPUTS @ rng.normal(size=5) + 0.3 + rng.normal(size=64)).astype(np.float32)
COLUMNS = np.column_stack([INPUTS, np.ones(64)]).astype(np.float64)
HESSIAN = 2 / 64 * COLUMNS.T @ COLUMNS
LARGEST = 2 / np.linalg.eigvalsh(HESSIAN)[-1]


def descended(num_steps, **settings):
    """Train a member for each setting from one start; give the wave."""
    count = len(next(iter(settings.values())))
    own = {name: np.array(x) for name, x in settings.items()}
    tx = make_optimizer("sgd:momentum=0", LARGEST / 2, num_steps=num_steps, own=own)
    model, data = build_model("polynomial:degree=1", (5,), 1), Data(INPUTS, LABELS)
    (wave,) = pop.train_population(
        make_learner(model, tx, batch_size=64, objective=REGRESSION),
        data,
        pop.Schedule(num_steps, num_steps),
        members=pop.Members(count, {}, own),
        plan=pop.Plan("vmap", count, count, 1, 0, "direct", 0),
        evaluations={"train": data},
    )
    return wave


def test_the_largest_stable_rate_is_two_over_the_largest_curvature():
    wave = descended(3000, learning_rate=LARGEST * np.array([0.5, 0.98, 1.02, 1.5]))
    lost = wave.diverged_step >= 0
    assert lost.tolist() == [False, False, True, True]
    assert wave.diverged_step[3] < wave.diverged_step[2]
    optimum = np.linalg.lstsq(COLUMNS, LABELS, rcond=None)[1][0] / 64
    np.testing.assert_allclose(wave.history["train_loss"][:2, -1], optimum, rtol=1e-5)


def test_the_optimum_under_decay_is_the_ridge_solution():
    decays = [0.0, 0.1, 1.0, 10.0]
    wave = descended(1000, weight_decay=decays, learning_rate=[LARGEST / 2] * 3 + [0.05])
    weights = np.concatenate([np.asarray(x).reshape(4, -1) for x in wave.params], axis=1)
    for found, decay in zip(weights, decays, strict=True):
        ridge = np.linalg.solve(HESSIAN + decay * np.eye(6), 2 / 64 * COLUMNS.T @ LABELS)
        np.testing.assert_allclose(found, ridge, rtol=1e-3, atol=1e-5)
