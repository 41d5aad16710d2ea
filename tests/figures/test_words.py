"""The pictures of words say what they show, for any number of members and models."""

import numpy as np
import pytest

from catdog_jax.figures import style, word_layers, words

WORDS = ("cat", "cats", "dog", "dogs", "chased", "by", "Rome", "small", "suddenly")
GROUPS = {"cats": ("cat", "cats"), "dogs": ("dog", "dogs"), "running after": ("chased",)}
MODELS = ("bag_of_words", "word_conv:depth=2", "my.own.package.words:heads=4:layers=12:width=384")


@pytest.mark.parametrize("num_shown", [1, 3])
def test_the_plane_has_every_word_and_its_colour(num_shown, command, draw):
    coordinates = np.random.default_rng(0).normal(size=(num_shown, len(WORDS), 2))
    figure = words.embeddings(
        coordinates,
        np.tile([0.41, 0.07], (num_shown, 1)),
        WORDS,
        GROUPS,
        model="word_attention",
        members=range(num_shown),
        num_members=16,
        command=command,
        note="Data: words.",
    )
    said = draw(figure)
    assert len(figure.axes) == num_shown
    assert said.count("41 % and 7 % of the variance") == num_shown
    assert "of word_attention learned" in said
    assert f"the first {num_shown} of 16 members" in said
    for ax, points in zip(figure.axes, coordinates, strict=True):
        drawn = np.concatenate([np.column_stack(line.get_data()) for line in ax.lines])
        assert len(drawn) == len(WORDS)
        for point in points:
            assert np.isclose(drawn, point).all(axis=1).any()
        cats = next(line for line in ax.lines if line.get_color() == style.colour(0))
        np.testing.assert_allclose(np.column_stack(cats.get_data()), points[:2])


def test_the_table_of_neighbours_has_the_nearest_first(command, draw):
    nearest = np.tile(np.array([[1, 2], [0, 2], [3, 0], [2, 0], [5, 0]] + [[0, 1]] * 4), (2, 1, 1))
    figure = words.neighbours(
        nearest, ("cat", "by"), WORDS, GROUPS,
        model="word_conv", members=[1, 3], num_members=4, command=command, note="",
    )  # fmt: skip
    said = draw(figure)
    assert "cat cats, dog cats, dog by cat, cats cat, cats" in said
    assert "in 2 of 4 members of word_conv" in said
    assert "member 1" in said
    assert "member 3" in said
    (cats,) = {t.get_color() for t in figure.axes[0].texts if t.get_text() == "cats, "}
    assert cats == style.colour(0)


@pytest.mark.parametrize("num_members", [1, 8])
def test_probes_show_start_and_end_of_every_layer(num_members, command, draw):
    layers = [("word_average", "embedding"), ("word_conv", "embedding"), ("word_conv", "conv1")]
    accuracy = np.random.default_rng(0).uniform(0.2, 1.0, size=(3, num_members, 2, 4))
    if num_members > 1:
        accuracy[:, 0] = np.nan
    questions = ("word class", "class of unseen words", "number", "role")
    figure = word_layers.probes(
        accuracy, np.array([0.2, 0.3, 0.5, 0.5]), layers, questions, command=command
    )
    said = draw(figure)
    for word in ("word_average", "word_conv", "conv1", *questions, "random start"):
        assert word in said
    for p, ax in enumerate(figure.axes):
        dots = [line for line in ax.lines if line.get_marker() == "o"]
        drawn = [float(np.ravel(line.get_xdata())[0]) for line in dots]
        expected = np.nanmedian(accuracy[..., p], axis=1).ravel()
        np.testing.assert_allclose(drawn, expected)


def test_a_model_without_a_living_member_is_an_empty_row(draw):
    accuracy = np.full((1, 2, 2, 1), np.nan)
    figure = word_layers.probes(
        accuracy, np.array([0.5]), [("word_conv", "conv1")], ["role"], command=""
    )
    assert "conv1" in draw(figure)


def test_the_table_of_constructions_has_means_and_ranges(command, draw):
    accuracy = np.full((3, 4, 2), 0.5)
    accuracy[1, :, 0] = [0.6, 0.7, 0.8, 0.9]
    accuracy[2] = 1.0
    accuracy[2, 1:] = np.nan
    accuracy[0, :, 1] = np.nan
    figure = word_layers.constructions(
        accuracy, [("active", "the cats ran"), ("passive", "they were")], MODELS,
        chance=0.5, command=command,
    )  # fmt: skip
    said = draw(figure)
    cells = {t.get_text() for t in figure.axes[0].texts}
    assert cells == {"0.50", "–", "0.75\n0.60 to 0.90", "1.00"}
    assert "active the cats ran" in said
    assert "mean over 4 members" in said
