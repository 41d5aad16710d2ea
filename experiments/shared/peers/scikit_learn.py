"""Scikit-learn, where it has such a model, one member after another, a batch per `partial_fit`.

Its output for two classes is one number and not two, so its weights are not those of the others,
and its first steps are not checked. Its linear model takes the examples of a batch one by one,
without momentum: more updates than the others make, of less arithmetic.
"""

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

from experiments.shared.peers.reference import NUM_BATCHES, Reference
from experiments.shared.peers.runner import Runner
from experiments.shared.throughput.problem import Problem


def prepare(problem: Problem, reference: Reference) -> Runner:
    """Build the models and flatten ready-made batches to float32 rows."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    models = [_model(problem, seed) for seed in range(problem.members)]
    rows = [np.ascontiguousarray(x.reshape(len(x), -1)) for x in reference.images]
    batches = list(zip(rows, reference.labels, strict=True))

    def run(num_steps: int) -> None:
        for model in models:
            for number in range(num_steps):
                images, labels = batches[number % NUM_BATCHES]
                model.partial_fit(images, labels, classes=(0, 1))

    run(1)
    return Runner(run, len(models))


def _model(problem: Problem, seed: int) -> Any:
    recipe = problem.recipe
    if problem.family == "linear":
        return SGDClassifier(
            loss="log_loss",
            alpha=recipe.weight_decay,
            learning_rate="constant",
            eta0=recipe.learning_rate,
            random_state=seed,
        )
    settings = problem.settings()
    return MLPClassifier(
        hidden_layer_sizes=(settings["width"],) * settings["depth"],
        alpha=0.0,
        batch_size="auto",  # up to 200: the whole of what it is given
        learning_rate_init=recipe.learning_rate,
        random_state=seed,
    )
