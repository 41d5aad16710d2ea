"""From a finished run of hypothesis_class to its figures and tables."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import bias_variance as parts
from catdog_jax.figures import hypothesis_class as curves
from catdog_jax.store import Run
from experiments.shared.curve_fits import EXACT_SETS, MET
from experiments.shared.figures import command
from experiments.shared.report import aligned

DESCRIPTIONS = {
    "width": ("1", "units of each hidden layer"),
    "depth": ("1", "hidden layers"),
    "num_examples": ("1", "of each training set"),
    "num_parameters": ("1", "weights of one member"),
    "train_loss": ("nats", "cross-entropy on a fixed part of the training set, final weights"),
    "train_accuracy": ("1", "accuracy on a fixed part of the training set, final weights"),
    "test_loss": ("nats", "cross-entropy on all test examples, final weights"),
    "test_accuracy": ("1", "accuracy on all test examples, final weights"),
    "diverged_step": ("step", "step whose loss or gradient was not finite; -1 = never"),
    "logits": ("nats", "of the final weights on the test examples"),
    "label": ("1", "class index of the test examples"),
    "decomposition": ("1", "error and its parts, averaged over the test examples"),
    "main_prediction": ("1", "zero-one loss and its parts around the main prediction"),
}


def curve_fits(run: Run) -> Figure:
    """Every start's fit of every formula."""
    shown = ("curve_truth", "curve_point_x", "curve_point_y", "curve_start", "curve_fit")
    values = _values(run.data, "grid", *shown, "curve", "family")
    return curves.curve_fits(*values, command=command(run))


def curve_errors(run: Run) -> Figure:
    """Train and test error against degree and number of points."""
    data = run.data.isel(family=slice(-1))  # the polynomials
    shown = ("curve_expected_error", "size", "curve_train_error", "curve_test_error")
    return curves.curve_errors(
        *_values(data, "degree", "exact_size", *shown, "curve"),
        shown=data.sizes["point"],
        noise=float(data.attrs["noise"]),
        num_sets=EXACT_SETS,
        command=command(run),
    )


def starts_meet(run: Run) -> Figure:
    """How far the starts end from least squares and from one another."""
    data, shown = run.data, run.data.sizes["point"]
    return curves.starts_meet(
        *_values(data, "size", "degree", "curve_gap", "curve_gap_powers"),
        *_values(data.sel(size=shown), "curve_weight_distance", "curve", "family"),
        shown=shown,
        met=MET,
        num_steps=int(data.attrs["curve_steps"]),
        command=command(run),
    )


def bias_variance(run: Run) -> Figure:
    """Bias and variance against width, depth, and number of training examples."""
    data = run.data
    middle = {name: int(data.attrs[f"middle_{name}"]) for name in _SWEEPS}
    sweeps = {}
    for name, (label, log) in _SWEEPS.items():
        same = [other for other in _SWEEPS if other != name]
        chosen = np.all([data[other].values == middle[other] for other in same], axis=0)
        part = data.isel(network=np.flatnonzero(chosen)).sortby(name)
        sweeps[name] = parts.Sweep(
            part[name].values,
            label,
            ", ".join(_SAME[other].format(middle[other]) for other in same),
            log,
            *np.moveaxis(_shown_parts(part["decomposition"].values), -1, 0),
            *(_alive(part, k).values.reshape(len(part[name]), -1) for k in ("train", "test")),
        )
    return parts.bias_variance(
        sweeps,
        num_starts=data.sizes["member"],
        num_sets=data.sizes["training_set"],
        disjoint=bool(data.attrs["disjoint"]),
        command=command(run),
    )


_SWEEPS = {
    "width": ("units of each hidden layer", True),
    "depth": ("hidden layers", False),
    "num_examples": ("training examples", True),
}
_SAME = {"width": "width {}", "depth": "depth {}", "num_examples": "{:,} examples"}


