"""Plausible results for every figure, for any number of models and members."""

import inspect
import io

import numpy as np
import pytest

from catdog_jax.figures import hypothesis_class, layer_maps, layers, pairwise, word_layers, words
from catdog_jax.figures.attribution import maps_side_by_side
from catdog_jax.figures.average_animals import average_animals
from catdog_jax.figures.before_after import before_after
from catdog_jax.figures.bias_variance import Sweep, bias_variance
from catdog_jax.figures.data_sheet import data_sheet
from catdog_jax.figures.final_accuracy import final_accuracy
from catdog_jax.figures.first_layer import first_layer
from catdog_jax.figures.ladder import ladder
from catdog_jax.figures.learning_curves import learning_curves
from catdog_jax.figures.map_agreement import map_agreement
from catdog_jax.figures.maximising_inputs import maximising_inputs
from catdog_jax.figures.trajectories import trajectories

MODELS = (
    "linear",
    "mlp:width=256:depth=3",
    "cnn:widths=32-64-128",
    "my.own.package.transformer:heads=4:layers=12:width=384:activation=gelu",
    "resnet",
    "cnn",
)
LAYERS = (
    ("input", "logits"),
    ("input", "hidden1", "logits"),
    ("input", "stage1", "stage2", "stage3", "flatten", "logits"),
)
WORDS = ("cat", "cats", "dog", "dogs", "chased", "by", "Rome", "small", "suddenly")
GROUPS = {"cats": ("cat", "cats"), "dogs": ("dog", "dogs"), "running after": ("chased",)}
COMMAND = "python -m experiments.init_convergence --data_dir=$TFDS_DATA_DIR --out_dir=$HOME/runs"


