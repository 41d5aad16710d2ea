"""What members see, compared and laid out: the data set and the table of attribution."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from catdog_jax.analysis import attribution
from catdog_jax.store import Run
from experiments.shared.member_maps import Answers, Maps, Question, ask
from experiments.shared.progress import Progress
from experiments.shared.report import aligned
from experiments.shared.results import described

METHODS = ("saliency", "integrated gradients", "occlusion")
KINDS = ("same picture", "other pictures", "before training")
MEASURES = ("rank of sizes", "signed")


def assemble(
    run: Run, labels: Sequence[str], members: Sequence[int], question: Question
) -> xr.Dataset:
    """Ask all members of all models, compare their maps, and lay everything out.

    Args:
      run, members, question: see `ask`.
      labels: the models.

    Returns:
      Data set with the dimensions model, member, picture, row, column and others.
    """
    answers = []
    with Progress("maps", 3 * len(labels) * len(members), "maps of a member") as bar:
        counted = itertools.count(1)
        for label in labels:
            answers.append(ask(run, label, members, question, lambda: bar.to(next(counted))))
    compared = [_compare(answer, question.labels) for answer in answers]
    each, pictures = ("model", "member"), ("model", "member", "picture")
    pixels, windows = ("row", "column"), ("window_row", "window_column")
    pairs = ("measure", "kind", "map", "model", "member", "other_member")

    def stack(read: Callable[[Answers], Any]) -> np.ndarray:
        return np.stack([read(answer) for answer in answers])

    variables: dict[str, Any] = {
        "picture_pixels": (("picture", *pixels, "channel"), question.images),
        "label": (("picture",), question.labels),
        "picture_example": (
            ("picture",),
            run.data["picture_example"].values[question.shown],
        ),
        "completeness_gap": (pictures, stack(lambda a: a.after.gap)),
        "completeness_gap_before": (pictures, stack(lambda a: a.before.gap)),
        "agreement": (pairs, np.stack([c[0] for c in compared], axis=3)),
        "agreement_with_own_start": (
            ("measure", "map", *each),
            np.stack([c[1] for c in compared], axis=2),
        ),
        "maximising_input": (
            (*each, "class", *pixels, "channel"),
            stack(lambda a: a.images),
        ),
        "maximising_score": ((*each, "class"), stack(lambda a: a.scores)),
        "maximising_start_score": ((*each, "class"), stack(lambda a: a.start_scores)),
        "maximising_logits": (
            (*each, "class", "judge", "logit"),
            stack(lambda a: a.judged),
        ),
        "maximising_agreement": (
            ("model", "class", "member", "other_member"),
            np.stack([_alike(answer.images) for answer in answers]),
        ),
    }
    for suffix in ("", "_before"):
        maps = [a.after if suffix == "" else a.before for a in answers]
        variables |= {
            f"saliency{suffix}": ((*pictures, *pixels, "channel"), _field(maps, 0)),
            f"integrated_gradients{suffix}": ((*pictures, *pixels), _field(maps, 1)),
            f"occlusion{suffix}": ((*pictures, *windows), _field(maps, 2)),
            f"score{suffix}": (pictures, _field(maps, 3)),
            f"baseline_score{suffix}": (pictures, _field(maps, 4)),
        }
    for index, answer in enumerate(answers):
        if answer.layer is not None:
            own = [f"{name}_{index}" for name in ("unit", "kernel_row", "kernel_column")]
            variables[f"first_layer_{index}"] = (
                ("moment", "member", *own, "channel"),
                answer.layer,
            )
    coordinates = {
        "model": np.array(list(labels), dtype=object),
        "member": np.asarray(members),
        "class": np.array(run.manifest["inputs"]["class_names"], dtype=object),
        "kind": np.array(KINDS, dtype=object),
        "map": np.array(METHODS, dtype=object),
        "measure": np.array(MEASURES, dtype=object),
        "moment": np.array(["before", "after"], dtype=object),
    }
    data = xr.Dataset(variables, coordinates)
    data.attrs = {
        "dataset": str(run.data.attrs["dataset"]),
        "window": question.window,
        "stride": question.stride,
    }
    return described(data, _DESCRIPTIONS)


def _field(maps: Sequence[Maps], index: int) -> np.ndarray:
    return np.stack([member_maps[index] for member_maps in maps])


def _compare(answer: Answers, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlate the maps of M members: [measure, kind, method, M, M] and [measure, method, M]."""
    agreements, own = [], []
    for rank in (True, False):
        rows, starts = [], []
        for after, before in zip(
            _flat(answer.after, rank), _flat(answer.before, rank), strict=True
        ):
            correlations = attribution.map_correlations(after, rank=rank)
            rows.append(
                [
                    attribution.same_picture(correlations),
                    attribution.other_picture(correlations, labels),
                    attribution.same_picture(attribution.map_correlations(before, rank=rank)),
                ]
            )
            crossed = attribution.map_correlations(after, before, rank=rank)
            starts.append(np.diagonal(attribution.same_picture(crossed)))
        agreements.append(np.moveaxis(np.asarray(rows), 1, 0))
        own.append(starts)
    return np.asarray(agreements), np.asarray(own)


