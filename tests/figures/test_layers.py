"""Curves and maps over layers show the numbers they are given."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from catdog_jax.figures import style
from catdog_jax.figures.layer_maps import alignment, factors_by_layer
from catdog_jax.figures.layers import class_by_layer, neighbours_by_layer

LAYERS = (
    ("input", "hidden1", "logits"),
    ("input", "stage1", "stage2", "stage3", "flatten", "logits"),
    ("input", "logits"),
)
MODELS = ("mlp:depth=1", "cnn:widths=8-16-32:head=flatten", "my.own.$model:a=1")
SIZES = pytest.mark.parametrize(("num_models", "num_members"), [(1, 1), (2, 3), (3, 40), (7, 2)])


class Probes:
    """Made-up numbers; the last member diverged."""

    def __init__(self, num_models, num_members):
        rng = np.random.default_rng(0)
        self.layers = [LAYERS[p % 3] for p in range(num_models)]
        self.models = [MODELS[p % 3] for p in range(num_models)]
        shape = (num_models, 2, num_members, 6)
        self.probe, self.centroid = rng.uniform(0.5, 0.9, size=(2, *shape))
        for p, names in enumerate(self.layers):
            self.probe[p, :, :, len(names) :] = np.nan
        self.head, self.ridge = rng.uniform(0.5, 0.9, size=(2, *shape[:3]))
        if num_members > 1:
            self.probe[:, 1, -1] = self.centroid[:, 1, -1] = np.nan
            self.head[:, 1, -1] = self.ridge[:, 1, -1] = np.nan


@SIZES
def test_curves_of_every_size_are_drawn_and_say_what_they_are(
    num_models, num_members, command, draw
):
    one = Probes(num_models, num_members)
    figures = [
        class_by_layer(
            one.probe, one.head, one.ridge, one.layers, one.models,
            chance=0.5, command=command, note="A note.",
        ),
        neighbours_by_layer(
            {"centroid": one.centroid, "15-NN": one.probe}, one.layers, one.models,
            chance=0.5, command=command, note="A note.",
        ),
    ]  # fmt: skip
    for figure in figures:
        words = draw(figure)
        assert len(figure.axes) == num_models
        assert f"are {num_members} member" in words
        assert "A note." in words
        assert "".join(words.split()).count("".join(command.split())) == 1


def _bold(axes, colour, line):
    """The median curve of a colour and a line style."""
    (found,) = (
        x
        for x in axes.lines
        if x.get_linewidth() == 2.0
        and to_hex(x.get_color()) == to_hex(colour)
        and x.get_linestyle() == line
    )
    return found.get_ydata()


def test_curves_are_the_medians_of_the_living_members():
    one = Probes(3, 5)
    figure = class_by_layer(
        one.probe, one.head, one.ridge, one.layers, one.models, chance=0.5, command=""
    )
    for p, axes in enumerate(figure.axes):
        names = one.layers[p]
        ticks = [label.get_text() for label in axes.get_xticklabels()]
        assert ticks == [*names, "own answer"]
        before = np.median(one.probe[p, 0, :, : len(names)], axis=0)
        after = np.median(one.probe[p, 1, :4, : len(names)], axis=0)
        np.testing.assert_allclose(_bold(axes, style.GREY, "--"), before)
        np.testing.assert_allclose(_bold(axes, style.colour(0), "-"), after)
        (square,) = (x for x in axes.lines if x.get_marker() == "s" and x.get_markersize() == 10)
        assert square.get_xdata()[0] == len(names) - 2
        assert square.get_ydata()[0] == np.median(one.ridge[p, 1, :4])
        (diamond,) = (x for x in axes.lines if x.get_marker() == "D")
        assert diamond.get_ydata()[0] == np.median(one.head[p, 1, :4])


def test_every_rule_has_its_colour():
    one = Probes(2, 3)
    rules = {"centroid": one.centroid, "15-NN": one.probe}
    figure = neighbours_by_layer(rules, one.layers, one.models, chance=0.5, command="")
    for c, values in enumerate(rules.values()):
        found = _bold(figure.axes[1], style.colour(c), "--")
        np.testing.assert_allclose(found, np.median(values[1, 0], axis=0))


FACTORS = ("ear_hang", "head_x", "light_angle (cos)", "unused")
GROUPS = {"cues": [0], "pose and light": [2, 1]}


@pytest.mark.parametrize("num_models", [1, 3, 6])
def test_the_map_of_factors_writes_every_number(num_models, command, draw):
    one = Probes(num_models, 2)
    scores = np.random.default_rng(0).uniform(-0.2, 1.0, size=(num_models, 2, 6, 4))
    label = np.array([0.31, -0.01, np.nan, 0.99])
    figure = factors_by_layer(
        scores, label, GROUPS, FACTORS, one.layers, one.models, num_members=2, command=command
    )
    words = draw(figure)
    assert "median over 2 members" in words
    grid = np.array(figure.axes).reshape(2, num_models + 1)
    labels = [text.get_text() for text in grid[0, 0].get_yticklabels()]
    assert labels == ["cues", "ear hang", "pose and light", "light angle (cos)", "head x"]
    assert [text.get_text() for text in grid[0, 0].texts] == ["31", "0"]
    for when in range(2):
        for p, names in enumerate(one.layers):
            count = len(names)
            shown = scores[p, when, :count].T[[0, 2, 1]]
            wanted = [f"{100 * max(value, 0):.0f}" for value in shown.ravel()]
            axes = grid[when, p + 1]
            assert [text.get_text() for text in axes.texts] == wanted
            image = axes.images[0].get_array()
            np.testing.assert_allclose(image[[1, 3, 4]], np.clip(shown, 0, 1))
            assert image.mask[[0, 2]].all()


@pytest.mark.parametrize("num_models", [1, 3, 6])
def test_the_maps_of_alignment_are_the_numbers(num_models, command, draw):
    one = Probes(num_models, 2)
    values = np.random.default_rng(0).uniform(-0.1, 1.0, size=(2, num_models, 6, 6))
    maps = {"one network": values[0], "no pair": np.full_like(values[0], np.nan)}
    maps["start and trained"] = values[1]
    figure = alignment(maps, one.layers, one.models, command=command)
    assert "0 is what unrelated layers score" in draw(figure)
    assert len(figure.axes) == 2 * num_models + 1  # nothing is drawn where nothing is known
    for r in range(2):
        for p, names in enumerate(one.layers):
            count = len(names)
            image = figure.axes[r * num_models + p].images[0].get_array()
            np.testing.assert_allclose(image, np.clip(values[r, p, :count, :count], 0, 1))