class Results:
    """Made-up numbers of P models and M members: what each figure is given, by its name."""

    def __init__(self, num_models, num_members):
        self.size = (num_models, num_members)
        self.models = MODELS[:num_models]
        self.layers = [LAYERS[p % 3] for p in range(num_models)]
        self.rng = np.random.default_rng(0)
        self.common = {
            "models": self.models,
            "model": self.models[-1],
            "members": list(range(num_members)),
            "num_members": num_members,
            "layers": self.layers,
            "diverged_step": np.full(self.size, -1),
            "chance": 0.5,
            "class_names": ("cat", "dog"),
            "curves": ("bowl", "wave"),
            "families": ("degree 1", "degree 4", "network"),
            "degree": np.array([1, 4]),
            "size": np.array([5, 10]),
            "shown": 10,
            "words": WORDS,
            "groups": GROUPS,
            "command": COMMAND,
            "note": "A note.",
        }

    def uniform(self, *shape, low=0.5, high=0.9):
        return self.rng.uniform(low, high, shape).astype(np.float32)

    def normal(self, *shape):
        return self.rng.normal(size=shape).astype(np.float32)

    def pairs(self):
        values = np.triu(self.uniform(*self.size, self.size[1]), 1)
        return {"values": values + values.transpose(0, 2, 1)}

    def learning_curves(self):
        return learning_curves, {
            "step": np.arange(6) * 50,
            "train_accuracy": self.uniform(*self.size, 6),
            "test_accuracy": self.uniform(*self.size, 6),
        }

    def final_accuracy(self):
        return final_accuracy, {
            "test_accuracy": self.uniform(*self.size),
            "ensemble_accuracy": self.rng.uniform(0.8, 0.9, self.size[0]),
        }

    def disagreement(self):
        return pairwise.disagreement, self.pairs()

    def weight_distance(self):
        return pairwise.weight_distance, self.pairs()

    def trajectories(self):
        return trajectories, {
            "coordinates": self.rng.normal(size=(*self.size, 6, 2)),
            "explained": np.tile([0.47, 0.053], (self.size[0], 1)),
        }

    def first_layer(self):
        shapes = [(1, 16, 16, 3), (8, 16, 16, 3), (16, 3, 3, 3), (7, 3, 3, 3)]
        pictures = {
            model: self.normal(self.size[1], *shapes[p % 4]) for p, model in enumerate(self.models)
        }
        return first_layer, {"pictures": pictures}

    def data_sheet(self):
        counts = self.rng.multinomial(self.size[1], [0.2, 0.5, 0.3], size=40 * self.size[0])
        return data_sheet, {
            "images": self.rng.integers(0, 256, (len(counts), 8, 8, 3), dtype=np.uint8),
            "labels": self.rng.integers(0, 3, len(counts)),
            "votes": counts / self.size[1],
            "class_names": ("a class with a very long name", "line\nbreak", "$x$"),
        }

    def ladder(self):
        names = ["constant", "knn:k=15", "centroid", *self.models]
        test = self.uniform(len(names), self.size[1])
        test[:3, 1:] = np.nan
        middle = np.nanmean(test, axis=1)
        return ladder, {
            "names": names,
            "origins": ["programmed", "estimated", "estimated"] + ["learned"] * self.size[0],
            "train_accuracy": test + np.float32(0.05),
            "test_accuracy": test,
            "low": middle - 0.02,
            "high": middle + 0.03,
            "num_params": 10 ** np.arange(len(names)),
            "seconds": np.linspace(0.0, 1234.5, len(names)),
        }

    def average_animals(self):
        labels = np.arange(90) % 2
        return average_animals, {
            "means": self.uniform(2, 6, 5, 3),
            "projections": self.rng.normal(size=90) + 2.0 * labels - 1.0,
            "labels": labels,
            "weights": self.normal(self.size[0] - 1, 6, 5, 3),
            "rungs": self.models[1:],
            "accuracies": [0.61] * (self.size[0] - 1),
            "names": ["cat", "dog"],
        }

    def curve_fits(self):
        return hypothesis_class.curve_fits, {
            "grid": np.linspace(-1, 1, 30),
            "truth": self.normal(2, 30),
            "point_x": self.uniform(2, 10, low=-1.0),
            "point_y": self.normal(2, 10),
            "start": self.normal(2, 3, self.size[1], 30),
            "fit": self.normal(2, 3, self.size[1], 30),
        }

    def curve_errors(self):
        expected = np.sort(self.uniform(2, 2, 3, 2, 3, low=0.01, high=3.0), axis=2)
        return hypothesis_class.curve_errors, {
            "exact_size": np.array([5, 7, 10]),
            "expected": expected,
            "train_error": self.uniform(2, 2, 2, self.size[1], low=0.01, high=3.0),
            "test_error": self.uniform(2, 2, 2, self.size[1], low=0.01, high=3.0),
            "noise": 0.1,
            "num_sets": 50,
        }

    def starts_meet(self):
        return hypothesis_class.starts_meet, {
            "gap": 10.0 ** self.uniform(2, 2, 2, self.size[1], low=-7, high=0),
            "gap_powers": 10.0 ** self.uniform(2, 2, self.size[1], low=-7, high=0),
            "weight_distance": np.array([[1e-7, 1e-5, 1.41], [0.0, 1e-3, 1.3]]),
            "met": 1e-3,
            "num_steps": 2000,
        }

    def bias_variance(self):
        sweeps = {}
        for name, x in (("width", [4, 16, 64]), ("depth", [1])):
            values = self.uniform(len(x), 2, 4)
            errors = np.full_like(values, np.nan) if name == "depth" else values / 9
            accuracy = self.uniform(2, len(x), 2 * self.size[1])
            accuracy[0, 0, 0] = np.nan
            sweeps[name] = Sweep(
                np.array(x), f"the {name}", f"same but {name}", name == "width", values, errors,
                *accuracy,
            )  # fmt: skip
        disjoint = self.size[0] > 1
        return bias_variance, {
            "sweeps": sweeps,
            "num_starts": 3,
            "num_sets": 2,
            "disjoint": disjoint,
        }

    def class_by_layer(self):
        probe = self.uniform(self.size[0], 2, self.size[1], 6)
        for p, names in enumerate(self.layers):
            probe[p, :, :, len(names) :] = np.nan
        return layers.class_by_layer, {
            "probe": probe,
            "head": self.uniform(self.size[0], 2, self.size[1]),
            "ridge": self.uniform(self.size[0], 2, self.size[1]),
        }

    def neighbours_by_layer(self):
        both = self.uniform(2, self.size[0], 2, self.size[1], 6)
        return layers.neighbours_by_layer, {
            "accuracies": {"centroid": both[0], "15-NN": both[1]},
        }

    def factors_by_layer(self):
        return layer_maps.factors_by_layer, {
            "scores": self.uniform(self.size[0], 2, 6, 4, low=-0.2, high=1.0),
            "label_scores": np.array([0.31, -0.01, np.nan, 0.99]),
            "groups": {"cues": [0], "pose and light": [2, 1]},
            "factors": ("ear_hang", "head_x", "light_angle (cos)", "unused"),
        }

    def alignment(self):
        values = self.uniform(2, self.size[0], 6, 6, low=-0.1, high=1.0)
        empty = np.full_like(values[0], np.nan)
        maps = {"one network": values[0], "no pair": empty, "start and trained": values[1]}
        return layer_maps.alignment, {"maps": maps}

    def constructions(self):
        accuracy = self.uniform(*self.size, 2)
        rows = [("active", "the cats ran"), ("passive", "they were")]
        return word_layers.constructions, {"accuracy": accuracy, "rows": rows}

    def probes(self):
        names = [(model, layer) for model in self.models for layer in ("embedding", "mixed")]
        return word_layers.probes, {
            "accuracy": self.uniform(len(names), self.size[1], 2, 4),
            "baseline": np.array([0.2, 0.3, 0.5, 0.5]),
            "layers": names,
            "questions": ("word class", "class of unseen words", "number", "role"),
        }

    def embeddings(self):
        shown = min(self.size[1], 3)
        return words.embeddings, {
            "coordinates": self.normal(shown, len(WORDS), 2),
            "explained": np.tile([0.41, 0.07], (shown, 1)),
            "members": list(range(shown)),
        }

    def neighbours(self):
        shown = min(self.size[1], 3)
        return words.neighbours, {
            "nearest": self.rng.integers(0, len(WORDS), (shown, len(WORDS), 2)),
            "shown": ("cat", "by"),
            "members": list(range(shown)),
        }

    def maps_side_by_side(self):
        shape = (self.size[1], 2 * self.size[0], 8, 8)
        signed = {"integrated gradients": self.normal(*shape), "occlusion": self.normal(*shape)}
        return maps_side_by_side, {
            "pictures": self.rng.integers(0, 256, (*shape[1:], 3), dtype=np.uint8),
            "labels": np.arange(shape[1]) % 2,
            "saliency": self.uniform(*shape),
            "signed": signed,
            "reach": {"occlusion": 0.8},
        }

    def maximising_inputs(self):
        return maximising_inputs, {
            "images": {model: self.uniform(self.size[1], 2, 8, 8, 3) for model in self.models},
            "scores": {model: np.full((self.size[1], 2), 12.34) for model in self.models},
        }

    def before_after(self):
        _, drawn = self.first_layer()
        before = drawn["pictures"]
        after = {model: 2 * array for model, array in before.items()}
        return before_after, {"before": before, "after": after}

    def map_agreement(self):
        return map_agreement, {
            "correlations": self.uniform(3, 3, *self.size, self.size[1], low=-0.2),
            "kinds": ("same picture", "other pictures", "before training"),
            "methods": ("saliency", "integrated gradients", "occlusion"),
        }


TOOLS = {"uniform", "normal", "pairs"}


@pytest.fixture(params=sorted(n for n in set(vars(Results)) - TOOLS if not n.startswith("_")))
def name(request):
    """The name of every figure in turn."""
    return request.param


@pytest.fixture
def made():
    """A function: name, P, M, what is other than made up -> (figure, what it was given)."""

    def make(name, num_models=2, num_members=4, **others):
        results = Results(num_models, num_members)
        function, data = getattr(results, name)()
        taken = inspect.signature(function).parameters
        data = {k: v for k, v in results.common.items() if k in taken} | data | others
        return function(**data), data

    return make


@pytest.fixture
def command():
    """Return a command with signs that mathematics would swallow."""
    return COMMAND


@pytest.fixture
def draw():
    """Return a function that draws a figure and says what is written on it."""

    def said(figure):
        figure.savefig(io.BytesIO(), dpi=40)
        texts = [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))]
        return " ".join(" ".join(texts).split())

    return said
