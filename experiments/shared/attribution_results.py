"""Asks members of a finished run what they see in its pictures: data set and table."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from catdog_jax.analysis import attribution, first_layer
from catdog_jax.analysis.maximise import maximising_input
from catdog_jax.analysis.sketch import sketch
from catdog_jax.models.build import build_model, normaliser
from catdog_jax.population import Seeds, member_keys, parse_vary, varied
from catdog_jax.store import Run, open_run
from catdog_jax.types import InputError, Model, Params
from experiments.shared.progress import Progress
from experiments.shared.report import aligned, number
from experiments.shared.results import described

METHODS = ("saliency", "integrated gradients", "occlusion")
KINDS = ("same picture", "other pictures", "before training")
MEASURES = ("rank of sizes", "signed")
NOISE = 0.1  # deviation of the faint noise that maximising inputs begin with
CONTRAST = 1.0  # root mean square of maximising inputs: that of the run's own pictures
VARIATION = 0.015  # price of the total variation, in gradients on the run's own pictures
MOST_UNITS = 8  # of a first layer that are kept
_EACH = ("model", "member")
_PICTURES = (*_EACH, "picture")
_DIMENSIONS: dict[str, tuple[str, ...]] = {
    "saliency": (*_PICTURES, "row", "column", "channel"),
    "integrated_gradients": (*_PICTURES, "row", "column"),
    "occlusion": (*_PICTURES, "window_row", "window_column"),
    **dict.fromkeys(("score", "baseline_score", "completeness_gap"), _PICTURES),
    "agreement": ("measure", "kind", "map", *_EACH, "other_member"),
    "agreement_with_own_start": ("measure", "map", *_EACH),
    "maximising_input": (*_EACH, "class", "row", "column", "channel"),
    **dict.fromkeys(("maximising_score", "maximising_start_score"), (*_EACH, "class")),
    "maximising_logits": (*_EACH, "class", "judge", "logit"),
    "maximising_agreement": ("model", "class", "member", "other_member"),
}


def open_pictures(path: str, wanted: str) -> Run:
    """Open the finished run of --run.

    Args:
      path: as typed.
      wanted: the runs that would do.

    Raises:
      InputError: none given, or no finished run that was trained on pictures.
    """
    if not path:
        raise InputError("--run is missing; give the run folder that a finished command printed")
    run = open_run(path)
    shape = run.manifest.get("inputs", {}).get("shape", ())
    if len(shape) != 3 or "parts" not in run.manifest or "picture" not in run.data:
        raise InputError(
            f"--run={path}: no members trained on pictures in it; give a run folder of {wanted}"
        )
    return run


def build(run: Run, label: str) -> Model:
    """Build the formula of a model of a finished run."""
    entries = {part["model"]: part.get("entry", part["model"]) for part in run.manifest["parts"]}
    inputs = run.manifest["inputs"]
    return build_model(
        entries[label],
        tuple(inputs["shape"]),
        len(inputs["class_names"]),
        mean=tuple(inputs["mean"]),
        std=tuple(inputs["std"]),
    )


def final_params(run: Run, label: str, model: Model, members: Any) -> Params:
    """Give the trained weights of one member (a number) or of some (indices)."""
    stacked = run.params_like(label, jax.eval_shape(model.init, jax.random.key(0)))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[members]), stacked)


def starting_params(run: Run, label: str, model: Model, member: int) -> Params:
    """Draw the weights that a member began with: they are a function of its key.

    Raises:
      RuntimeError: they are not those that the run began with, going by its sketch of them.
    """
    recipe = run.manifest["recipe"]
    table = varied(member + 1, parse_vary(recipe["vary"])).rows(member, member + 1)
    key = member_keys(Seeds(init=int(recipe["init_seed"])), table).init
    params = model.init(key[0] if key.ndim else key)
    kept = run.data["sketch"].sel(model=label).values[member, 0]
    if not np.allclose(sketch(params), kept, rtol=1e-4, atol=1e-4 * np.abs(kept).max()):
        raise RuntimeError(
            f"the starting weights of member {member} of {label} are not drawn here as they were "
            "in the run; use the versions of the libraries that its manifest.json names"
        )
    return params


def assemble(
    run: Run,
    labels: Sequence[str],
    members: Sequence[int],
    rows: np.ndarray,
    steps: int,
    ascent_steps: int,
    seed: int,
) -> xr.Dataset:
    """Ask all members of all models, compare their maps, and lay everything out.

    Args:
      run: a finished run that was trained on pictures.
      labels: its models that are asked.
      members: M member numbers, none of them diverged.
      rows: [P], which of the pictures that the run keeps they are asked about.
      steps: points of the integral of integrated gradients.
      ascent_steps: towards a maximising input.
      seed: of the noise that it begins with.

    Returns:
      Data set with the dimensions model, member, picture, row, column and others.
    """
    images, true = _pictures(run, rows)
    with Progress("maps", 3 * len(labels) * len(members), "maps of a member") as bar:
        counted = itertools.count(1)
        one = functools.partial(ask, run, members, rows, steps, ascent_steps, seed)
        answers = [one(label, lambda: bar.to(next(counted))) for label in labels]
    variables: dict[str, Any] = {
        "picture_pixels": (("picture", "row", "column", "channel"), images),
        "label": (("picture",), true),
        "picture_example": (("picture",), run.data["picture_example"].values[rows]),
    }
    for index, answer in enumerate(answers):
        if "first_layer" in answer:
            own = (f"{name}_{index}" for name in ("unit", "kernel_row", "kernel_column"))
            layer = np.moveaxis(answer.pop("first_layer"), 1, 0)
            variables[f"first_layer_{index}"] = (("moment", "member", *own, "channel"), layer)
    for name in answers[0]:
        dimensions = _DIMENSIONS[name.removesuffix("_before")]
        values = np.stack([answer[name] for answer in answers], axis=dimensions.index("model"))
        variables[name] = (dimensions, values)
    coordinates = {
        "model": list(labels),
        "member": np.asarray(members),
        "class": list(run.manifest["inputs"]["class_names"]),
        "kind": list(KINDS),
        "map": list(METHODS),
        "measure": list(MEASURES),
        "moment": ["before", "after"],
    }
    attrs = {"dataset": str(run.data.attrs["dataset"]), **_cover(images)}
    return described(xr.Dataset(variables, coordinates, attrs), _DESCRIPTIONS)


def _pictures(run: Run, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels = run.data["label"].values[run.data["picture_example"].values[rows]]
    return run.data["picture"].values[rows], labels.astype(np.int32)


def _cover(images: np.ndarray) -> dict[str, Any]:
    """Choose window and stride of the occlusion, in pixels."""
    window = max(min(images.shape[1:3]) // 4, 1)
    return {"window": window, "stride": max(window // 4, 1)}


def ask(
    run: Run,
    members: Sequence[int],
    rows: np.ndarray,
    steps: int,
    ascent_steps: int,
    seed: int,
    label: str,
    progress: Callable[[], None],
) -> dict[str, np.ndarray]:
    """Ask the members of one model.

    Args:
      run, members, rows, steps, ascent_steps, seed: see `assemble`.
      label: the model.
      progress: called after each of the 3 · M parts of the work.

    Returns:
      What the results hold of the model, the first layers as [M, 2, units, h, w, C].
    """
    inputs = run.manifest["inputs"]
    mean, std = (np.asarray(inputs[name], np.float64) for name in ("mean", "std"))
    num_classes = len(inputs["class_names"])
    model = build(run, label)
    pictures, labels = _pictures(run, rows)
    images = normaliser(tuple(mean), tuple(std))(jnp.asarray(pictures))
    scale, offset = (jnp.asarray(255.0 * x, jnp.float32)[None, None, None] for x in (std, mean))

    def apply(params: Params, numbers: Any) -> Any:
        """Apply the formula to pictures given by their normalised numbers."""
        return model.apply(params, scale * numbers + offset)

    contrast = jnp.asarray(attribution.against_others(labels, num_classes))
    classes = attribution.against_others(np.arange(num_classes), num_classes)
    noise = jax.random.key(seed, impl="threefry2x32")

    @jax.jit
    def explain(params: Params, images: Any) -> dict[str, Any]:
        baseline = jnp.zeros_like(images)  # after normalising, the mean colour
        asked = (apply, params, images)
        parts = attribution.integrated_gradients(
            *asked, baseline, contrast, steps=steps, rule="gauss-legendre"
        )
        return {
            "saliency": attribution.saliency(*asked, contrast),
            "integrated_gradients": parts.sum(axis=-1),
            "occlusion": attribution.occlusion(*asked, baseline, contrast, **_cover(images)),
            "score": attribution.scores(*asked, contrast),
            "baseline_score": attribution.scores(apply, params, baseline, contrast),
            "completeness_gap": attribution.completeness_gap(parts, *asked, baseline, contrast),
        }

    low, high = (((pixel - mean) / std).astype(np.float32) for pixel in (0.0, 1.0))
    held: dict[str, Any] = {"variation": VARIATION, "rms": CONTRAST, "low": low, "high": high}
    climb = jax.jit(functools.partial(maximising_input, apply, steps=ascent_steps, **held))
    told: list[dict[str, Any]] = []
    maximised, finals = [], []
    with jax.default_matmul_precision("highest"):
        for member in members:
            start = starting_params(run, label, model, member)
            final = final_params(run, label, model, member)
            maps = jax.device_get(explain(final, images))
            progress()
            before = jax.device_get(explain(start, images))
            progress()
            begin = NOISE * jax.random.normal(
                jax.random.fold_in(noise, member), (num_classes, *images.shape[1:])
            )
            steep = np.sqrt((maps["saliency"].astype(np.float64) ** 2).sum((1, 2, 3)).mean())
            scaled = jnp.asarray(classes / max(steep, 1e-12), jnp.float32)
            best = jax.device_get(climb(final, begin, scaled))
            progress()
            maps |= {f"{name}_before": values for name, values in before.items()}
            maps["maximising_score"] = best.scores * steep
            maps["maximising_start_score"] = best.start_scores * steep
            layer = _first_layer([start, final], tuple(inputs["shape"]), num_classes)
            told.append(maps if layer is None else maps | {"first_layer": layer})
            maximised.append(best.images)
            finals.append(final)
        judge = jax.jit(apply)
        seen = jnp.asarray(np.concatenate(maximised))
        judged = np.stack([np.asarray(judge(params, seen)) for params in finals], axis=1)
    answer = {name: np.stack([one[name] for one in told]) for name in told[0]}
    pixels = np.stack(maximised) * std.astype(np.float32) + mean.astype(np.float32)
    answer["maximising_input"] = np.clip(pixels, 0.0, 1.0)
    answer["maximising_logits"] = judged.reshape(len(members), num_classes, *judged.shape[1:])
    flat = answer["maximising_input"].reshape(len(members), num_classes, -1)
    answer["maximising_agreement"] = np.stack(
        [attribution.map_correlations(flat[:, [k]])[:, 0, :, 0] for k in range(num_classes)]
    )
    return answer | _compare(answer, labels)


def _first_layer(moments: list[Params], shape: Any, num_classes: int) -> Any:
    """Lay the first layers of one member out as pictures [moments, units, h, w, C]."""
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *moments)
    kernel = first_layer.first_kernel(stacked, shape)
    if kernel is None:
        return None
    two_classes = kernel.ndim == 3 and kernel.shape[2] == 2 == num_classes
    make = first_layer.class_difference if two_classes else first_layer.weight_pictures
    return make(kernel, shape)[:, :MOST_UNITS]


def _compare(answer: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, np.ndarray]:
    """Correlate the maps of M members, and of each with its own before training."""
    num = len(answer["score"])
    agreement = np.empty((len(MEASURES), len(KINDS), len(METHODS), num, num))
    own = np.empty((len(MEASURES), len(METHODS), num))
    for i, rank in enumerate((True, False)):
        for j, method in enumerate(METHODS):
            name = method.replace(" ", "_")
            after, before = (_flat(answer[name + suffix], rank) for suffix in ("", "_before"))
            correlations = attribution.map_correlations(after, rank=rank)
            agreement[i, 0, j] = attribution.same_picture(correlations)
            agreement[i, 1, j] = attribution.other_picture(correlations, labels)
            starts = attribution.map_correlations(before, rank=rank)
            agreement[i, 2, j] = attribution.same_picture(starts)
            crossed = attribution.map_correlations(after, before, rank=rank)
            own[i, j] = np.diagonal(attribution.same_picture(crossed))
    return {"agreement": agreement, "agreement_with_own_start": own}


def _flat(maps: np.ndarray, sizes: bool) -> np.ndarray:
    """Lay each map out as one row: its sizes, saliency's over the colours, or its signed values."""
    if sizes:
        maps = np.abs(maps)
        maps = maps.max(axis=-1) if maps.ndim == 5 else maps
    return maps.reshape(*maps.shape[:2], -1)


