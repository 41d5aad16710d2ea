"""Scikit-learn, where it has such a model, one member after another, a batch per `partial_fit`.

Its output for two classes is one number and not two, so its weights are not those of the others,
and its first steps are not checked. Its linear model takes the examples of a batch one by one,
without momentum: more updates than the others make, of less arithmetic.
"""

import functools
import warnings

from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier

from experiments.baselines.case import Case, Start, Trainer, loop
from experiments.baselines.flax_loop import network


def prepare(case: Case, start: Start) -> Trainer:
    """Build one model and flatten ready-made batches to float32 rows."""
    warnings.simplefilter("ignore")  # a single pass over a batch has not converged
    rate, decay, shape = case.recipe.learning_rate, case.recipe.weight_decay, network(case.model)
    # A batch of an MLP is all that it is given, up to 200 examples.
    model = MLPClassifier((shape.width,) * shape.depth, alpha=0.0, learning_rate_init=rate)
    if shape.depth == 0:
        model = SGDClassifier("log_loss", alpha=decay, learning_rate="constant", eta0=rate)
    rows = start.images.reshape(*start.images.shape[:2], -1)
    step = functools.partial(model.partial_fit, classes=(0, 1))
    return Trainer(1, loop(step, list(zip(rows, start.labels, strict=True))))
