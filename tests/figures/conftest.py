"""Made-up results of every kind of run, for any number of models and members."""

import importlib
import sys
from pathlib import Path

import matplotlib.text
import numpy as np
import pytest
import xarray as xr

sys.path.insert(0, str(Path(__file__).parent))

MODELS = (
    "linear",
    "mlp:width=256:depth=3",
    "my.own.package.transformer:heads=4:layers=12:width=384:activation=gelu",
    "cnn:widths=32-64-128",
    "resnet",
    "cnn",
)
LAYERS = ("input", "stage1", "stage2", "logits")
WORDS = ("cat", "tabbies", "dog", "puppies", "chased", "slept", "by", "that", "was", "the", "small",
         "suddenly", "Paris")  # fmt: skip
GROUPS = dict.fromkeys(WORDS[:2], "cats") | dict.fromkeys(WORDS[2:4], "dogs")
COMMAND = "python -m experiments.init_convergence --data_dir=$TFDS_DATA_DIR --out_dir=$HOME/runs"
IMAGE = "row column channel"
# Kind of run -> variables that are fractions -> their axes.
FRACTIONS = {
    "training": {
        "train_accuracy test_accuracy": "model member eval",
        "ensemble_accuracy": "model",
        "trajectory": "model member eval axis",
        "trajectory_explained": "model axis",
        "disagreement": "model member other_member",
        "relative_weight_distance relative_start_distance": "model member other_member",
        "logits": "model member example class",
        "first_layer_0": f"first_member unit_0 {IMAGE}",
        "first_layer_1": f"first_member unit_1 {IMAGE}",
    },
    "ladder": {
        "train_accuracy test_accuracy": "rung member",
        "class_mean": f"class {IMAGE}",
        "weights": f"linear_rung class {IMAGE}",
    },
    "curves": {
        "curve_truth": "curve grid",
        "curve_point_x curve_point_y": "curve point",
        "curve_start curve_fit": "curve family start grid",
        "curve_train_error curve_test_error": "curve family size start",
        "curve_weight_distance": "curve family size",
        "curve_gap": "curve degree size start",
        "curve_gap_powers": "curve degree start",
        "curve_expected_error": "curve part quantile degree exact_size",
        "train_accuracy test_accuracy": "network training_set member",
        "error_part": "network loss shown_part estimate",
    },
    "layers": {
        "probe_accuracy centroid_accuracy neighbour_accuracy": "model when member layer",
        "head_accuracy ridge_accuracy": "model when member",
        "factor_r2": "model when member layer factor",
        "label_r2": "factor",
        "alignment": "comparison model layer other_layer",
    },
    "words": {
        "probe_accuracy": "layer probed when probe",
        "probe_baseline": "probe",
        "accuracy_by_construction": "model member construction",
        "accuracy_by_modifiers": "model member modifiers",
        "word_plane": "embedded member word axis",
        "word_plane_explained": "embedded member axis",
        "neighbour_overlap": "embedded when member other_member",
    },
    "attribution": {
        "saliency": f"model member picture {IMAGE}",
        "integrated_gradients": "model member picture row column",
        "occlusion": "model member picture window_row window_column",
        "agreement": "measure kind map model member other_member",
        "maximising_input": f"model member class {IMAGE}",
        "maximising_score": "model member class",
        "first_layer_0": f"moment member unit {IMAGE}",
    },
    "comparison": {
        "test_accuracy": "model member",
        "difference low high": "",
        "resampled": "resample",
        "path path_low path_high": "pair",
    },
    "seeds": {
        "test_accuracy": "model member",
        "sd_over_time": "model eval",
        "bin_share vote_share share_right": "model class bin",
        "accuracy_mean accuracy_sd accuracy_sd_low accuracy_sd_high predicted_sd": "model",
        "true_variance true_variance_low true_variance_high": "model",
        "error disagreement calibrated_disagreement": "model",
    },
    "ensembles": {
        "accuracy accuracy_low accuracy_high nll nll_low nll_high ece ece_low ece_high "
        "nll_calibrated nll_calibrated_low nll_calibrated_high "
        "ece_calibrated ece_calibrated_low ece_calibrated_high": "model average size",
        "bin_confidence bin_accuracy": "model case bin",
        "coverage_accuracy": "model score coverage",
        "coverage_accuracy_single": "model coverage",
    },
    "connectivity": {
        "loss_barrier error_barrier": "model pair alignment split",
        "line_loss": "model pair alignment split point",
        "picture_gap": "model pair alignment example",
        "gap_part": "model pair alignment class part",
        "loss_mean loss_mean_low loss_mean_high": "model alignment split",
        "error_mean error_mean_low error_mean_high": "model alignment split",
    },
    "sweep": {
        "test_accuracy": "model trial member",
        "accuracy_over_time": "model trial member eval",
        "accuracy_mean accuracy_sd": "model trial",
    },
    "throughput": {
        "ratio ratio_low ratio_high": "model members competitor",
        "share": "model members",
    },
}
TEXTS = {
    "class": ["cat", "a dog with a\nvery long name"],
    "curve": ["bowl", "wave"],
    "family": ["degree 1", "degree 4", "network"],
    "part": ["train", "test"],
    "comparison": ["one network", "no pair", "start and trained"],
    "construction": ["active", "passive"],
    "probe": ["word class", "class of unseen words", "number"],
    "map": ["saliency", "integrated gradients", "occlusion"],
    "kind": ["same picture", "other pictures", "before training"],
    "measure": ["rank of sizes", "signed"],
    "average": ["probabilities", "logits"],
    "case": ["one member", "together", "one member, calibrated", "together, calibrated"],
    "score": ["confidence", "disagreement"],
    "factor": ["head_x", "ear_hang", "light_angle (cos)", "unused"],
    "alignment": ["none", "weights", "activations", "repair", "temperature"],
    "split": ["train", "test"],
    "competitor": [
        "torch, one process for each of the cores",
        "torch channels-last",
        "scikit-learn",
    ],
}
SIZES = {"eval": 6, "axis": 2, "example": 20, "unit_0": 1, "unit_1": 8, "unit": 8, "row": 5,
         "column": 4, "channel": 3, "grid": 30, "point": 10, "quantile": 3, "exact_size": 3,
         "network": 5, "training_set": 2, "loss": 2, "shown_part": 4, "estimate": 2, "layer": 4,
         "other_layer": 4, "modifiers": 3, "picture": 8, "window_row": 3, "window_column": 3,
         "moment": 2, "rank": 2, "shown": 20, "cka_member": 2, "resample": 9,
         "pair": 6, "bin": 10, "coverage": 4, "trial": 4}  # fmt: skip
