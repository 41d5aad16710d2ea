"""From a finished run to its figures: picks the arrays, `catdog_jax.figures` draws them.

Matplotlib is imported where a figure is drawn: a run should begin to train at once.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from catdog_jax.analysis import agreement, first_layer, trajectory
from catdog_jax.store import Run
from experiments.shared.report import summaries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_MEMBERS = 5


def draw(run: Run, folder: Path, table: Mapping[str, Callable[[Run], "Figure | None"]]) -> None:
    """Draw every figure of a table into `folder/figures`, where it is not there yet.

    A figure that has nothing to show in this run is None, and left out. Two processes that print
    the same finished run may draw at the same time.
    """
    place = folder / "figures"
    place.mkdir(exist_ok=True)
    stamp = f"{run.data.sizes['member']} members"
    for name, figure in table.items():
        path = place / f"{name}.png"
        if path.exists() and _stamp(path) == stamp:
            continue
        if sys.stderr.isatty():
            print(f"drawing {name} …", end="\r", file=sys.stderr, flush=True)
        drawn = figure(run)
        if drawn is None:
            continue
        part = place / f"{name}.{os.getpid()}.part"
        try:
            drawn.savefig(part, format="png", dpi=150, metadata={"Comment": stamp})
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def learning_curves(run: Run) -> "Figure":
    """Accuracy over steps, every member."""
    from catdog_jax.figures import learning_curves as curves

    data = run.data
    return curves.learning_curves(
        data["step"].values,
        data["train_accuracy"].values,
        data["test_accuracy"].values,
        data["diverged_step"].values,
        models(run),
        chance=chance(run),
        command=command(run),
        note=source(run),
    )


def final_accuracy(run: Run) -> "Figure":
    """Final test accuracy of every member."""
    from catdog_jax.figures import final_accuracy as final

    return final.final_accuracy(
        run.data["test_accuracy"].values[:, :, -1],
        np.array([row.ensemble_accuracy for row in summaries(run.data)]),
        run.data["diverged_step"].values,
        models(run),
        chance=chance(run),
        command=command(run),
        note=source(run),
    )


def disagreement(run: Run) -> "Figure":
    """On how many test examples every two members disagree."""
    from catdog_jax.figures import pairwise

    return pairwise.disagreement(
        _alive_pairs(run, "disagreement"), models(run), command=command(run), note=source(run)
    )


def weight_distance(run: Run) -> "Figure":
    """How far apart the final weights of every two members lie."""
    from catdog_jax.figures import pairwise

    return pairwise.weight_distance(
        _alive_pairs(run, "relative_weight_distance"),
        models(run),
        command=command(run),
        note=source(run),
    )


def trajectories(run: Run) -> "Figure":
    """Every member's path in the plane of its model's two principal components."""
    from catdog_jax.figures import trajectories as paths

    planes = [trajectory.principal_plane(sketches) for sketches in run.data["sketch"].values]
    return paths.trajectories(
        np.stack([plane.coordinates for plane in planes]),
        np.stack([plane.explained for plane in planes]),
        run.data["diverged_step"].values,
        models(run),
        command=command(run),
        note=source(run),
    )


def first_layer_weights(run: Run) -> "Figure | None":
    """What the first layer of several members looks for; None where no model reads pixels so."""
    from catdog_jax.figures import first_layer as layer

    if "picture" not in run.data:
        return None
    shape = tuple(run.manifest["inputs"]["shape"])
    pictures = {}
    for entry in models(run):
        kernel = first_layer.first_kernel(run.params[entry], shape)
        if kernel is None:
            continue
        kernel = kernel[:SHOWN_MEMBERS]
        two_classes = kernel.ndim == 3 and kernel.shape[2] == 2 == run.data.sizes["class"]
        make = first_layer.class_difference if two_classes else first_layer.weight_pictures
        pictures[entry] = make(kernel, shape)
    if not pictures:
        return None
    return layer.first_layer(
        pictures,
        num_members=run.data.sizes["member"],
        command=command(run),
        note=source(run),
        max_members=SHOWN_MEMBERS,
    )


def data_sheet(run: Run) -> "Figure | None":
    """Test pictures with the votes of the last model's members; None where there are none."""
    from catdog_jax.figures import data_sheet as sheet

    data = run.data
    if "picture" not in data:
        return None
    shown = data["picture_example"].values
    alive = data["diverged_step"].values[-1] < 0
    logits = data["logits"].values[-1][alive if alive.any() else slice(None)]
    return sheet.data_sheet(
        data["picture"].values,
        data["label"].values[shown],
        agreement.votes(logits[:, shown]),
        [str(name) for name in data["class"].values],
        model=models(run)[-1],
        num_members=len(logits),
        command=command(run),
        note=f"{source(run)} The run keeps {len(shown)} of them.",
    )


def models(run: Run) -> list[str]:
    """The entries of --models."""
    return [str(entry) for entry in run.data["model"].values]


def chance(run: Run) -> float:
    """Accuracy of always saying the most frequent class of the test examples."""
    counts = np.bincount(run.data["label"].values, minlength=run.data.sizes["class"])
    return float(counts.max() / counts.sum())


def command(run: Run) -> str:
    """The command that makes the run."""
    return str(run.manifest["command"])


def source(run: Run) -> str:
    """One sentence on the data."""
    kind = run.manifest.get("inputs", {}).get("kind", "images")
    noun = {"images": "pictures", "tokens": "sentences"}.get(kind, "examples")
    return f"Data: {run.data.attrs['dataset']}, {run.data.sizes['example']:,} test {noun}."


def _alive_pairs(run: Run, name: str) -> np.ndarray:
    values = run.data[name].values.copy()
    lost = run.data["diverged_step"].values >= 0
    values[lost[:, :, None] | lost[:, None, :]] = np.nan
    return values


def _stamp(path: Path) -> str:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return str(image.info.get("Comment", ""))
    except OSError:  # damaged: it is drawn again
        return ""