def _shown_parts(decomposition: np.ndarray) -> np.ndarray:
    """Put the variance of starts and of pairs together, what a start changes on a given set.

    Of their sum the standard error is taken as if they were independent.
    """
    value, error = decomposition[..., 0], decomposition[..., 1]
    starts = value[..., 3] + value[..., 4]
    spread = np.hypot(error[..., 3], error[..., 4])
    return np.stack(
        [
            np.concatenate([value[..., :3], starts[..., None]], axis=-1),
            np.concatenate([error[..., :3], spread[..., None]], axis=-1),
        ],
        axis=-1,
    )


def tables(data: xr.Dataset) -> str:
    """Write the tables that end a run."""
    return "\n".join([*_curve_table(data), "", *_network_table(data)])


def _curve_table(data: xr.Dataset) -> list[str]:
    shown = data.sizes["point"]
    head = ["curve", "formula", "train error", "test error", "gap to least squares", "met"]
    rows, found = [[*head, "gap with bare powers", "distance of weights"]], []
    for curve in map(str, data["curve"].values):
        one = data.sel(curve=curve, size=shown)
        for family in map(str, one["family"].values):
            fit, met = one.sel(family=family), ["–", "–", "–"]
            if family != "network":
                exact = one.sel(degree=int(family.removeprefix("degree ")))
                gap, powers = exact["curve_gap"].values, exact["curve_gap_powers"].values.max()
                met = [f"{gap.max():.1e}", f"{(gap < MET).sum()} of {gap.size}", f"{powers:.1e}"]
            errors = (f"{fit[f'curve_{k}_error'].values.mean():.4f}" for k in ("train", "test"))
            apart = f"{float(fit['curve_weight_distance']):.1e}"
            rows.append([curve, family, *errors, *met, apart])
        if 2 in one["degree"]:
            weights = one["curve_coefficient"].sel(degree=2).values.T
            terms = (
                f"{word} {values.mean():.4f} ± {values.std():.0e}"
                for word, values in zip(("bias", "x^1", "x^2"), weights[:3], strict=True)
            )
            found.append(f"{curve}, degree 2, learned: {', '.join(terms)} over starts")
    lost = (~(data["curve_gap"] < MET)).sum("start").to_series()
    missed = [
        f"{curve}, degree {degree}, {size} points: {count} of {data.sizes['start']} starts "
        "have not met least squares"
        for (curve, degree, size), count in lost[lost > 0].items()
    ]
    note = f"{shown} points, {data.sizes['start']} starts; met: a gap below {MET:g}"
    return [*aligned(rows), note, *found, *missed]


def _network_table(data: xr.Dataset) -> list[str]:
    head = ["network", "parameters", "train acc", "test acc", "Brier", "bias²", "sets", "starts"]
    rows = [[*head, "0–1 error", "bias²", "sets", "starts", "main wrong"]]
    for name in map(str, data["network"].values):
        one = data.sel(network=name)
        values = [*_shown_parts(one["decomposition"].values)[..., 0].ravel()]
        rows.append(
            [
                name,
                f"{int(one['num_parameters']):,}",
                *(f"{float(_alive(one, kind).mean()):.3f}" for kind in ("train", "test")),
                *(f"{x:.4f}" for x in [*values, float(one["main_prediction"][1])]),
            ]
        )
    lost = int((data["diverged_step"] >= 0).sum())
    note = (
        f"{data.sizes['member']} starts × {data.sizes['training_set']} training sets; error = "
        "bias² + variance between sets + variance between starts on a set; main wrong: share of "
        "test examples whose most frequent vote is wrong"
    )
    return [*aligned(rows), note, *([f"{lost} members diverged and left out"] if lost else [])]


def _alive(data: xr.Dataset, kind: str) -> xr.DataArray:
    return data[f"{kind}_accuracy"].where(data["diverged_step"] < 0)


def _values(data: xr.Dataset, *names: str) -> list[Any]:
    arrays = (data[name].values for name in names)
    return [array.tolist() if array.dtype.kind in "OU" else array for array in arrays]
