"""From the probes of a run to its figures and its table."""

from collections.abc import Mapping, Sequence
from typing import Any

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
        **_caption(run),
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
        rules, _layers(data), models(run), chance=chance(run), **_caption(run)
    )


def factors_by_layer(run: Run) -> Figure | None:
    """R² of linear probes of the drawing factors; None where nothing is known but the class."""
    data = run.data
    names = [str(name) for name in data["factor"].values]
    if not names:
        return None
    return layer_maps.factors_by_layer(
        data["factor_r2"].median("member").values,
        data["label_r2"].values,
        groups(names),
        names,
        _layers(data),
        models(run),
        num_members=data.sizes["member"],
        **_caption(run),
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
    found = {
        title: [names.index(f) for f in group if f in names] for title, group in GROUPS.items()
    }
    found = {title: places for title, places in found.items() if places}
    return found or {"factors": list(range(min(len(names), MOST_FACTORS)))}


def alignment_maps(cka: np.ndarray) -> dict[str, np.ndarray]:
    """Average the alignment of all layers of all members, [P, 2, M, L, 2, M, L], into maps.

    Returns:
      What is compared -> [P, L, L]; nan where there is one member only, and so no pair.
    """
    same = np.eye(cka.shape[2], dtype=bool)

    def mean(when: int, other: int, pairs: np.ndarray) -> np.ndarray:
        chosen = np.moveaxis(cka[:, when, :, :, other], 3, 2)[:, pairs]
        return np.ma.masked_invalid(chosen).mean(axis=1).filled(np.nan)

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
    shown = [f for f in ("ear_hang", "muzzle_length", "head_x", "tilt") if f in data["factor"]]
    rows = []
    for model in data["model"].values:
        one = data.sel(model=model)
        last = int(one["num_layers"]) - 2
        before, after = one.sel(when="before"), one.sel(when="after")
        cells = {
            "pixels": before["probe_accuracy"][:, 0],
            "ridge, start": before["ridge_accuracy"],
            "ridge, trained": after["ridge_accuracy"],
            "own answer": after["head_accuracy"],
            "same answer": after["ridge_agreement"],
            "centroid": after["centroid_accuracy"][:, last],
            f"{data.attrs['neighbours']}-NN": after["neighbour_accuracy"][:, last],
        }
        written = {name: _number(values) for name, values in cells.items()}
        for name in shown:
            pixels, features = before["factor_r2"][:, 0], after["factor_r2"][:, last]
            written[f"{name} R²"] = " → ".join(
                _number(values.sel(factor=name)) for values in (pixels, features)
            )
        rows.append([str(model), *written.values()])
    return "\n".join(
        [
            *aligned([["model", *written], *rows]),
            f"medians of {data.sizes['member']} members. pixels, ridge: test accuracy of ridge "
            "regression on the input and, in the head's place, on the last features; own answer: "
            "of the trained network; same answer: share of test examples on which the two agree; "
            "centroid, NN: on the last features",
            *(["R²: of the factor read off the pixels → off the last features"] if shown else []),
        ]
    )


def _number(values: xr.DataArray) -> str:
    median = float(values.median())
    return "–" if np.isnan(median) else f"{median:.3f}"


def _layers(data: xr.Dataset) -> list[list[str]]:
    counts = data["num_layers"].values
    rows = data["layer_name"].values
    return [[str(name) for name in row[:n]] for row, n in zip(rows, counts, strict=True)]


def _caption(run: Run) -> dict[str, Any]:
    attrs = run.data.attrs
    note = (
        f"{attrs['probe_train_examples']:,} training and {attrs['probe_test_examples']:,} test "
        f"examples; layers of more than {attrs['probe_features']} numbers are mixed down to so "
        f"many. {source(run)}"
    )
    return {"command": command(run), "note": note}