def table(data: xr.Dataset) -> str:
    """Write the table that ends a run."""
    rank = data["agreement"].sel(measure="rank of sizes")
    signed = data["agreement"].sel(measure="signed", kind=KINDS[0])
    own = data["agreement_with_own_start"].sel(measure="rank of sizes")
    rows = [["model", "map", *KINDS, "own start", "signed, same picture"]]
    seen = [["model", "completeness error", "maximising inputs alike", "convince other members"]]
    for model in data["model"].values:
        for method in METHODS:
            at = {"model": model, "map": method}
            values = [mean_pair(rank.sel(kind=kind, **at).values) for kind in KINDS]
            values += [float(own.sel(at).mean()), mean_pair(signed.sel(at).values)]
            rows.append([str(model), method, *map(number, values)])
        one = data.sel(model=model)
        change = float(np.sqrt(((one["score"] - one["baseline_score"]) ** 2).mean()))
        error = float(abs(one["completeness_gap"]).max()) / change if change else np.nan
        alike = np.mean([mean_pair(x) for x in one["maximising_agreement"].values])
        said = one["maximising_logits"].values.argmax(-1)  # [maker, class, judge]
        right = (said == np.arange(said.shape[1])[:, None]).mean(axis=1)
        seen.append([str(model), f"{error:.1e}", number(float(alike)), number(mean_pair(right))])
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


