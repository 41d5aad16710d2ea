"""What members are worth together: ensembles of every size, scored, calibrated and asked how sure.

Axes: E ensembles, M members, N examples, K classes; U units, what could have been drawn otherwise:
members, or whole runs where an ensemble is made of the snapshots of one.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import scipy.stats
import xarray as xr
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize_scalar
from scipy.special import entr, softmax

from catdog_jax.analysis.labelled import described

LEVEL = 0.95  # probability that an interval shall hold
MOST_SUBSETS = 20_000
BINS = 15  # of the top probability
EDGES = np.linspace(0.0, 1.0, BINS + 1, dtype=np.float32)
NUMBERS = 2**21  # probabilities at a time: they stay in the cache
FITTED = 32  # ensembles of a size that a temperature is fitted on
TINY = 1e-37  # the smallest probability, so that a logarithm is finite
AVERAGES, SCORES = ("probabilities", "logits"), ("accuracy", "nll", "brier", "ece", "ece_mass")
SURE = ("confidence", "disagreement")
COVERAGES = np.arange(1, 21) / 20
ENDS, STATES = ("", "_low", "_high"), ("", "_calibrated")
CASES = ("one member", "together", "one member, calibrated", "together, calibrated")
NO_MEMBER = 2**31 - 1
Some = Sequence[np.ndarray]
BY_SIZE = [f"{score}{state}{of}" for of in ("", "_gain") for state in STATES for score in SCORES]


def subsets(count: int, size: int) -> Bool[np.ndarray, "E {count}"]:
    """Choose the ensembles of a size: all there are, or MOST_SUBSETS random ones of more.

    Returns:
      Which members each ensemble has; random ones may come twice, and are the same every time.
    """
    if math.comb(count, size) <= MOST_SUBSETS:
        rows = np.array(list(itertools.combinations(range(count), size)))
    else:
        drawn = np.random.default_rng(0).random((MOST_SUBSETS, count))
        rows = np.argpartition(drawn, size, axis=1)[:, :size]
    chosen = np.zeros((len(rows), count), bool)
    np.put_along_axis(chosen, rows, True, axis=1)
    return chosen


def sizes(count: int, asked: int) -> list[int]:
    """List the sizes of the ensembles of so many members: 1, 2, 3, 4, 6, 8, 12, …, all, and one."""
    steps = {2**i * part // 2 for i in range(count.bit_length() + 1) for part in (2, 3)}
    return sorted({size for size in steps if size < count} | {count, asked})


def scores(
    probabilities: Float[np.ndarray, "K E N"], labels: Int[np.ndarray, " N"]
) -> Float[np.ndarray, "5 E"]:
    """Judge probabilities; the numbers are those of SCORES.

    Accuracy; NLL, the mean of -log p of the right class, nats (p at least TINY); Brier, the mean of
    the squared error summed over classes, 0..2; ECE, |accuracy - confidence| of the examples in a
    bin of the top probability, weighted by their number: BINS bins of equal width, each with its
    upper end, and BINS of equally many examples (to within one).

    Source:
      Brier 1950, "Verification of forecasts expressed in terms of probability"; Guo et al. 2017,
      "On calibration of modern neural networks", eq. 3; Nixon et al. 2019, "Measuring calibration
      in deep learning" (equal mass).
    """
    count, top = len(labels), probabilities[0].astype(np.float32)
    own, told, squares = top, np.zeros(top.shape, np.int16), np.zeros(top.shape, np.float32)
    for k, p in enumerate(probabilities):  # no reduction over a short axis: they are slow
        told, top = np.where(p > top, np.int16(k), told), np.maximum(top, p, dtype=np.float32)
        own, squares = np.where(labels == k, p, own), squares + np.square(p)
    right = told == labels
    # One sort of the confidences, which carry in a bit beyond their own whether they are right.
    keys = np.sort(top + right * 2.0**-40, axis=1)
    top = keys.astype(np.float32)
    sums = np.pad(np.cumsum((keys > top) - top, axis=None, dtype=np.float64), (1, 0))
    rows = np.arange(len(top))[:, None]
    inner = np.searchsorted((top + rows).ravel(), EDGES[1:-1] + rows, "right")
    wide = np.concatenate([count * rows, inner, count * (rows + 1)], axis=1)
    equal = count * rows + np.arange(BINS + 1) * count // BINS
    losses = -np.log(np.maximum(own, TINY))
    found = [x.mean(axis=1, dtype=np.float64) for x in (right, losses, squares - 2 * own + 1)]
    errors = (np.abs(np.diff(sums[ends])).sum(axis=1) / count for ends in (wide, equal))
    return np.stack([*found, *errors])


def together(
    logits: Float[np.ndarray, "M N K"], chosen: Bool[np.ndarray, "E M"], average: str
) -> Float[np.ndarray, "K E N"]:
    """Give the log-probabilities of ensembles, up to a constant of each example.

    Args:
      logits: of the members.
      chosen: see `subsets`.
      average: 'probabilities': the log of their mean; 'logits': the mean of the logits.

    Source:
      Lakshminarayanan, Pritzel, Blundell 2017, "Simple and scalable predictive uncertainty
      estimation using deep ensembles", sec. 2.4.
    """
    values = np.moveaxis(logits, 2, 0)
    weights = (chosen / chosen.sum(axis=1, keepdims=True)).astype(values.dtype)
    if average == "logits":
        return weights @ values
    return np.log(np.maximum(weights @ softmax(values, axis=0), TINY))


def fit_temperature(logs: Float[np.ndarray, "K E N"], labels: Int[np.ndarray, " N"]) -> float:
    """Find the temperature T at which softmax(logs / T) has the least mean NLL; nan of no example.

    Source:
      Guo et al. 2017, "On calibration of modern neural networks", sec. 4.2.
    """
    if not len(labels):
        return np.nan
    exact = logs.astype(np.float64)
    own = np.take_along_axis(exact, labels[None, None], axis=0)[0]

    def nll(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float((np.logaddexp.reduce(scale * exact, axis=0) - scale * own).mean())

    return float(np.exp(minimize_scalar(nll, bounds=np.log([0.02, 50]), method="bounded").x))


def interval(
    value: Float[np.ndarray, "*B"], without: Float[np.ndarray, "*B U"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bound what other units would give, by the jackknife.

    In simulations (12 members, 300 examples) it held in 92 to 98 % for accuracy of 1 to 8 members,
    87 to 92 % for NLL; for the accuracy of all 12 together it was twice as wide as need be.

    Args:
      value: means over ensembles, or numbers of the ensemble of all.
      without: of each unit, the same of the ensembles without it; nan where there is none.

    Returns:
      The value; low and high of Student's 95 % interval, nan of fewer than two units.

    Source:
      Arvesen 1969, "Jackknifing U-statistics".
    """
    count = without.shape[-1]
    half = (count - 1) * without.std(axis=-1) / np.sqrt(max(count - 1, 1))
    half *= scipy.stats.t.ppf((1 + LEVEL) / 2, count - 1)  # nan of one unit
    return value, value - half, value + half


