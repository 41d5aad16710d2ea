"""The pictures are the weights, on a scale where zero is mid-grey."""

import numpy as np
import pytest

from catdog_jax.figures.first_layer import first_layer, normalised


def _pictures(num_members, num_models=4):
    rng = np.random.default_rng(0)
    shapes = {
        "linear": (1, 16, 16),
        "mlp:width=256:depth=3": (8, 16, 16),
        "cnn": (16, 3, 3),
        "resnet": (7, 3, 3),
        "my.own.package.model:width=3": (2, 5, 4),
        "cnn:widths=8": (8, 5, 5),
    }
    return {
        name: rng.normal(size=(num_members, *shape, 3)).astype(np.float32)
        for name, shape in list(shapes.items())[:num_models]
    }


@pytest.mark.parametrize(("num_members", "num_models"), [(1, 1), (2, 2), (5, 4), (4, 6)])
def test_every_size_is_drawn_and_says_what_it_is(num_members, num_models, command, draw):
    pictures = _pictures(num_members, num_models)
    figure = first_layer(pictures, num_members=1000, command=command)
    words = draw(figure)
    assert len(figure.axes) == num_models
    assert f"the first {num_members} of 1,000 members" in words
    assert "Mid-grey is a weight of zero" in words
    assert "".join(words.split()).count("".join(command.split())) == 1


def test_tiles_are_the_first_members_and_units():
    pictures = _pictures(9, 2)
    figure = first_layer(pictures, num_members=9, command="", max_members=3, max_units=4)
    for axes, array in zip(figure.axes, pictures.values(), strict=True):
        units = min(4, array.shape[1])
        assert len(axes.images) == 3 * units
        for n, image in enumerate(axes.images):
            m, u = divmod(n, units)
            np.testing.assert_array_equal(image.get_array(), normalised(array[m, u]))
            left, right, bottom, top = image.get_extent()
            assert np.isclose(0.5 * (left + right), axes.get_xticks()[u])
            assert np.isclose(0.5 * (bottom + top), axes.get_yticks()[m])


def test_zero_is_grey_and_the_largest_weight_is_full():
    weights = np.zeros((2, 2, 3))
    np.testing.assert_array_equal(normalised(weights), np.full((2, 2, 3), 0.5))
    weights[0, 0] = [-4.0, 2.0, np.nan]
    np.testing.assert_allclose(normalised(weights)[0, 0], [0.0, 0.75, 0.5])
    np.testing.assert_allclose(normalised(3 * weights), normalised(weights))
