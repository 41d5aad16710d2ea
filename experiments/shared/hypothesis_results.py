"""From a finished run of hypothesis_class to its figures and tables."""

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
    "curve_truth": ("1", "y of the true curves"),
    "curve_point_x": ("1", "x of the training points of the fits that are kept"),
    "curve_point_y": ("1", "y of the training points, with noise"),
    "curve_start": ("1", "y before training"),
    "curve_fit": ("1", "y after training"),
    "curve_least_squares": ("1", "y of the polynomial of least squared error"),
    "curve_coefficient": ("1", "learned weights of 1, x, x², x³, …; 0 beyond the degree"),
    "curve_train_error": ("1", "mean squared error on the training points"),
    "curve_test_error": ("1", "mean squared error on fresh points, their noise included"),
    "curve_weight_distance": ("1", "mean relative distance of the weights of two starts"),
    "curve_gap": ("1", "root mean square difference to least squares, over its size"),
    "curve_gap_powers": ("1", "curve_gap with weights of the bare powers of x"),
    "curve_expected_error": ("1", "least squares: quantiles of the error over training sets"),
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
    data = run.data
    return curves.curve_fits(
        data["grid"].values,
        data["curve_truth"].values,
        data["curve_point_x"].values,
        data["curve_point_y"].values,
        data["curve_start"].values,
        data["curve_fit"].values,
        _names(data, "curve"),
        _names(data, "family"),
        command=command(run),
    )


def curve_errors(run: Run) -> Figure:
    """Train and test error against degree and number of points."""
    data = run.data
    polynomials = slice(len(data["degree"]))
    return curves.curve_errors(
        data["degree"].values,
        data["exact_size"].values,
        data["curve_expected_error"].values,
        data["size"].values,
        data["curve_train_error"].values[:, polynomials],
        data["curve_test_error"].values[:, polynomials],
        _names(data, "curve"),
        shown=data.sizes["point"],
        noise=float(data.attrs["noise"]),
        num_sets=EXACT_SETS,
        command=command(run),
    )


def starts_meet(run: Run) -> Figure:
    """How far the starts end from least squares and from one another."""
    data = run.data
    return curves.starts_meet(
        data["size"].values,
        data["degree"].values,
        data["curve_gap"].values,
        data["curve_gap_powers"].values,
        data["curve_weight_distance"].sel(size=data.sizes["point"]).values,
        _names(data, "curve"),
        _names(data, "family"),
        shown=data.sizes["point"],
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
        values = _shown_parts(part["decomposition"].values)
        alive = part["diverged_step"].values < 0
        accuracy = (
            np.where(alive, part[f"{kind}_accuracy"].values, np.nan) for kind in ("train", "test")
        )
        sweeps[name] = parts.Sweep(
            part[name].values,
            label,
            ", ".join(_SAME[other].format(middle[other]) for other in same),
            log,
            values[..., 0],
            values[..., 1],
            *(x.reshape(len(x), -1) for x in accuracy),
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
    one = data.sel(size=shown)
    head = ["curve", "formula", "train error", "test error", "gap to least squares", "met"]
    rows = [[*head, "gap with bare powers", "distance of weights"]]
    for c, curve in enumerate(_names(data, "curve")):
        for f, family in enumerate(_names(data, "family")):
            cells = [
                f"{one[f'curve_{k}_error'].values[c, f].mean():.4f}" for k in ("train", "test")
            ]
            met = ["–", "–", "–"]
            if f < data.sizes["degree"]:
                gap = one["curve_gap"].values[c, f]
                powers = data["curve_gap_powers"].values[c, f].max()
                met = [f"{gap.max():.1e}", f"{(gap < MET).sum()} of {gap.size}", f"{powers:.1e}"]
            apart = one["curve_weight_distance"].values[c, f]
            rows.append([curve, family, *cells, *met, f"{apart:.1e}"])
    words = ["bias", *(f"x^{k}" for k in range(1, data.sizes["power"]))]
    found = []
    for c, curve in enumerate(_names(data, "curve")):
        weights = data["curve_coefficient"].values[c]
        for d, degree in enumerate(data["degree"].values):
            if degree == 2:
                terms = (
                    f"{word} {weights[d, :, k].mean():.4f} ± {weights[d, :, k].std():.0e}"
                    for k, word in enumerate(words[:3])
                )
                found.append(f"{curve}, degree 2, learned: {', '.join(terms)} over starts")
    missed = [
        f"{curve}, degree {degree}, {size} points: {int(lost)} of {data.sizes['start']} starts "
        "have not met least squares"
        for c, curve in enumerate(_names(data, "curve"))
        for d, degree in enumerate(data["degree"].values)
        for s, size in enumerate(data["size"].values)
        if (lost := (~(data["curve_gap"].values[c, d, s] < MET)).sum())
    ]
    note = f"{shown} points, {data.sizes['start']} starts; met: a gap below {MET:g}"
    return [*aligned(rows), note, *found, *missed]


def _network_table(data: xr.Dataset) -> list[str]:
    head = ["network", "parameters", "train acc", "test acc", "Brier", "bias²", "sets", "starts"]
    rows = [[*head, "0–1 error", "bias²", "sets", "starts", "main wrong"]]
    for n, name in enumerate(_names(data, "network")):
        one = data.isel(network=n)
        values = _shown_parts(one["decomposition"].values)[..., 0]
        alive = one["diverged_step"].values < 0
        accuracy = (
            one[f"{k}_accuracy"].values[alive].mean() if alive.any() else np.nan
            for k in ("train", "test")
        )
        rows.append(
            [
                name,
                f"{int(one['num_parameters']):,}",
                *(f"{x:.3f}" for x in accuracy),
                *(f"{x:.4f}" for x in values[0]),
                *(f"{x:.4f}" for x in values[1]),
                f"{float(one['main_prediction'][1]):.4f}",
            ]
        )
    lost = int((data["diverged_step"].values >= 0).sum())
    note = (
        f"{data.sizes['member']} starts × {data.sizes['training_set']} training sets; error = "
        "bias² + variance between sets + variance between starts on a set; main wrong: share of "
        "test examples whose most frequent vote is wrong"
    )
    return [*aligned(rows), note, *([f"{lost} members diverged and left out"] if lost else [])]


def _names(data: xr.Dataset, coordinate: str) -> list[str]:
    return [str(name) for name in data[coordinate].values]