_MAPS = {
    "score": ("logit", "true class against the mean of the others, trained weights"),
    "baseline_score": ("logit", "score of the picture of the mean colour"),
    "saliency": ("logit per deviation", "gradient of the score by the normalised pixels"),
    "integrated_gradients": ("logit", "share of each pixel in score - baseline_score"),
    "occlusion": ("logit", "drop of the score when a square is covered with the mean colour"),
    "completeness_gap": ("logit", "sum of integrated_gradients - (score - baseline_score)"),
}
_DESCRIPTIONS = {
    **_MAPS,
    **{f"{name}_before": (unit, "likewise, starting weights") for name, (unit, _) in _MAPS.items()},
    "picture_pixels": ("grey level", "test pictures that were asked about"),
    "label": ("1", "their true class"),
    "picture_example": ("1", "their index among the test examples of the run"),
    "agreement": ("1", "mean correlation of the maps of two members"),
    "agreement_with_own_start": ("1", "of a member's maps before and after training"),
    "maximising_input": ("1", "input of the largest score of each class, pixels in 0..1"),
    "maximising_score": ("logit", "its class against the others"),
    "maximising_start_score": ("logit", "of the noise that it began with"),
    "maximising_logits": ("logit", "that every member (judge) gives to every maximising input"),
    "maximising_agreement": ("1", "correlation of the maximising inputs of two members"),
}
