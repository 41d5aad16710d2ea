"""The figure of speed shows every competitor that was measured."""

import numpy as np
import pytest
import xarray as xr

from catdog_jax.figures.throughput import throughput

NAMES = ["vmap + scan", "torch channels-last", "scikit-learn"]


@pytest.fixture
def data():
    """One model at one and at eight members, against two competitors and one it does not meet."""
    ratio = np.array([[[4.0, 0.6, np.nan], [70.0, np.nan, np.nan]]])
    dims = "model", "members", "competitor"
    return xr.Dataset(
        {
            "ratio": (dims, ratio),
            "ratio_low": (dims, 0.9 * ratio),
            "ratio_high": (dims, 1.1 * ratio),
            "share": (dims[:2], [[0.4, 0.72]]),
            "hopeless": (("model", "competitor"), [[True, False, False]]),
        },
        {"model": ["cnn:widths=32-64-128"], "members": [1, 8], "competitor": NAMES},
    )


@pytest.mark.parametrize("count", [1, 4])
def test_every_ratio_is_a_bar_that_starts_at_one(data, count, command, draw):
    models = [f"cnn:widths={width}" for width in range(count)]
    several = xr.concat([data] * count, "model").assign_coords(model=models)
    figure = throughput(several, command=command, note="On two cores.")
    words = draw(figure)
    for text in ("70×", "0.60×", "40 to 72 % of a matrix product's speed", "hopelessly slow"):
        assert text in words
    assert "On two cores." in words
    assert NAMES[2] not in words
    assert len(figure.axes) == count
    bars = figure.axes[0].patches
    assert [bar.get_x() + bar.get_width() for bar in bars] == pytest.approx([4.0, 70.0, 0.6])
    assert {bar.get_x() for bar in bars} == {1}
    assert [bar.get_hatch() for bar in bars] == ["////", "////", None]


def test_a_share_that_nobody_measured_is_not_told(data, command, draw):
    figure = throughput(data.assign(share=data["share"] * np.nan), command=command)
    assert "% of a matrix product's speed" not in draw(figure)
