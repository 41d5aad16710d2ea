"""The pictures of what members look at hold the maps they were given."""

import numpy as np
import pytest

from catdog_jax.figures.attribution import FOR_AND_AGAINST


def test_maps_lie_beside_their_picture_and_keep_their_sign(made):
    figure, _ = made("maps_side_by_side", 1, 1)
    # A picture, saliency, integrated gradients, and occlusion on a pale ground.
    picture, saliency, parts, ground, covered = figure.axes[0].images[:5]
    for tile in (saliency, parts, ground, covered):
        assert tile.get_extent()[0] >= picture.get_extent()[1]
    left, right, *_ = covered.get_extent()
    assert right - left == pytest.approx(0.8)
    assert np.abs(parts.get_array()).max() == 1.0
    assert parts.get_clim() == (-1, 1)
    nothing = {"occlusion": np.full((1, 2, 4, 4), np.nan)}
    figure, _ = made("maps_side_by_side", 1, 1, signed=nothing)
    assert (figure.axes[0].images[-1].get_array() == 0).all()


def test_for_is_lighter_than_nothing_and_against_is_darker():
    lightness = FOR_AND_AGAINST(np.linspace(0, 1, 21))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()


def test_maximising_inputs_have_their_scores(made, draw):
    figure, data = made("maximising_inputs", 3)
    assert draw(figure).count("+12.3") == 3 * 2 * 4
    image = figure.axes[1].images[4].get_array()
    np.testing.assert_array_equal(image, list(data["images"].values())[1][0, 1])


def test_agreement_leaves_out_members_with_themselves(made):
    values = made("map_agreement", 3, 6)[1]["correlations"]
    values[2, 1] = np.nan  # nothing to compare in one row
    values[..., np.arange(6), np.arange(6)] = 50.0
    figure, _ = made("map_agreement", 3, 6, correlations=values)
    for axes in figure.axes:
        drawn = np.concatenate([np.ravel(line.get_xdata()) for line in axes.lines])
        assert drawn.max() <= 1.0
        assert axes.get_xlim()[0] <= drawn.min()
