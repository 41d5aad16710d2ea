"""Classifiers of every origin, asked about the same pictures."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
import xarray as xr
from jaxtyping import Array, Bool, Float, Int

from catdog_jax.analysis.labelled import described
from catdog_jax.analysis.layers import in_parts
from catdog_jax.estimators.centroid import centroid_distances, class_means, linear_from_means
from catdog_jax.estimators.logistic import logistic
from catdog_jax.models import linear
from catdog_jax.models.build import on_pixels
from catdog_jax.types import Dataset, Params, Split

ORIGINS = ("programmed", "estimated", "learned")
LEVEL = 0.95  # probability that an interval shall hold
RESAMPLES = 2000


class LadderClassifier(NamedTuple):
    """One classifier of the ladder, or a population of them.

    Attributes:
      name: as typed.
      origin: one of ORIGINS.
      params: weights, stacked [M, ...]; M = 1 where nothing is random.
      apply: (params of one member, inputs) -> logits [B, K].
      seconds: what it took to get the params.
      num_members: M; 0 where nothing is random.
      diverged: [M] bool, members diverged: a loss that was not finite.
      read: part of the data set -> the inputs that `apply` takes; pictures 0..255 by default.
      from_optimum: [M] relative distance of each member's weights from the lowest point of its
        loss; nan where that point is not known.
    """

    name: str
    origin: str
    params: Params
    apply: Callable[[Params, Any], Array]
    seconds: float
    num_members: int = 0
    diverged: np.ndarray = np.zeros(1, bool)
    read: Callable[[Split], np.ndarray] = operator.attrgetter("inputs")
    from_optimum: np.ndarray | float = np.nan

    @property
    def num_params(self) -> int:
        """Numbers that one member holds."""
        return sum(np.size(leaf) for leaf in jax.tree.leaves(self.params)) // len(self.diverged)

    def member(self, index: int) -> Params:
        """The params of one member."""
        return jax.tree.map(operator.itemgetter(index), self.params)

    @property
    def first(self) -> Params:
        """The params of the first living member."""
        return self.member(int(np.argmin(self.diverged)))


def compare(
    data: Dataset,
    classifiers: Sequence[LadderClassifier],
    progress: Callable[[int, str], None] = lambda done, name: None,
) -> xr.Dataset:
    """Ask every classifier about every picture; lay all out along `rung, member, example`.

    Args:
      data: the pictures.
      classifiers: from the lowest to the highest; one with fewer members than another is filled
        with -1 or nan.
      progress: called with the number of classifiers that are done, and the name of the next.

    Variables:
      origin: where the params came from: programmed, estimated or learned
      num_parameters: numbers that one member holds
      num_members: random starts; 0 where nothing is random
      train_accuracy: accuracy on all training examples
      test_accuracy: accuracy on all test examples
      test_low: lower end of the 95 % bootstrap interval over test examples
      test_high: upper end of the 95 % bootstrap interval over test examples
      members_low: lower end of Student's 95 % interval over members
      members_high: upper end of Student's 95 % interval over members
      rung_seconds: what it took to get the params of all members [s]
      from_optimum: ‖w − w*‖ / ‖w*‖, w* the lowest point of a convex loss, by L-BFGS
      prediction: class index given to each test example; -1: no such member
      train_prediction: class index given to each training example; -1: no such member
      label: class index of the test examples
      train_label: class index of the training examples
      class_mean: average of the training pictures of each class, pixels in 0..1
      nearest_mean: class whose average picture is nearest by distance
      projection: w·x + b of each test picture, w the second average less the first
      weights: of linear rungs, on pixels in 0..1; of a population, its first living one
      bias: of linear rungs
      linear_logits: of linear rungs on the test examples [nats]
    """
    most, answers = max(len(one.diverged) for one in classifiers), []
    for index, one in enumerate(classifiers):
        progress(index, one.name)
        answers.append([predictions(one, part, most) for part in (data.train, data.test)])
    train, test = np.stack([a for a, _ in answers]), np.stack([a for _, a in answers])
    labels, train_labels = data.test.labels, data.train.labels
    alive = np.all(test >= 0, axis=2)
    accuracy = np.where(alive, np.mean(test == labels, axis=2), np.nan)
    intervals = np.full((4, len(classifiers)), np.nan)
    from_optimum = np.full(alive.shape, np.nan)
    for r, one in enumerate(classifiers):
        from_optimum[r, : len(one.diverged)] = one.from_optimum
        if alive[r].any():
            intervals[:2, r] = bootstrap_interval(test[r][alive[r]] == labels)
            intervals[2:, r] = members_interval(accuracy[r][alive[r]])
    ends = ("test_low", "test_high", "members_low", "members_high")
    over = ("rung", "member")
    variables: dict[str, Any] = {
        "origin": ("rung", [one.origin for one in classifiers]),
        "num_parameters": ("rung", [one.num_params for one in classifiers]),
        "num_members": ("rung", np.array([one.num_members for one in classifiers], np.int32)),
        "train_accuracy": (over, np.where(alive, np.mean(train == train_labels, axis=2), np.nan)),
        "test_accuracy": (over, accuracy),
        **{name: ("rung", values) for name, values in zip(ends, intervals, strict=True)},
        "rung_seconds": ("rung", [one.seconds for one in classifiers]),
        "from_optimum": (over, from_optimum),
        "train_prediction": ((*over, "train_example"), train),
        "prediction": ((*over, "example"), test),
        "label": ("example", labels),
        "train_label": ("train_example", train_labels),
        **_averages(data),
        **_weights(classifiers, data),
    }
    coordinates = {
        "rung": np.array([one.name for one in classifiers], dtype=object),
        "class": np.array(data.class_names, dtype=object),
    }
    return described(xr.Dataset(variables, coordinates, {"dataset": data.name}), compare)


def predictions(classifier: LadderClassifier, part: Split, num_rows: int) -> Int[np.ndarray, "M N"]:
    """Ask every member about every example.

    Args:
      classifier: whom.
      part: the examples.
      num_rows: M of the classifier with the most members.

    Returns:
      int16 class indices; -1 for a member that diverged or is not there.
    """
    inputs = classifier.read(part)
    ask = jax.jit(lambda params, x: jnp.argmax(classifier.apply(params, x), axis=-1))
    answers = np.full((num_rows, len(part.labels)), -1, np.int16)
    for index in np.flatnonzero(~classifier.diverged):
        answers[index] = in_parts(functools.partial(ask, classifier.member(int(index))), inputs)
    return answers


def bootstrap_interval(correct: Bool[np.ndarray, "M N"]) -> tuple[float, float]:
    """Bound the accuracy that other test examples of the same kind would have given.

    Test examples are drawn again with replacement, the same ones for all members, and the mean
    accuracy of the members is taken each time. Examples on which equally many members are right
    are alike, so it is enough to draw how many of each kind: one classifier draws binomial numbers.

    Args:
      correct: [M, N], whether a prediction is right; N ≥ 1, M ≥ 1.

    Returns:
      Low and high, fractions in 0..1: percentiles of the resampled mean accuracy.

    Source:
      Efron 1979, "Bootstrap methods: another look at the jackknife"; Efron, Tibshirani 1993,
      sec. 13.3 (percentile interval).
    """
    num_members, num_examples = correct.shape
    kinds = np.bincount(correct.sum(axis=0), minlength=num_members + 1)  # by members that are right
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(num_examples, kinds / num_examples, size=RESAMPLES)
    accuracies = drawn @ np.arange(num_members + 1) / (num_members * num_examples)
    low, high = np.quantile(accuracies, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def members_interval(accuracies: Float[np.ndarray, " M"]) -> tuple[float, float]:
    """Bound the mean accuracy of all members that could have been started.

    Args:
      accuracies: [M], one per member; M ≥ 1.

    Returns:
      Low and high in units of `accuracies`, symmetric about their mean; nan where M = 1, for one
      member says nothing about the others.

    Source:
      Student 1908, "The probable error of a mean".
    """
    num_members = len(accuracies)
    if num_members == 1:
        return np.nan, np.nan
    half = scipy.stats.t.ppf((1 + LEVEL) / 2, num_members - 1) * scipy.stats.sem(accuracies)
    mean = accuracies.mean()
    return float(mean - half), float(mean + half)


def distance_from_optimum(
    weights: Float[np.ndarray, "M D K"],
    inputs: Float[np.ndarray, "N ..."],
    labels: Int[np.ndarray, " N"],
    weight_decay: float,
) -> Float[np.ndarray, " M"]:
    """Measure how far members of a linear model ended from the lowest point of their loss.

    That loss, with plain weight decay λ, is the mean cross-entropy plus λ/2 (|w|² + |b|²). Its
    lowest point is that of `logistic` with C = 1/(λN), or 2/(λN) for two classes, whose one vector
    stands for two columns of half its length; but for the decay of the bias, which is small against
    the weights and not in that loss.

    Args:
      weights: of all members.
      inputs: the training examples as the weights meet them, D numbers each.
      labels: in 0..K-1.
      weight_decay: λ > 0.

    Returns:
      ‖w − w*‖ / ‖w*‖.
    """
    num_classes = weights.shape[2]
    strength = (2.0 if num_classes == 2 else 1.0) / (weight_decay * len(labels))
    rows = inputs.reshape(len(inputs), -1)
    best = np.asarray(logistic(rows, labels, num_classes, C=strength).params.weights)
    with np.errstate(invalid="ignore", over="ignore"):  # of members that diverged
        centred = weights - weights.mean(axis=2, keepdims=True)
        return np.linalg.norm(centred - best[None], axis=(1, 2)) / np.linalg.norm(best)


def linear_weights(
    classifier: LadderClassifier, shape: tuple[int, ...]
) -> tuple[Float[np.ndarray, "K H W C"], Float[np.ndarray, " K"]] | None:
    """Read the weights of a linear formula of pixels in 0..1, of the first living member.

    Args:
      classifier: any.
      shape: (H, W, C) of a picture.

    Returns:
      The gradient of the logits, and those of a black picture; None for a formula that is not
      linear in the pixels.
    """
    params = classifier.params
    if not isinstance(params, linear.LinearParams) or params.weights.shape[1] != np.prod(shape):
        return None
    member, black = classifier.first, jnp.zeros(shape, jnp.float32)

    def logits(image: Array) -> Array:
        return classifier.apply(member, 255.0 * image[None])[0]

    return np.asarray(jax.jacrev(logits)(black)), np.asarray(logits(black))


def _averages(data: Dataset) -> dict[str, Any]:
    """The average picture of each class, and what the nearest of them says of each test picture."""
    num_classes, images = len(data.class_names), data.test.inputs
    means = class_means(data.train.inputs, data.train.labels, num_classes)
    difference = linear_from_means(means[:2].reshape(2, -1) / 255.0)
    distances = in_parts(functools.partial(centroid_distances, means), images)
    logits = in_parts(functools.partial(on_pixels(linear.apply), difference), images)
    return {
        "class_mean": (("class", "row", "column", "channel"), (means / 255.0).astype(np.float32)),
        "nearest_mean": ("example", distances.argmin(axis=1).astype(np.int16)),
        "projection": ("example", logits[:, 1] - logits[:, 0]),
    }


def _weights(classifiers: Sequence[LadderClassifier], data: Dataset) -> dict[str, Any]:
    """The weights of the linear formulas (of the first living member) and their logits."""
    shape = data.train.inputs.shape[1:]
    living = [one for one in classifiers if not one.diverged.all()]
    found = [(one, pair) for one in living if (pair := linear_weights(one, shape)) is not None]
    if not found:
        return {}
    logits = [
        in_parts(functools.partial(one.apply, one.first), data.test.inputs) for one, _ in found
    ]
    return {
        "linear_rung": np.array([one.name for one, _ in found], dtype=object),
        "weights": (
            ("linear_rung", "class", "row", "column", "channel"),
            np.stack([weights for _, (weights, _) in found]),
        ),
        "bias": (("linear_rung", "class"), np.stack([bias for _, (_, bias) in found])),
        "linear_logits": (("linear_rung", "example", "class"), np.stack(logits)),
    }
