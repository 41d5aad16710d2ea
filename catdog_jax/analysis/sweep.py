"""Settings against one another: which is best, which cannot be told from it, which are stopped."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from catdog_jax.analysis.comparison import welch
from catdog_jax.analysis.labelled import described

if TYPE_CHECKING:
    import xarray as xr

LEVEL = 0.05  # probability that the truly best trial is called worse than another
SHORTEST = 10  # times as long as the first rung is the whole training, at most
Rung = tuple[np.ndarray, np.ndarray, Mapping[str, np.ndarray]]
HALF = 0.5  # share of members from which on a setting is said to diverge


def halving(num_trials: int, eta: int, num_steps: int) -> dict[int, int]:
    """Plan successive halving: of every rung the best 1/η go on, for η times as many steps.

    Rung k = 0..K trains ⌊T / ηᵏ⌋ trials up to step N / η^(K−k), rounded; rungs that would end
    at the same step are one. K is as large as T allows, but the first rung has a
    tenth of the steps at least: before, a rate has hardly warmed up, and what leads is luck.

    Args:
      num_trials, num_steps: T and N.
      eta: η ≥ 2.

    Returns:
      Step where a rung ends -> trials that train up to there, in order; the last is N.

    Source:
      Jamieson, Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter
      optimization", fig. 3.
    """
    most, found = 0, dict[int, int]()
    while eta ** (most + 1) <= min(num_trials, SHORTEST):
        most += 1
    for k in range(most, -1, -1):
        found[max(1, round(num_steps / eta ** (most - k)))] = num_trials // eta**k
    return dict(sorted(found.items()))


def score(
    accuracy: Float[np.ndarray, "T M"], diverged: Bool[np.ndarray, "T M"]
) -> Float[np.ndarray, " T"]:
    """Rank trials by their mean accuracy; one of which a member diverged comes after all others.

    Returns:
      [T], below zero where a member diverged.
    """
    return accuracy.mean(axis=1, dtype=np.float64) - 2.0 * diverged.any(axis=1)


def worse_than(right: Int[np.ndarray, "T M"], best: int) -> Float[np.ndarray, " T"]:
    """Test for every trial whether it is worse than the one taken for the best, over other members.

    Welch's t-test, one-sided, its probability times the T − 1 comparisons (Bonferroni). The truly
    best trial is worse than none of them, so it is called worse with a probability of at most the
    level whichever trial was taken for the best, and by whatever luck: the choice biases nothing.
    Members of two trials that share their starts correlate, if at all, positively; the test is
    conservative then.

    Args:
      right: answers that each member has right, on one test set.
      best: number of the trial.

    Returns:
      [T] corrected probabilities of so large a lack where there is none; 1 for the best.

    Source:
      Gupta 1965, "On some multiple decision (selection and ranking) rules" (a subset that holds the
      best); Welch 1947.
    """
    mean, found = right.mean(axis=1), np.ones(len(right))
    for t in np.flatnonzero(mean < mean[best]):
        found[t] = min(1.0, welch(right[best], right[t]) / 2 * (len(right) - 1))
    return found


def sweep_results(
    rungs: Mapping[str, Sequence[Rung]], settings: Mapping[str, np.ndarray], labels: np.ndarray
) -> "xr.Dataset":
    """Lay trials out along `model, trial, member`, and compare those that trained to the end.

    The best trial of a model is that of the highest mean accuracy on the validation examples among
    those of which no member diverged. It is compared with the others on the test examples, by which
    nothing was chosen; see `worse_than`.

    Args:
      rungs: model -> its rungs in order; where no trial is stopped, one. Of each the numbers [t] of
        the trials that trained together; the steps [E] at each evaluation, the first where they
        began; and `diverged_step` [t * M], `test_accuracy` and `valid_accuracy` [t * M, E]: all
        members of a trial, then those of the next.
      settings: name -> its value in every trial, [T].
      labels: [N] of the test examples.

    Variables:
      learning_rate: of a trial, top of the schedule
      weight_decay: of a trial
      momentum: of a trial
      clip_norm: of a trial, longest gradient let through; 0: any
      label_smoothing: of a trial
      gain: of a trial, times what the starting weights are drawn as
      test_accuracy: on all test examples, last weights; nan where a member diverged
      valid_accuracy: on the validation examples, likewise
      accuracy_mean: of test_accuracy over members that did not diverge
      accuracy_sd: its standard deviation over them, ddof = 1
      valid_mean: of valid_accuracy
      diverged_step: step whose loss or gradient was not finite; -1 = never [step]
      stopped_step: step at which a trial was stopped; -1: trained to the end [step]
      accuracy_over_time: accuracy on the test examples at each evaluation; nan where none was
      step: training steps done at each evaluation; -1 = none [step]
      best_trial: that a model is best with; -1: in all that trained to the end a member diverged
      p_worse: corrected probability of so large a lack to the best; nan where none is compared
      alike: 1 where a trial cannot be told from the best, which is one of them
      outcome: diverged (at least half of the members), stopped, dead (no better than guessing by
        two standard errors of the test set), or trained
      diverges_from: learning rate from which on half of the members diverge; nan where none
      member_steps: that were trained
      grid_member_steps: that all trials would take to the end
      label: class index of the test examples
    """
    import xarray as xr  # takes most of a second to import

    sets = [xr.Dataset(_of_model(own, settings, labels)) for own in rungs.values()]
    sets = [one.assign_coords(eval=np.arange(one.sizes["eval"])) for one in sets]
    data = xr.concat(sets, "model", join="outer", fill_value={"step": -1})
    columns = {name: ("trial", np.asarray(x, np.float64)) for name, x in settings.items()}
    own = {"model": np.array(list(rungs), object), "trial": np.arange(data.sizes["trial"])}
    data = data.assign_coords({**own, **columns})
    data["label"] = "example", labels
    for name, source in (("accuracy", "test_accuracy"), ("valid", "valid_accuracy")):
        data[f"{name}_mean"] = data[source].mean("member")
    data["accuracy_sd"] = data["test_accuracy"].std("member", ddof=1)
    differ = [name for name, x in settings.items() if len(np.unique(x)) > 1] or settings
    return described(data.assign_attrs(swept=" ".join(differ)), sweep_results)


def _of_model(
    rungs: Sequence[Rung], settings: Mapping[str, np.ndarray], labels: np.ndarray
) -> dict[str, Any]:
    """Join what the trials of one model did in all rungs, and compare them."""
    steps = np.unique(np.concatenate([at for _, at, _ in rungs]))
    trials, n = len(rungs[0][0]), len(labels)
    shape = trials, len(rungs[0][2]["diverged_step"]) // trials
    diverged_step, last, spent = np.full(shape, -1, np.int32), np.zeros(trials, int), 0
    curves = np.full((2, *shape, len(steps)), np.nan)
    for own, at, observed in rungs:
        places, size = np.searchsorted(steps, at), (len(own), shape[1], -1)
        last[own], spent = places[-1], spent + size[0] * size[1] * int(at[-1] - at[0])
        diverged_step[own] = observed["diverged_step"].reshape(size[:2])
        for curve, name in zip(curves, ("test_accuracy", "valid_accuracy"), strict=True):
            curve[np.ix_(own, np.arange(shape[1]), places)] = observed[name].reshape(size)
    test, valid = curves[:, np.arange(trials), :, last].swapaxes(0, 1)
    diverged, stopped = diverged_step >= 0, np.where(last < len(steps) - 1, steps[last], -1)
    ranks = np.where(stopped < 0, score(valid, diverged), -1.0)
    compared, p, best = np.flatnonzero(ranks >= 0), np.full(trials, np.nan), int(ranks.argmax())
    if len(compared):
        right = np.rint(test[compared] * n).astype(int)
        p[compared] = worse_than(right, int(np.searchsorted(compared, best)))
    share, lost = np.bincount(labels).max() / n, diverged.mean(axis=1) >= HALF
    is_dead = test.mean(axis=1) <= share + 2 * np.sqrt(share * (1 - share) / n)
    kinds = np.select([lost, stopped >= 0, is_dead], ["diverged", "stopped", "dead"], "trained")
    rates = settings.get("learning_rate", np.empty(0))
    edges = [x for x in np.unique(rates) if diverged[rates == x].mean() >= HALF]
    each = ("trial", "member")
    return {
        "test_accuracy": (each, np.where(diverged, np.nan, test)),
        "valid_accuracy": (each, np.where(diverged, np.nan, valid)),
        "diverged_step": (each, diverged_step),
        "stopped_step": ("trial", stopped),
        "accuracy_over_time": ((*each, "eval"), curves[0]),
        "step": ("eval", steps),
        "best_trial": best if len(compared) else -1,
        "p_worse": ("trial", p),
        "alike": ("trial", (p > LEVEL).astype(np.int8)),
        "outcome": ("trial", kinds.astype(object)),
        "diverges_from": min(edges, default=np.nan),
        "member_steps": spent,
        "grid_member_steps": diverged.size * int(steps[-1]),
    }
