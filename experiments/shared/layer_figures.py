"""From the probes of a run to its figures and its table."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from catdog_jax.figures import layer_maps, layers
from catdog_jax.store import Run
from experiments.shared.figures import chance, command, models, source
from experiments.shared.report import aligned

# The factors of the drawn pictures that are shown; results.nc has all.
GROUPS: Mapping[str, Sequence[str]] = {
    "cues of the class": (
        *("ear_hang", "ear_angle", "ear_length", "muzzle_length", "nose_size"),
        *("nose_pink", "pupil_width", "whisker_length", "head_width", "body_width"),
    ),
    "pose": ("head_x", "head_y", "scale", "tilt", "yaw"),
    "light": ("light_angle (cos)", "light_angle (sin)", "light_strength"),
    "coat and scene": (
        *("fur_hue", "fur_value", "background_value", "background_hue (cos)"),
        *("clutter", "occlusion", "noise"),
    ),
}
MOST_FACTORS = 32  # shown of a data set with factors of its own


def class_by_layer(run: Run) -> Figure:
    """Accuracy of linear probes of the class, layer by layer."""
    data = run.data
    return layers.class_by_layer(
        data["probe_accuracy"].values,
        data["head_accuracy"].values,
        data["ridge_accuracy"].values,
        _layers(data),
        models(run),
        chance=chance(run),
        command=command(run),
        note=_note(run),
    )


def neighbours_by_layer(run: Run) -> Figure:
    """Accuracy of nearest centroid and nearest neighbours, layer by layer."""
    data = run.data
    k = data.attrs["neighbours"]
    rules = {
        "nearest class average": data["centroid_accuracy"].values,
        f"{k} nearest neighbours": data["neighbour_accuracy"].values,
    }
    return layers.neighbours_by_layer(
        rules,
        _layers(data),
        models(run),
        chance=chance(run),
        command=command(run),
        note=_note(run),
    )


def factors_by_layer(run: Run) -> Figure | None:
    """R² of linear probes of the drawing factors; None where nothing is known but the class."""
    data = run.data
    names = [str(name) for name in data["factor"].values]
    if not names:
        return None
    return layer_maps.factors_by_layer(
        _median(data["factor_r2"].values, axis=2),
        data["label_r2"].values,
        groups(names),
        names,
        _layers(data),
        models(run),
        num_members=data.sizes["member"],
        command=command(run),
        note=_note(run),
    )


def alignment(run: Run) -> Figure:
    """Alignment of layers within a network, between networks, and with the start."""
    data = run.data
    note = (
        f"Averages over the first {data.sizes['cka_member']} members, or over their pairs, on "
        f"{data.attrs['cka_examples']:,} test pictures. "
    )
    return layer_maps.alignment(
        alignment_maps(data["cka"].values),
        _layers(data),
        models(run),
        command=command(run),
        note=note + source(run),
    )


def groups(names: Sequence[str]) -> dict[str, list[int]]:
    """Sort factors into those of the drawn pictures that are shown, or show the first of any."""
    place = {name: index for index, name in enumerate(names)}
    found = {
        title: [place[name] for name in members if name in place]
        for title, members in GROUPS.items()
    }
    found = {title: members for title, members in found.items() if members}
    return found or {"factors": list(range(min(len(names), MOST_FACTORS)))}


def alignment_maps(cka: np.ndarray) -> dict[str, np.ndarray]:
    """Average the alignment of all layers of all members, [P, 2, M, L, 2, M, L], into maps.

    Returns:
      What is compared -> [P, L, L]; nan where there is one member only, and so no pair.
    """
    num_members = cka.shape[2]
    same = np.eye(num_members, dtype=bool)

    def mean(when: int, other: int, pairs: np.ndarray) -> np.ndarray:
        chosen = np.moveaxis(cka[:, when, :, :, other], 3, 2)[:, pairs]
        there = np.isfinite(chosen)
        total = np.where(there, chosen, 0.0).sum(axis=1)
        return np.where(there.any(axis=1), total / np.maximum(there.sum(axis=1), 1), np.nan)

    # Rows are layers of the first named, columns of the second.
    maps = {}
    for when, word in enumerate(("at the start", "trained")):
        maps[f"one network, {word}"] = mean(when, when, same)
        maps[f"two networks, {word}"] = mean(when, when, ~same)
    maps["one network, start (down) and trained (across)"] = mean(0, 1, same)
    return maps


def table(data: xr.Dataset) -> str:
    """Write what probes read off the input, the last features and the network itself.

    Args:
      data: of `results.nc`.
    """
    head = ["model", "pixels", "ridge, start", "ridge, trained", "own answer", "same answer"]
    head += ["centroid", f"{data.attrs['neighbours']}-NN"]
    shown = [f for f in ("ear_hang", "muzzle_length", "head_x", "tilt") if f in data["factor"]]
    head += [f"{name} R²" for name in shown]
    rows = [head]
    for entry in data["model"].values:
        one = data.sel(model=entry)
        last = int(one["num_layers"]) - 2
        before, after = one.sel(when="before"), one.sel(when="after")
        cells = [
            before["probe_accuracy"][:, 0],
            before["ridge_accuracy"],
            after["ridge_accuracy"],
            after["head_accuracy"],
            after["ridge_agreement"],
            after["centroid_accuracy"][:, last],
            after["neighbour_accuracy"][:, last],
        ]
        factors = [
            f"{_number(before['factor_r2'].sel(factor=f)[:, 0])} → "
            f"{_number(after['factor_r2'].sel(factor=f)[:, last])}"
            for f in shown
        ]
        rows.append([str(entry), *map(_number, cells), *factors])
    return "\n".join(
        [
            *aligned(rows),
            f"medians of {data.sizes['member']} members. pixels, ridge: test accuracy of ridge "
            "regression on the input and, in the head's place, on the last features; own answer: "
            "of the trained network; same answer: share of test examples on which the two agree; "
            "centroid, NN: on the last features",
            *(["R²: of the factor read off the pixels → off the last features"] if shown else []),
        ]
    )


def _number(values: xr.DataArray) -> str:
    there = values.values[np.isfinite(values.values)]
    return f"{np.median(there):.3f}" if there.size else "–"


def _layers(data: xr.Dataset) -> list[list[str]]:
    counts = data["num_layers"].values
    rows = data["layer_name"].values
    return [[str(name) for name in row[:n]] for row, n in zip(rows, counts, strict=True)]


def _median(values: np.ndarray, axis: int) -> np.ndarray:
    masked = np.ma.median(np.ma.masked_invalid(values), axis=axis)
    return np.asarray(np.ma.filled(masked, np.nan), np.float64)


def _note(run: Run) -> str:
    facts = run.data.attrs
    return (
        f"{facts['probe_train_examples']:,} training and {facts['probe_test_examples']:,} test "
        f"examples; layers of more than {facts['probe_features']} numbers are mixed down to so "
        f"many. {source(run)}"
    )