def by_size(answers: Some, truth: Some, size: int, run: int = 0) -> dict[str, Any]:
    """Score ensembles of every size; see `laid_out`.

    Args:
      answers: logits of at least one member, none of which has diverged, on the test examples
        [M, N, K] and the validation examples; of none of these, nothing is calibrated.
      truth: labels of both.
      size: one that is asked for beside the usual ones.
      run: 0: every member may stand beside every other. Else so many members in a row are the
        snapshots of one run, the last one last; an ensemble has the last few of a run.

    Returns:
      Name -> (axes, values), and 'size'.
    """
    (test, valid), (labels, valid_labels), axes = answers, truth, ("average", "size")
    count = len(test)
    listed = sizes(run or count, size)
    units = np.repeat(np.eye(count // (run or 1)), run or 1, axis=1) > 0
    shape = len(AVERAGES), len(listed)
    temperatures, worth = np.full(shape, np.nan), np.full((*shape, count), np.nan)
    values = np.full((2 * len(SCORES), *shape, 1 + len(units)), np.nan)
    for a, s in np.ndindex(shape):
        last = np.arange(run) >= run - listed[s]
        chosen = units & np.tile(last, len(units)) if run else subsets(count, listed[s])
        logs = together(valid, chosen[:: max(1, len(chosen) // FITTED)], AVERAGES[a])
        temperatures[a, s] = fit_temperature(logs, valid_labels)
        judge = partial(_scored, test, labels, AVERAGES[a], float(temperatures[a, s]))
        scored = judge(chosen)
        values[:, a, s, 0] = scored.mean(axis=1)
        # Of the ensemble of all members, what each is worth shows in the one without it.
        whole = listed[s] == count > 1 and not run
        rest, others = (~units, judge(~units)) if whole else (chosen, scored)
        lacking = 1.0 * (1.0 * rest @ units.T == 0)
        number = lacking.sum(axis=0)
        values[:, a, s, 1:] = others @ lacking / np.where(number, number, np.nan)
        if not run:
            having = scored[0] @ (1.0 * chosen) / chosen.sum(axis=0)
            worth[a, s] = having - values[0, a, s, 1:]
    found = {"temperature": (axes, temperatures), "member_value": ((*axes, "member"), worth)}
    both = np.concatenate([values, values - values[:, :, :1]])
    for name, of in zip(BY_SIZE, both, strict=True):
        for end, numbers in zip(ENDS, interval(of[..., 0], of[..., 1:]), strict=True):
            found[f"{name}{end}"] = axes, numbers
    return found | {"size": listed}


def _scored(
    logits: np.ndarray, labels: np.ndarray, average: str, temperature: float, chosen: np.ndarray
) -> Float[np.ndarray, "10 E"]:
    """Judge ensembles before and after temperature, some at a time."""
    rows, found = max(1, NUMBERS // logits[0].size), []
    for start in range(0, len(chosen), rows):
        logs = together(logits, chosen[start : start + rows], average)
        plain, after = (softmax(logs / np.float32(t), axis=0) for t in (1.0, temperature))
        found.append(np.concatenate([scores(plain, labels), scores(after, labels)]))
    known = np.repeat([1.0, 1.0 + 0.0 * temperature], len(SCORES))  # nan where that is
    return np.concatenate(found, axis=1) * known[:, None]


def reliability(
    probabilities: Float[np.ndarray, "K E N"], labels: Int[np.ndarray, " N"]
) -> Float[np.ndarray, "3 J"]:
    """Compare confidence with accuracy in BINS bins of equal width of the top probability.

    Returns:
      Of each bin: its share of the answers, their mean confidence, and how many are right; the last
      two nan where it is empty.
    """
    top, right = probabilities.max(axis=0), probabilities.argmax(axis=0) == labels
    places = np.searchsorted(EDGES[1:-1], top).ravel()
    counts, *sums = (np.bincount(places, x, BINS) for x in (None, top.ravel(), right.ravel()))
    some = np.where(counts, counts, np.nan) + 0 * top[0, 0]  # nan of nan
    return np.stack([counts / places.size, *(x / some for x in sums)])


def disagreement(probabilities: Float[np.ndarray, "K M N"]) -> Float[np.ndarray, " N"]:
    """Give the mutual information of class and member, nats: H(mean of p) - mean of H(p).

    Source:
      Lakshminarayanan, Pritzel, Blundell 2017, sec. 3.5 (its sum of divergences over M).
    """
    return entr(probabilities.mean(axis=1)).sum(axis=0) - entr(probabilities).sum(0).mean(0)


def selective(sure: Float[np.ndarray, "E N"], right: Bool[np.ndarray, "E N"]) -> np.ndarray:
    """Give the accuracy [E, C] on the surest examples, of COVERAGES of all; nan of equally sure.

    Source:
      Geifman, El-Yaniv 2017, "Selective classification for deep neural networks", sec. 2.
    """
    order = np.argsort(-sure, axis=1, kind="stable")
    kept = np.ceil(np.round(COVERAGES * sure.shape[1], 6)).astype(int)
    found = np.cumsum(np.take_along_axis(right, order, 1), axis=1)[:, kept - 1] / kept
    return np.where(np.ptp(sure, axis=1, keepdims=True) > 0, found, np.nan)


def auroc(known: Float[np.ndarray, " N"], strange: Float[np.ndarray, " P"]) -> np.ndarray:
    """Give the probability that a strange picture scores higher than a known one; a tie is a half.

    Returns:
      The value; low and high of its 95 % interval over pictures.

    Source:
      DeLong, DeLong, Clarke-Pearson 1988, "Comparing the areas under two or more correlated
      receiver operating characteristic curves".
    """
    n, p = len(known), len(strange)
    if not p:
        return np.full(3, np.nan)
    rank = scipy.stats.rankdata
    ranks = rank(np.concatenate([known, strange]))
    above = (ranks[n:] - rank(strange)) / n
    below = 1 - (ranks[:n] - rank(known)) / p
    half = scipy.stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(above.var() / p + below.var() / n)
    return above.mean() + half * np.array([0.0, -1.0, 1.0])


def measure(answers: Some, alive: Any, truth: Some, size: int, run: int = 0) -> dict[str, Any]:
    """Measure the ensembles of a population, and how sure the one of its first members is.

    Args:
      answers: logits of all members on the test examples [M, N, K], the validation examples, and
        pictures of none of the classes, of which there may be none: then detection is left out.
      alive: [M], members that did not diverge; of none all numbers are nan.
      truth: labels of the test and the validation examples.
      size: of the ensemble that is held against others: as many as there are, at most.
      run: see `by_size`.

    Returns:
      Name -> (axes, values), see `laid_out`; 'size' and 'equal_size'.
    """
    kept = np.flatnonzero(alive) if alive.any() else np.arange(run or 1)
    test, valid, strange = (np.where(alive.any(), x[kept], 0.0) for x in answers)
    size, labels = min(size, run or len(kept)), truth[0]
    found = by_size((test, valid), truth, size, run)
    axes, worth = found["member_value"]
    found["member_value"] = axes, np.full((*worth.shape[:2], len(alive)), np.nan)
    found["member_value"][1][..., kept] = worth
    known, unknown = (softmax(np.moveaxis(x[:size], 2, 0), axis=0) for x in (test, strange))
    whole = known.mean(axis=1, keepdims=True)
    temperatures = found["temperature"][1][0, [0, found["size"].index(size)]]
    cases = zip((known, whole, known, whole), (1.0, 1.0, *temperatures), strict=True)
    cooled = (softmax(np.log(np.maximum(p, TINY)) / t, axis=0) for p, t in cases)
    bins = zip(*(reliability(p, labels) for p in cooled), strict=True)
    for name, x in zip(("bin_share", "bin_confidence", "bin_accuracy"), bins, strict=True):
        found[name] = ("case", "bin"), np.stack(x)
    sure, unsure = (np.stack([p.mean(1).max(0), -disagreement(p)]) for p in (known, unknown))
    areas = np.stack([auroc(-x, -y) for x, y in zip(sure, unsure, strict=True)], axis=1)
    found |= {f"auroc{end}": ("score", x) for end, x in zip(ENDS, areas, strict=True)}
    right, own = (np.argmax(p, axis=0) == labels for p in (whole, known))
    found["coverage_accuracy"] = ("score", "coverage"), selective(sure, np.repeat(right, 2, 0))
    single = selective(known.max(axis=0), own).mean(axis=0)
    found["coverage_accuracy_single"] = "coverage", single
    if not alive.any():
        found = {k: v if k == "size" else (v[0], v[1] * np.nan) for k, v in found.items()}
    return found | {"equal_size": size}


def laid_out(found: Mapping[str, Mapping[str, Any]]) -> xr.Dataset:
    """Lay populations out along `model`.

    Args:
      found: label -> of `measure`, and what else is known of a population.

    Variables:
      accuracy: share of right answers, mean over the ensembles of a size
      nll: mean of -log p of the right class, mean over the ensembles of a size [nat]
      brier: squared error of probabilities summed over classes, mean over the ensembles of a size
      ece: expected calibration error, 15 bins of equal width
      ece_mass: expected calibration error, 15 bins of equally many examples
      temperature: fitted on the validation examples, one for all ensembles of a size; nan: none
      member_value: accuracy of the ensembles that have a member less that of those without it
      bin_share: share of answers in a bin of the top probability
      bin_confidence: mean top probability in a bin
      bin_accuracy: share of right answers in a bin
      coverage_accuracy: share of right answers among the surest examples, equal_size members
      coverage_accuracy_single: the same of one member, by its own confidence
      auroc: probability that a picture of no class is less sure than a test picture
      auroc_low: lower end of its 95 % interval over pictures
      auroc_high: upper end of it
      kind: what the members are
      equal: what makes it comparable with the ensemble
      equal_size: members that are compared with those of the others
      trainings: what so many cost, in trainings of one member
      parameters: weights of so many networks as answer a picture then
      diverged_step: step whose loss was not finite; -1 = never, 2147483647: no such member [step]
    """
    sets = []
    for one in found.values():
        data = xr.Dataset(dict(one))
        sets.append(data.assign_coords(member=np.arange(data.sizes["member"])))
    fill = {"diverged_step": NO_MEMBER}
    results = described(xr.concat(sets, "model", join="outer", fill_value=fill), laid_out)
    for name in BY_SIZE:
        plain = results[name.removesuffix("_gain").removesuffix("_calibrated")].attrs
        text = plain["long_name"] + ", after temperature" * ("_calibrated" in name)
        text += ", less that of one member" * name.endswith("_gain")
        for end in ENDS:
            said = f"{end[1:]} end of the 95 % interval over members: " * bool(end)
            results[f"{name}{end}"].attrs = plain | {"long_name": said + text}
    axes = {"average": AVERAGES, "case": CASES, "score": SURE, "coverage": COVERAGES}
    return results.assign_coords({"model": list(found)} | {k: [*v] for k, v in axes.items()})
