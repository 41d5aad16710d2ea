"""The pictures are the averages and the weights; the accuracy is that of the hyperplane."""

import numpy as np
import pytest

from catdog_jax.figures.average_animals import average_animals
from catdog_jax.figures.first_layer import normalised


def _animals(num_classes, num_rungs, shape=(6, 5, 3), num_examples=90):
    rng = np.random.default_rng(0)
    means = rng.uniform(size=(num_classes, *shape)).astype(np.float32)
    labels = np.arange(num_examples) % num_classes
    projections = rng.normal(size=num_examples) + 2.0 * labels - 1.0
    weights = rng.normal(size=(num_rungs, *shape))
    rungs = [f"ridge:penalty={r}:and_more=yes" for r in range(num_rungs)]
    names = ["cat", "dog", "fox"][:num_classes]
    return means, projections, labels, weights, rungs, [0.61] * num_rungs, names


@pytest.mark.parametrize(("num_classes", "num_rungs"), [(2, 0), (2, 1), (3, 5), (2, 11)])
def test_every_size_is_drawn_and_says_what_it_is(num_classes, num_rungs, command, draw):
    figure = average_animals(*_animals(num_classes, num_rungs), command=command, note="Data: no.")
    words = draw(figure)
    assert "".join(words.split()).count("".join(command.split())) == 1
    for text in ("average cat", "average dog", "← called cat", "called dog →", "hyperplane"):
        assert text in words
    assert words.count("right: 0.610") == num_rungs
    assert ("other linear classifiers" in words) == (num_rungs > 0)
    assert "Data: no." in words
    assert "fox" not in words
    assert len(figure.axes) == 4 + num_rungs


def test_pictures_are_the_averages_and_the_weights(draw):
    animals = _animals(2, 3)
    means, weights = animals[0], animals[3]
    weights[1, 0, 0, 0] = np.nan
    figure = average_animals(*animals, command="")
    words = draw(figure)
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    np.testing.assert_array_equal(shown[0], means[0])
    np.testing.assert_array_equal(shown[1], means[1])
    difference = means[1].astype(np.float64) - means[0]
    np.testing.assert_array_equal(shown[2], normalised(difference))
    for picture, expected in zip(shown[3:], weights, strict=True):
        np.testing.assert_array_equal(picture, normalised(expected))
    for sign in "−+":
        assert f"{sign}{np.abs(difference).max():.2g}" in words


def test_the_accuracy_is_that_of_the_first_two_classes_at_zero(draw):
    means, _, _, weights, rungs, accuracies, names = _animals(3, 0)
    projections = np.array([-1.0, -2.0, 3.0, 4.0, 0.0, -5.0, 9.0, np.nan])
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 1])
    figure = average_animals(
        means, projections, labels, weights, rungs, accuracies, names, command=""
    )
    words = draw(figure)
    assert "right: 0.500 of 6" in words
    assert "A share of 0.500 of the test pictures lies on the side of its class" in words
    (axes,) = (axes for axes in figure.axes if axes.get_xlabel())
    for k, patch in enumerate(axes.patches):
        # Twice the area under the outline: a bin's width for each example.
        x, y = patch.get_xy()[:, 0], patch.get_xy()[:, 1]
        area = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
        width = 2 * 1.02 * 5.0 / 40
        assert area / width == pytest.approx((3, 3)[k])


def test_no_example_and_no_weight_are_drawn_too(draw):
    means, _, _, weights, rungs, _, names = _animals(2, 1)
    figure = average_animals(
        means, np.zeros(0), np.zeros(0, int), 0 * weights, rungs, [np.nan], names, command=""
    )
    words = draw(figure)
    assert "of 0" in words
    assert "of the test pictures lie" not in words
    assert "right: 0" not in words