ATTRS = {
    "command": COMMAND, "dataset": "made up", "kind": "images", "noise": 0.1, "exact_sets": 50,
    "met": 1e-3, "curve_steps": 2000, "disjoint": 1, "middle_width": 4, "middle_depth": 1,
    "middle_num_examples": 16, "neighbours": 15, "probe_train_examples": 1000, "cka_examples": 20,
    "probe_test_examples": 20, "probe_features": 512, "window": 2, "stride": 1, "run": "a/run",
    "note": "On two cores.", "delta": 0.002, "looks": [3, 6], "verdict": "better",
    "found": "B is better than A: B − A is +1.00 percentage points (95 % interval …)",
}  # fmt: skip


def make(kind, num_models=2, num_members=4):
    """Return a data set of a kind of run: fractions in 0.5..0.9, and what is none."""
    models = ["A", "B"] if kind == "comparison" else list(MODELS[:num_models])
    if kind == "connectivity":
        models = [f"mlp:depth=1:width={4 * 2**m}" for m in range(num_models)]
    rng, num_models = np.random.default_rng(0), len(models)
    rungs = ["constant", "lda", "centroid", *models]
    when = {"words": ["start", "trained"]}.get(kind, ["before", "after"])
    sizes = SIZES | {"first_member": min(5, num_members), "probed": num_members}
    coordinates = TEXTS | {
        "model": models, "embedded": models[-1:], "rung": rungs, "linear_rung": rungs[:3],
        "when": when, "word": list(WORDS), "member": range(num_members), "degree": [1, 4],
        "size": [5, 10], "exact_size": [5, 7, 10], "members": [1, 8][:num_members],
    }  # fmt: skip
    sizes |= {name: len(values) for name, values in coordinates.items()}
    sizes["other_member"] = sizes["start"] = num_members
    first, second = np.triu_indices(num_members, k=1)
    if kind == "connectivity":
        sizes["pair"] = len(first)

    def drawn(*over):
        return over, rng.uniform(0.5, 0.9, [sizes[axis] for axis in over]).astype(np.float32)

    data = xr.Dataset(attrs=ATTRS)
    for names, over in FRACTIONS[kind].items():
        data = data.assign({name: drawn(*over.split()) for name in names.split()})
    data["label"] = "example", np.arange(sizes["example"]) % 2
    data["diverged_step"] = ("model", "member"), np.full((num_models, num_members), -1)
    data["layer_name"] = ("model", "layer"), np.tile(np.array(LAYERS, object), (num_models, 1))
    data["num_layers"] = "model", 3 + np.arange(num_models) % 2
    if kind == "training":
        data["step"] = ("model", "eval"), np.outer(np.arange(num_models) + 1, np.arange(6) * 10)
        pictures = rng.integers(0, 256, (20, 5, 4, 3), dtype=np.uint8)
        data["picture"] = ("shown", *IMAGE.split()), pictures
        data["picture_example"] = "shown", np.arange(20)
    if kind == "ladder":
        data["test_accuracy"][:3, 1:] = np.nan
        mean = data["test_accuracy"].mean("member")
        data = data.assign(test_low=mean - 0.02, test_high=mean + 0.03)
        origins = ["programmed", "estimated", "estimated"] + ["learned"] * num_models
        data["origin"] = "rung", np.array(origins, object)
        data["num_parameters"] = "rung", 10 ** np.arange(len(rungs))
        data["rung_seconds"] = "rung", np.linspace(0.0, 1234.5, len(rungs))
        data["projection"] = "example", rng.normal(size=20)
    if kind == "curves":
        data = data.assign_coords(grid=np.linspace(-1, 1, 30))
        data["width"] = "network", [16, 4, 4, 4, 64]
        data["depth"] = "network", [1, 1, 2, 1, 1]
        data["num_examples"] = "network", [16, 16, 16, 8, 16]
        data["diverged_step"] = data["train_accuracy"].astype(int) * 0 - 1
        data["error_part"][2:, ..., 1] = np.nan
        data["curve_expected_error"] = data["curve_expected_error"].cumsum("quantile")
    if kind == "layers":
        data["alignment"][1] = np.nan
    if kind == "words":
        names = ["embedding", "mixed", "logits", "last"]
        data["layer_model"] = "layer", np.repeat(np.array([*models, *models])[:2], 2)
        data["layer_name"] = "layer", np.array(names, object)
        for name in ("construction", "modifiers"):
            data[f"{name}_example"] = name, np.full(sizes[name], "the cats ran", object)
        groups = [GROUPS.get(word, "other words") for word in WORDS]
        data["word_group"] = "word", np.array(groups, object)
        over = ("embedded", "when", "member", "word", "rank")
        data["nearest_word"] = over, rng.integers(0, 13, [sizes[axis] for axis in over])
    if kind == "seeds":
        data["step"] = ("model", "eval"), np.outer(np.arange(num_models) + 1, np.arange(6) * 10)
        data["formula"] = "model", np.array(models, object)
        data["kind"] = "model", np.array(["all seeds", "init alone", "crossed"] * 2)[:num_models]
        data["true_variance"][0] = -0.1
    if kind == "ensembles":
        kinds = np.array(["starts", "one start, other orders", "cnn:widths=9-17-33"] * 2, object)
        data["kind"], data["equal"] = (("model", x[:num_models]) for x in (kinds, kinds))
        data["equal_size"], data["trainings"] = (("model", num_models * [n]) for n in (5, 10))
    if kind == "sweep":
        data["diverged_step"] = data["test_accuracy"].astype(int) * 0 - 1
        data["diverged_step"][:, 3] = 7
        data["step"] = ("model", "eval"), np.outer(np.arange(num_models) + 1, np.arange(6) * 10)
        data["stopped_step"] = data["accuracy_mean"].astype(int) * 0 - 1
        data["stopped_step"][:, 0] = data["step"][:, 2]
        data["alike"] = data["stopped_step"] * 0 + [0, 1, 1, 0]
        data["outcome"] = data["alike"].astype(object)
        data["outcome"][:] = ["stopped", "trained", "dead", "diverged"]
        data["accuracy_sd"][:, 3], data["accuracy_mean"][:, 3] = np.nan, np.nan
        data["best_trial"], data["diverges_from"] = (
            ("model", [2] * num_models),
            ("model", [1.0] * num_models),
        )
        data = data.assign_coords(learning_rate=("trial", [0.01, 0.1, 0.5, 1.0]))
        data.attrs["swept"] = "learning_rate"
    if kind == "attribution":
        data["label"] = "picture", np.arange(8) % 2
        data["picture_pixels"] = ("picture", *IMAGE.split()), np.full((8, 5, 4, 3), 99, np.uint8)
    if kind == "comparison":
        data["recipe"] = "model", np.array([MODELS[2], "cnn --augment=flip"], object)
        data["pair"] = np.arange(1, 7)
    if kind == "connectivity":
        data["width"], data["depth"] = (("model", 4 * 2 ** np.arange(num_models)),
                                        ("model", np.ones(num_models, int)))  # fmt: skip
        data = data.assign_coords(first=("pair", first), second=("pair", second))
        data = data.assign_coords(mixing=("point", np.linspace(0, 1, sizes["point"])))
        data["picture_gap"][:, :, 2:] = np.nan
        data["picture"] = ("shown", *IMAGE.split()), np.full((20, 5, 4, 3), 99, np.uint8)
        data["picture_example"] = "shown", np.arange(20)
    if kind == "throughput":
        data["hopeless"] = ("model", "competitor"), np.tile([True, False, False], (num_models, 1))
    found = {name: x for name, x in coordinates.items() if name in data.sizes}
    return data.assign_coords(found).assign_coords(xr.Coordinates({"cka_member": [0, 1]}))


@pytest.fixture(name="make")
def _make():
    """A function: kind of run, P, M -> a data set."""
    return make


@pytest.fixture
def draw():
    """A function: where a figure lies below catdog_jax.figures, data -> the figure."""

    def made(path, data):
        module, name = path.split(".")
        return getattr(importlib.import_module(f"catdog_jax.figures.{module}"), name)(data)

    return made


@pytest.fixture
def said():
    """A function: figure -> all that is written on it."""

    def words(figure):
        texts = (text.get_text() for text in figure.findobj(matplotlib.text.Text))
        return " ".join(" ".join(texts).split())

    return words
