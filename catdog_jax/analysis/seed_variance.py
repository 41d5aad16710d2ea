"""What members trained alike tell of how much of a result is the seed, laid out as one table."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from catdog_jax.analysis import agreement, seeds
from catdog_jax.analysis.labelled import described
from catdog_jax.analysis.ladder import members_interval

ALL = "all seeds"
COMBINED = "combinations"
BEST_OF, QUANTILES = (1, 2, 3, 5, 10), (0.05, 0.25, 0.5, 0.75, 0.95)
ENSEMBLE, BINS = 10, 10
NO_MEMBER = 2**31 - 1
ENDS = ("", "_low", "_high")
CALIBRATION = ("bin_share", "vote_share", "share_right")
# Axes after `model` of what is not one number a population.
AXES = {
    "test_accuracy": "member",
    "diverged_step": "member",
    "correct": "member example",
    "step": "eval",
    "sd_over_time": "eval",
    "accuracy_quantile": "quantile",
    "best_of": "k",
    **dict.fromkeys(CALIBRATION, "class bin"),
    **{f"component{end}": "source" for end in ENDS},
}


class Trained(NamedTuple):
    """One population, as it is measured.

    Attributes:
      formula: what was trained.
      kind: what differs between its members; ALL: all that a new seed changes.
      logits: [M, N, K] of the final weights on the test examples.
      curves: [M, E] test accuracy at each evaluation.
      steps: [E] training steps done there.
      diverged_step: [M]; -1 = never. Such members are left out of all numbers.
      crossed: stream -> levels, of a grid whose last stream changes fastest from member to member;
        empty where there is none.
    """

    formula: str
    kind: str
    logits: np.ndarray
    curves: np.ndarray
    steps: np.ndarray
    diverged_step: np.ndarray
    crossed: Mapping[str, int]


def measure(one: Trained, labels: np.ndarray, sources: Sequence[str]) -> dict[str, Any]:
    """Measure one population: the numbers of `seed_variance`, nan where fewer than two are left."""
    alive, n = one.diverged_step < 0, len(labels)
    few = alive.sum() < 2
    rows = np.array([0, 0]) if few else np.flatnonzero(alive)
    logits = one.logits[rows] * (0 if few else 1)
    votes, told = agreement.votes(logits), agreement.predictions(logits)
    wrong, apart = told != labels, agreement.pairwise_disagreement
    accuracy, calibration = 1.0 - wrong.mean(axis=1), seeds.calibration(votes, labels, BINS)
    correlation, gain = seeds.split_halves(wrong)
    deviation, component = seeds.deviation_interval(accuracy), np.full((3, len(sources)), np.nan)
    if one.crossed and alive.all():
        places = [sources.index(name) for name in (*one.crossed, COMBINED)]
        grid = accuracy.reshape(*one.crossed.values())
        component[:, places] = seeds.variance_components(grid).T
    intervals = {
        "accuracy_mean": (accuracy.mean(), *members_interval(accuracy)),
        "accuracy_sd": deviation,
        "true_variance": seeds.pair_interval(seeds.true_kernel(wrong)),
        "disagreement": seeds.pair_interval(apart(logits)),
        "component": component,
    }
    low, high = seeds.conservative_interval(wrong)
    if one.crossed:  # its members share levels: no interval over members holds
        low, high = np.nan, np.nan
        intervals |= {x: (of[0], low, high) for x, of in intervals.items() if x != "component"}
    found = {
        **{f"{x}{end}": v for x, of in intervals.items() for end, v in zip(ENDS, of, strict=True)},
        "true_variance_conservative_low": low,
        "true_variance_conservative_high": high,
        "accuracy_quantile": np.quantile(accuracy, QUANTILES),
        "best_of": seeds.best_of(accuracy, BEST_OF),
        "noise_floor": seeds.noise_floor(deviation[0]),
        "test_set_variance": deviation[0] ** 2,
        "predicted_sd": np.sqrt(wrong.mean() / (2 * n)),
        "disagreement_sd": np.sqrt(wrong.var(axis=0, ddof=1).mean() / n),
        "error": wrong.mean(),
        "split_half_correlation": correlation,
        "best_quarter_gain": gain,
        "ensemble_disagreement": seeds.pair_interval(apart(seeds.ensembles(logits, ENSEMBLE)))[0],
        "contested": float((told != told[0]).any(axis=0).sum()),
        "calibration_error": seeds.calibration_error(calibration),
        "calibrated_disagreement": seeds.calibrated_disagreement(votes, labels, BINS),
        **dict(zip(CALIBRATION, calibration, strict=True)),
        "sd_over_time": one.curves[rows].std(axis=0, ddof=1, dtype=np.float64),
    }
    right = np.where(alive[:, None], agreement.predictions(one.logits) == labels, -1)
    return {name: value * np.nan if few else value for name, value in found.items()} | {
        "num_members": len(alive),
        "test_accuracy": np.where(alive, (right == 1).mean(axis=1), np.nan),
        "correct": right.astype(np.int8),
        "diverged_step": one.diverged_step,
        "step": one.steps,
    }


def seed_variance(
    populations: Mapping[str, Trained],
    labels: np.ndarray,
    class_names: Sequence[str],
    sources: Sequence[str],
) -> xr.Dataset:
    """Measure every population, and compare each with that of ALL of its formula.

    Args:
      populations: by what they are called.
      labels: [N] of the test examples.
      class_names: K.
      sources: what crossed grids may have along their axes.

    Returns:
      Along `model`, the populations.

    Variables:
      formula: what is trained
      kind: what differs between the members
      test_accuracy: accuracy on all test examples, final weights; nan where a member diverged
      correct: whether a member is right about a test example: 1, 0; -1 where it diverged
      diverged_step: step whose loss was not finite; -1 = never, 2147483647: no such member [step]
      num_members: of the population
      step: training steps done at each evaluation; -1 = none [step]
      sd_over_time: standard deviation over members of the accuracy at each evaluation
      accuracy_mean: mean over members
      accuracy_mean_low: lower end of Student's 95 % interval over members
      accuracy_mean_high: upper end of it
      accuracy_quantile: quantiles over members
      accuracy_sd: standard deviation over members, ddof = 1
      accuracy_sd_low: lower end of its 95 % interval: BCa; below 8 members by normal theory
      accuracy_sd_high: upper end of it
      sd_ratio: accuracy_sd over that of all seeds
      sd_ratio_low: lower end of its 95 % interval, as if no member had seeds of the other
      sd_ratio_high: upper end of it
      noise_floor: smallest difference of accuracy that two single runs can show
      best_of: expected test accuracy of the best of k members
      test_set_variance: accuracy_sd squared
      true_variance: what it would be on all examples there are; unbiased, may be negative
      true_variance_low: lower end of its 95 % interval over members, BCa; nan below 8
      true_variance_high: upper end of it
      true_variance_conservative_low: lower end of an interval over members and examples
      true_variance_conservative_high: upper end of it
      predicted_sd: sqrt(error / 2n), n the test examples
      disagreement_sd: sqrt(D / 2n), D how often only one of two members is right
      error: share of wrong answers, mean over members
      split_half_correlation: over members, of accuracies on two halves of the test set
      best_quarter_gain: how much better the best quarter on one half is on the other
      disagreement: share of test examples that two members classify differently
      disagreement_low: lower end of its 95 % interval over members, BCa; nan below 8
      disagreement_high: upper end of it
      disagreement_ratio: disagreement over that of all seeds
      disagreement_ratio_low: lower end of its 95 % interval, as if no member had seeds of the other
      disagreement_ratio_high: upper end of it
      ensemble_disagreement: disagreement of two ensembles of 10 members each
      contested: test examples to which not all members give the same answer
      calibration_error: sum over classes of how far votes are from how often a class is right
      calibrated_disagreement: error that votes predict, calibrated on other test examples
      bin_share: share of test examples in a bin of votes for a class
      vote_share: mean share of votes in a bin
      share_right: how often the class is right there
      component: variance of the accuracy that comes from a stream alone, or from combinations
      component_low: lower end of its 95 % interval
      component_high: upper end of it
      label: class index of the test examples
    """
    sources, trained = (*sources, COMBINED), list(populations.values())
    found = [measure(one, labels, sources) for one in trained]
    bases = {one.formula: row for one, row in zip(trained, found, strict=True) if one.kind == ALL}
    for one, row in zip(trained, found, strict=True):
        base = bases.get(one.formula, row)
        for ratio, of in (("sd_ratio", "accuracy_sd"), ("disagreement_ratio", "disagreement")):
            pair = (tuple(float(x[of + end]) for end in ENDS) for x in (row, base))
            values = 3 * (np.nan,) if base is row else seeds.ratio_interval(*pair)
            row |= {ratio + end: value for end, value in zip(ENDS, values, strict=True)}
    variables: dict[str, Any] = {"label": ("example", labels)}
    for name in found[0]:
        fill = NO_MEMBER if name == "diverged_step" else -1
        variables[name] = (
            ["model", *AXES.get(name, "").split()],
            _stacked([x[name] for x in found], fill),
        )
    coordinates = {
        "model": np.array(list(populations), dtype=object),
        "formula": ("model", np.array([one.formula for one in trained], dtype=object)),
        "kind": ("model", np.array([one.kind for one in trained], dtype=object)),
        "quantile": np.array(QUANTILES),
        "k": np.array(BEST_OF),
        "class": np.array(class_names, dtype=object),
        "source": np.array(sources, dtype=object),
    }
    return described(xr.Dataset(variables, coordinates), seed_variance)


def _stacked(values: Sequence[Any], fill: int) -> np.ndarray:
    """Stack arrays; behind shorter ones stands `fill` where they are whole numbers, else nan."""
    arrays = [np.asarray(value) for value in values]
    shape = (len(arrays), *np.max([x.shape for x in arrays], axis=0).astype(int))
    found = np.full(shape, np.nan if arrays[0].dtype.kind == "f" else fill, arrays[0].dtype)
    for index, array in enumerate(arrays):
        found[(index, *map(slice, array.shape))] = array
    return found