def _flat(maps: Maps, sizes: bool) -> list[np.ndarray]:
    """Lay each map out as one row: its sizes, saliency's over the colours, or its signed values."""
    saliency = np.abs(maps.saliency).max(axis=-1) if sizes else maps.saliency
    found = [saliency, maps.integrated, maps.occlusion]
    return [
        np.abs(m).reshape(*m.shape[:2], -1) if sizes else m.reshape(*m.shape[:2], -1) for m in found
    ]


def _alike(images: np.ndarray) -> np.ndarray:
    """Correlate the members' maximising inputs of each class, [K, M, M]."""
    flat = np.moveaxis(images.reshape(*images.shape[:2], -1), 0, 1)
    each = [attribution.map_correlations(one[:, None]) for one in flat]
    return np.stack([correlations[:, 0, :, 0] for correlations in each])


def table(data: xr.Dataset) -> str:
    """Write the table that ends a run."""
    rank = data["agreement"].sel(measure="rank of sizes")
    signed = data["agreement"].sel(measure="signed", kind=KINDS[0])
    own = data["agreement_with_own_start"].sel(measure="rank of sizes")
    rows = [["model", "map", *KINDS, "own start", "signed, same picture"]]
    for model in data["model"].values:
        for method in METHODS:
            at = {"model": model, "map": method}
            values = [mean_pair(rank.sel(kind=kind, **at).values) for kind in KINDS]
            values += [float(own.sel(at).mean()), mean_pair(signed.sel(at).values)]
            rows.append([str(model), method, *map(_number, values)])
    seen = [["model", "completeness error", "maximising inputs alike", "convince other members"]]
    for model in data["model"].values:
        one = data.sel(model=model)
        change = float(np.sqrt(((one["score"] - one["baseline_score"]) ** 2).mean()))
        error = float(abs(one["completeness_gap"]).max()) / change if change else np.nan
        alike = np.mean([mean_pair(x) for x in one["maximising_agreement"].values])
        said = one["maximising_logits"].values.argmax(-1)  # [maker, class, judge]
        right = np.moveaxis(said == np.arange(said.shape[1])[None, :, None], 1, 0).mean(0)
        seen.append([str(model), f"{error:.1e}", _number(float(alike)), _number(mean_pair(right))])
    return "\n".join(
        [
            *aligned(rows),
            "Spearman's correlation of the sizes of two members' maps (signed: Pearson's of the "
            "maps), mean over pairs;",
            "own start: the same member before and after training",
            "",
            *aligned(seen),
            "completeness error: largest gap of the integral over the typical change of the score; "
            "convince: share of inputs that another member puts into the class they were made for",
        ]
    )


def mean_pair(values: np.ndarray) -> float:
    """Average a matrix [M, M] over pairs of different members; nan where there is none."""
    found = values[~np.eye(len(values), dtype=bool)].astype(np.float64)
    found = found[np.isfinite(found)]
    return float(found.mean()) if found.size else np.nan


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


_DESCRIPTIONS = {
    "picture_pixels": ("grey level", "test pictures that were asked about"),
    "label": ("1", "their true class"),
    "picture_example": ("1", "their index among the test examples of the run"),
    "score": ("logit", "true class against the mean of the others, trained weights"),
    "score_before": ("logit", "likewise, starting weights"),
    "baseline_score": ("logit", "score of the picture of the mean colour"),
    "baseline_score_before": ("logit", "likewise, starting weights"),
    "saliency": ("logit per deviation", "gradient of the score by the normalised pixels"),
    "saliency_before": ("logit per deviation", "likewise, starting weights"),
    "integrated_gradients": ("logit", "share of each pixel in score - baseline_score"),
    "integrated_gradients_before": ("logit", "likewise, starting weights"),
    "occlusion": ("logit", "drop of the score when a square is covered with the mean colour"),
    "occlusion_before": ("logit", "likewise, starting weights"),
    "completeness_gap": ("logit", "sum of integrated_gradients - (score - baseline_score)"),
    "completeness_gap_before": ("logit", "likewise, starting weights"),
    "agreement": ("1", "mean correlation of the maps of two members"),
    "agreement_with_own_start": ("1", "of a member's maps before and after training"),
    "maximising_input": ("1", "input of the largest score of each class, pixels in 0..1"),
    "maximising_score": ("logit", "its class against the others"),
    "maximising_start_score": ("logit", "of the noise that it began with"),
    "maximising_logits": ("logit", "that every member (judge) gives to every maximising input"),
    "maximising_agreement": ("1", "correlation of the maximising inputs of two members"),
}
