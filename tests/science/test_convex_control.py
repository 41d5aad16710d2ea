"""Does it matter where you start? For a convex loss no, for a deep formula yes.

Logistic regression with the L2 penalty 0.05/2 |w|^2 on all weights, full batch, from random starts
ten times larger than the solution: all members must meet in the one minimum, which scikit-learn
finds by another road. The same training of an MLP ends somewhere else from every start.
"""

import jax
import numpy as np
from sklearn.linear_model import LogisticRegression

from catdog_jax import population as pop
from catdog_jax.analysis import distance
from catdog_jax.data.procedural import load
from catdog_jax.models.build import build_model
from catdog_jax.optimizers import make_optimizer
from catdog_jax.train import make_learner
from catdog_jax.types import Data

PENALTY = 0.05
MEMBERS = 8


def pixels(split) -> Data:
    return Data((split.inputs / 127.5 - 1).astype(np.float32), split.labels)


def trained(entry, rate, num_steps):
    """Train eight members full batch on 256 drawings of 8 x 8 pixels; give the wave and data."""
    dataset = load(image_size=8, num_train=256, num_valid=1, num_test=200)
    train, test = pixels(dataset.train), pixels(dataset.test)
    learner = make_learner(
        build_model(entry, (8, 8, 3), 2),
        make_optimizer(
            "sgd:momentum=0.9:nesterov=true", rate, num_steps=num_steps, weight_decay=PENALTY
        ),
        batch_size=256,
    )
    plan = pop.Plan("vmap", MEMBERS // 4, MEMBERS, 4, 0, "patches", 0)
    (wave,) = pop.train_population(
        learner,
        train,
        pop.Schedule(num_steps, num_steps),
        members=pop.varied(MEMBERS, ("init", "order")),
        plan=plan,
        evaluations={"test": test},
    )
    return wave, train, test


def relative_distances(params):
    return distance.weight_distances(distance.flatten_members(params))[1]


def contested(logits):
    """Examples on which the members do not all predict the same class."""
    return np.flatnonzero(np.ptp(logits.argmax(-1), axis=0))


def test_all_starts_of_a_convex_loss_meet_where_scikit_learn_does():
    wave, train, _ = trained("linear:gain=10", 0.02, 3000)
    assert relative_distances(wave.params).max() < 1e-3
    logits = wave.logits["test"]
    ties = np.flatnonzero((np.abs(logits[..., 1] - logits[..., 0]) <= 1e-3).any(axis=0))
    assert set(contested(logits)) <= set(ties)
    assert len(ties) <= 2

    # Two columns w0, w1 with PENALTY/2 (|w0|^2 + |w1|^2) have w1 = -w0 at the minimum, so that
    # w = w1 - w0 carries PENALTY/4 |w|^2. scikit-learn leaves the intercept free, so it is given
    # as a feature of ones.
    reference = LogisticRegression(
        C=2 / (PENALTY * len(train.labels)), fit_intercept=False, tol=1e-10, max_iter=10_000
    )
    flat = train.inputs.reshape(len(train.labels), -1).astype(np.float64)
    reference.fit(np.column_stack([flat, np.ones(len(flat))]), train.labels)
    weights, bias = (np.asarray(x, np.float64) for x in jax.tree.leaves(wave.params))
    weights, bias = (weights, bias) if weights.ndim == 3 else (bias, weights)
    ours = np.column_stack([weights[..., 1] - weights[..., 0], bias[..., 1] - bias[..., 0]])
    error = np.linalg.norm(ours - reference.coef_, axis=1) / np.linalg.norm(reference.coef_)
    assert error.max() < 1e-3


def test_deep_members_do_not_meet():
    wave, _, _ = trained("mlp:width=32:depth=2", 0.02, 600)
    distances = relative_distances(wave.params)
    apart = distances[np.triu_indices(MEMBERS, 1)]
    assert apart.min() > 0.1
    assert len(contested(wave.logits["test"])) > 0
