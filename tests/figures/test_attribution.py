"""Figures of what members see, in every size, with their words and their colours."""

import io

import numpy as np
import pytest

from catdog_jax.figures.attribution import FOR_AND_AGAINST, maps_side_by_side
from catdog_jax.figures.before_after import before_after
from catdog_jax.figures.map_agreement import map_agreement
from catdog_jax.figures.maximising_inputs import maximising_inputs

RNG = np.random.default_rng(0)
ENTRIES = ("linear", "mlp:width=256:depth=3", "my.own.transformer:heads=4:width=384")
KINDS = ("same picture", "other pictures", "before training")


def side_by_side(num_members, num_pictures, size=8, model="cnn:widths=8-16", **more):
    shape = (num_members, num_pictures)
    return maps_side_by_side(
        RNG.integers(0, 256, (num_pictures, size, size, 3), dtype=np.uint8),
        np.arange(num_pictures) % 2,
        ("cat", "dog"),
        RNG.uniform(size=(*shape, size, size)),
        {
            "integrated gradients": RNG.normal(size=(*shape, size, size)),
            "occlusion": RNG.normal(size=(*shape, 5, 5)),
        },
        model=model,
        members=[3 * m for m in range(num_members)],
        reach={"occlusion": 0.8},
        **more,
    )


@pytest.mark.parametrize(("num_members", "num_pictures"), [(1, 1), (3, 6), (9, 12)])
def test_maps_of_every_size_say_what_they_are(draw, command, num_members, num_pictures):
    figure = side_by_side(num_members, num_pictures, command=command, note="A note.")
    words = draw(figure)
    for word in ("saliency", "integrated gradients", "occlusion", "cnn:widths=8-16", "A note."):
        assert word in words
    assert "$TFDS_DATA_DIR" in words
    shown = min(num_members, 4)
    assert f"Members {', '.join(str(3 * m) for m in range(shown))} of" in words
    (axes,) = figure.axes
    drawn = min(num_pictures, 6)
    # A picture, saliency, integrated gradients, and occlusion on a pale ground.
    assert len(axes.images) == drawn * (1 + shown * 4)


def test_maps_lie_beside_their_picture_and_keep_their_sign():
    figure = side_by_side(1, 2, size=4)
    (axes,) = figure.axes
    picture, saliency, parts, ground, covered = axes.images[:5]
    for tile in (saliency, parts, ground, covered):
        assert tile.get_extent()[0] >= picture.get_extent()[1]
    left, right, bottom, top = covered.get_extent()
    assert right - left == pytest.approx(0.8)
    assert bottom - top == pytest.approx(0.8)
    assert np.abs(parts.get_array()).max() == 1.0
    assert parts.get_clim() == (-1, 1)


def test_a_map_of_nothing_is_grey_and_one_of_nan_is_too():
    pictures = np.zeros((1, 4, 4, 3), np.uint8)
    for value in (0.0, np.nan):
        figure = maps_side_by_side(
            pictures, np.array([0]), ("cat", "dog"), np.full((1, 1, 4, 4), value),
            {"occlusion": np.full((1, 1, 4, 4), value)}, model="linear", members=[0],
        )  # fmt: skip
        (axes,) = figure.axes
        assert (axes.images[-1].get_array() == 0).all()
        figure.savefig(io.BytesIO(), dpi=40)


def test_for_is_lighter_than_nothing_and_against_is_darker():
    lightness = [
        FOR_AND_AGAINST(place)[:3] @ np.array([0.2126, 0.7152, 0.0722])
        for place in np.linspace(0, 1, 21)
    ]
    assert (np.diff(lightness) > 0).all()


@pytest.mark.parametrize(("num_members", "num_models"), [(1, 1), (2, 2), (8, 3)])
def test_maximising_inputs_of_every_size(draw, command, num_members, num_models):
    images = {e: RNG.uniform(size=(num_members, 2, 8, 8, 3)) for e in ENTRIES[:num_models]}
    scores = {e: np.full((num_members, 2), 12.34) for e in images}
    figure = maximising_inputs(
        images, scores, ("cat", "dog"), members=list(range(num_members)), command=command
    )
    words = draw(figure)
    assert "+12.3" in words
    assert "for cat, dog" in words
    assert len(figure.axes) == num_models
    for axes in figure.axes:
        assert len(axes.images) == 2 * min(num_members, 5)
    assert "heads=4" in words or num_models < 3


@pytest.mark.parametrize("num_members", [1, 3, 9])
def test_first_layers_stand_before_and_after(draw, command, num_members):
    before = {
        "linear": RNG.normal(size=(num_members, 1, 8, 8, 3)),
        "cnn:widths=8-16": RNG.normal(size=(num_members, 8, 3, 3, 3)),
    }
    after = {name: 2 * array for name, array in before.items()}
    figure = before_after(before, after, members=list(range(num_members)), command=command)
    words = draw(figure)
    assert words.count("before") >= 2
    shown = min(num_members, 4)
    line, cnn = figure.axes
    assert len(line.images) == 2 * shown
    assert len(cnn.images) == 2 * shown * 6
    # Scaled by itself: twice the weights is the same picture, in the other half.
    first, second = cnn.images[0], cnn.images[shown * 6]
    np.testing.assert_allclose(first.get_array(), second.get_array())
    assert second.get_extent()[0] > cnn.images[5].get_extent()[1]


@pytest.mark.parametrize(("num_members", "num_models"), [(2, 1), (6, 3), (60, 2)])
def test_agreement_of_every_size(draw, command, num_members, num_models):
    shape = (3, 3, num_models, num_members, num_members)
    values = RNG.uniform(-0.2, 0.9, size=shape)
    values[2, 1] = np.nan  # nothing to compare in one row
    values[..., np.arange(num_members), np.arange(num_members)] = 50.0  # with itself: never drawn
    figure = map_agreement(
        values, KINDS, ("saliency", "integrated gradients", "occlusion"),
        ENTRIES[:num_models], command=command,
    )  # fmt: skip
    words = draw(figure)
    for word in (*KINDS, "saliency", "occlusion", ENTRIES[num_models - 1], "Spearman"):
        assert word in words
    for axes in figure.axes:
        assert axes.get_xlim()[1] < 1.1
        drawn = [x for line in axes.lines for x in np.atleast_1d(line.get_xdata())]
        assert max(drawn) <= 1.0
        assert min(drawn) >= axes.get_xlim()[0]
