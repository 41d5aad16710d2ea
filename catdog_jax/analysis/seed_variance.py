"""What members trained alike tell of how much of a result is the seed, laid out as one table."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from catdog_jax.analysis import agreement, seeds
from catdog_jax.analysis.ladder import members_interval

COMBINED = "combinations"
BEST_OF, QUANTILES = (1, 2, 3, 5, 10), (0.05, 0.25, 0.5, 0.75, 0.95)
ENSEMBLE, BINS = 10, 10
NO_MEMBER = 2**31 - 1
ENDS = ("", "_low", "_high")
CALIBRATION = ("bin_share", "vote_share", "share_right")
# Axes of what is not one number a population.
AXES = {
    **dict.fromkeys(("test_accuracy", "diverged_step"), ("member",)),
    **dict.fromkeys(("step", "sd_over_time"), ("eval",)),
    "correct": ("member", "example"),
    "accuracy_quantile": ("quantile",),
    "best_of": ("k",),
    **dict.fromkeys(CALIBRATION, ("class", "bin")),
    **{f"component{end}": ("source",) for end in ENDS},
}


def measure(
    observed: Mapping[str, np.ndarray],
    labels: np.ndarray,
    crossed: Mapping[str, int],
    sources: list[str],
) -> dict[str, Any]:
    """Measure the spread of one population.

    Args:
      observed: `test_logits` [M, N, K] of the final weights, `test_accuracy` [M, E] at each
        evaluation, and `diverged_step` [M], -1 = never. Members that diverged are left out.
      labels: [N] of the test examples.
      crossed: stream -> levels, of a grid whose last stream changes fastest from member to member;
        empty where there is none.
      sources: names of the streams, then COMBINED.

    Returns:
      The numbers of `laid_out` of one population, but for ratios; nan where fewer than two members
      are left.
    """
    logits, alive, n = observed["test_logits"], observed["diverged_step"] < 0, len(labels)
    few = alive.sum() < 2
    rows = np.array([0, 0]) if few else np.flatnonzero(alive)
    left = np.zeros_like(logits[rows]) if few else logits[rows]
    votes, told = agreement.votes(left), agreement.predictions(left)
    wrong, apart = told != labels, agreement.pairwise_disagreement
    accuracy, calibration = 1.0 - wrong.mean(axis=1), seeds.calibration(votes, labels, BINS)
    correlation, gain = seeds.split_halves(wrong)
    truth = seeds.pair_interval(seeds.true_kernel(wrong))
    deviation, component = seeds.deviation_interval(accuracy), np.full((3, len(sources)), np.nan)
    intervals: dict[str, Any] = {
        "accuracy_mean": (accuracy.mean(), *members_interval(accuracy)),
        "accuracy_sd": deviation,
        "true_variance": truth,
        "true_variance_conservative": (truth[0], *seeds.conservative_interval(wrong)),
        "disagreement": seeds.pair_interval(apart(left)),
    }
    if crossed:  # its members share levels: no interval over members holds
        intervals = {name: (value, np.nan, np.nan) for name, (value, *_) in intervals.items()}
    if crossed and alive.all():
        parts = seeds.variance_components(accuracy.reshape(*crossed.values()))
        component[:, [sources.index(x) for x in (*crossed, COMBINED)]] = parts.T
    intervals["component"] = component
    found = {
        **{f"{x}{end}": v for x, of in intervals.items() for end, v in zip(ENDS, of, strict=True)},
        "accuracy_quantile": np.quantile(accuracy, QUANTILES),
        "best_of": seeds.best_of(accuracy, BEST_OF),
        "noise_floor": seeds.noise_floor(deviation[0]),
        "test_set_variance": deviation[0] ** 2,
        "predicted_sd": np.sqrt(wrong.mean() / (2 * n)),
        "disagreement_sd": np.sqrt(wrong.var(axis=0, ddof=1).mean() / n),
        "error": wrong.mean(),
        "split_half_correlation": correlation,
        "best_quarter_gain": gain,
        "ensemble_disagreement": seeds.pair_interval(apart(seeds.ensembles(left, ENSEMBLE)))[0],
        "contested": (told != told[0]).any(axis=0).sum(),
        "calibration_error": seeds.calibration_error(calibration),
        "calibrated_disagreement": seeds.calibrated_disagreement(votes, labels, BINS),
        **dict(zip(CALIBRATION, calibration, strict=True)),
        "sd_over_time": observed["test_accuracy"][rows].std(axis=0, ddof=1, dtype=np.float64),
    }
    right = np.where(alive[:, None], agreement.predictions(logits) == labels, -1)
    return {name: np.multiply(value, np.nan if few else 1.0) for name, value in found.items()} | {
        "num_members": len(alive),
        "test_accuracy": np.where(alive, (right == 1).mean(axis=1), np.nan),
        "correct": right.astype(np.int8),
        "diverged_step": observed["diverged_step"],
    }


def laid_out(found: Mapping[str, Mapping[str, Any]], base: Mapping[str, str]) -> xr.Dataset:
    """Lay populations out along `model`, and compare each with that of all seeds.

    Args:
      found: label -> of `measure`, and `step` [E] of each evaluation.
      base: label -> label of the population of all seeds of its formula; itself, where there is
        none.

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
      true_variance_conservative: the same value
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
    sets = []
    for label, one in found.items():
        row, other = dict(one), found[base[label]]
        for ratio, of in (("sd_ratio", "accuracy_sd"), ("disagreement_ratio", "disagreement")):
            pair: Any = [tuple(float(x[of + end]) for end in ENDS) for x in (one, other)]
            values = 3 * (np.nan,) if one is other else seeds.ratio_interval(*pair)
            row |= {ratio + end: value for end, value in zip(ENDS, values, strict=True)}
        data = xr.Dataset({name: (AXES.get(name, ()), value) for name, value in row.items()})
        sets.append(data.assign_coords({x: np.arange(data.sizes[x]) for x in ("member", "eval")}))
    fill = {"diverged_step": NO_MEMBER, "correct": -1, "step": -1}
    results = xr.concat(sets, "model", join="outer", fill_value=fill)
    return results.assign_coords(model=list(found), quantile=list(QUANTILES), k=list(BEST_OF))
