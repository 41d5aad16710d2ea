"""The tables of hypothesis_class, and what its variables are."""

import xarray as xr

from experiments.shared.curve_fits import MET
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
    "error_part": ("1", "decomposition, the variance of starts and of pairs in one"),
    "main_prediction": ("1", "zero-one loss and its parts around the main prediction"),
}


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
        values = [*one["error_part"].values[..., 0].ravel()]
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
