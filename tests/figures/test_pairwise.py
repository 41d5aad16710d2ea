"""The heat maps and the pairs are the matrices."""

import numpy as np
import pytest

from catdog_jax.figures import pairwise


@pytest.mark.parametrize("name", ["disagreement", "weight_distance"])
def test_every_size_is_drawn_and_says_what_it_is(name, results, command, draw):
    figure = getattr(pairwise, name)(results.pairwise, results.models, command=command)
    words = draw(figure)
    assert len(figure.axes) == len(results.models) + 2  # maps, colour bar, strips
    assert "".join(words.split()).count("".join(command.split())) == 1
    assert {"disagreement": "fraction of examples", "weight_distance": "relative distance"}[
        name
    ] in words
    if results.num_members > 1:
        assert f"{results.num_members:,} members" in words
    else:
        assert "There is one member only" in words


def test_maps_are_the_matrices_on_one_scale(small, command):
    small.pairwise[1, 2] = small.pairwise[1, :, 2] = np.nan
    figure = pairwise.disagreement(small.pairwise, small.models, command=command)
    maps = [axes.images[0] for axes in figure.axes[:2]]
    for image, matrix in zip(maps, small.pairwise, strict=True):
        shown = image.get_array()
        hidden = np.eye(4, dtype=bool) | np.isnan(matrix)
        np.testing.assert_array_equal(np.ma.getmaskarray(shown), hidden)
        np.testing.assert_array_equal(shown[~hidden].data, matrix[~hidden])
        assert image.get_clim() == (0.0, np.nanmax(small.pairwise))


def test_dots_are_the_pairs_counted_once(small, command):
    small.pairwise[1, 2] = small.pairwise[1, :, 2] = np.nan
    figure = pairwise.weight_distance(small.pairwise, small.models, command=command)
    dots = [line.get_xdata() for line in figure.axes[-1].lines if len(line.get_xdata()) in (3, 6)]
    np.testing.assert_array_equal(dots[0], small.pairwise[0][np.triu_indices(4, 1)])
    np.testing.assert_array_equal(dots[1], [small.pairwise[1][i] for i in [(0, 1), (0, 3), (1, 3)]])
    means = [text.get_text() for text in figure.axes[-1].texts]
    assert means == [f"mean {d.mean():.3g}" for d in dots]


def test_members_that_all_agree_are_drawn_too(command, draw):
    figure = pairwise.disagreement(np.zeros((1, 3, 3)), ["linear"], command=command)
    assert "mean 0" in draw(figure)
