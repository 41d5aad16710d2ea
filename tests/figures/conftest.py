"""Plausible results of a run, in every size that a person may ask for."""

import io

import numpy as np
import pytest

ENTRIES = (
    "linear",
    "mlp:width=256:depth=3",
    "cnn:widths=32-64-128",
    "resnet",
    "my.own.package.transformer:heads=4:layers=12:width=384:activation=gelu",
    "cnn",
)
COMMAND = "python -m experiments.init_convergence --data_dir=$TFDS_DATA_DIR --out_dir=$HOME/runs"


class Results:
    """Made-up numbers of P models and M members."""

    def __init__(self, num_members, num_models, num_diverged=0):
        rng = np.random.default_rng(0)
        self.models = ENTRIES[:num_models]
        self.num_members = num_members
        shape = (num_models, num_members)
        self.step = np.arange(6) * 50
        self.test_accuracy = rng.uniform(0.5, 0.9, size=(*shape, 6)).astype(np.float32)
        self.train_accuracy = self.test_accuracy + np.float32(0.05)
        self.diverged_step = np.full(shape, -1)
        self.diverged_step[:, :num_diverged] = 110
        self.test_accuracy[:, :num_diverged, 3:] = np.nan
        self.ensemble_accuracy = rng.uniform(0.8, 0.9, size=num_models)
        apart = rng.uniform(0.2, 1.2, size=(num_models, num_members, num_members))
        self.pairwise = np.triu(apart, 1) + np.triu(apart, 1).transpose(0, 2, 1)
        self.pairwise[:, :num_diverged] = np.nan
        self.pairwise[:, :, :num_diverged] = np.nan
        self.coordinates = rng.normal(size=(*shape, 6, 2))
        self.coordinates[:, :num_diverged, 3:] = np.nan
        self.explained = np.tile([0.47, 0.053], (num_models, 1))


@pytest.fixture(
    params=[(1, 1, 0), (2, 2, 0), (32, 4, 1), (8, 6, 8), (1000, 1, 3)],
    ids=lambda size: "M{}-P{}-diverged{}".format(*size),
)
def results(request):
    """Every size in turn: one member, many models, all diverged, a thousand members."""
    return Results(*request.param)


@pytest.fixture
def small():
    """Four members of two models."""
    return Results(4, 2)


@pytest.fixture
def command():
    """Return a command with signs that mathematics would swallow."""
    return COMMAND


@pytest.fixture
def draw():
    """Return a function that draws a figure and says what is written on it."""

    def words(figure):
        figure.savefig(io.BytesIO(), dpi=40)
        texts = [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))]
        return " ".join(" ".join(texts).split())

    return words
