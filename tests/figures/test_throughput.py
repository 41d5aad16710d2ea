"""The figures of speed show every competitor that was measured, and what members cost."""

import numpy as np
import pytest

from catdog_jax.figures.throughput import Comparison, Cost, comparison, scaling

NAMES = ("stock Flax, vmap + scan", "torch channels-last, one after another")


@pytest.fixture
def panel():
    """Two competitors at one and at eight members; the first one was hopeless at eight."""
    ratio = np.array([[[4.0, 3.5, 4.5], [70.0, 65.0, 80.0]], [[0.6, 0.5, 0.7], [np.nan] * 3]])
    hopeless = np.array([[False, True], [False, False]])
    return Comparison("cnn:widths=32-64-128", np.array([0.4, 0.72]), NAMES, ratio, hopeless)


@pytest.mark.parametrize("count", [1, 4])
def test_every_ratio_is_a_bar_that_starts_at_one(panel, count, command, draw):
    figure = comparison(
        [panel] * count, [1, 8], title="Speed", first="this engine", command=command
    )
    words = draw(figure)
    assert "70×" in words
    assert "0.60×" in words
    assert "40 to 72 % of a matrix product's speed" in words
    assert "hopelessly slow" in words
    assert "this engine" in words
    assert len(figure.axes) == count
    bars = figure.axes[0].patches
    assert [bar.get_x() + bar.get_width() for bar in bars] == pytest.approx([4.0, 70.0, 0.6])
    assert {bar.get_x() for bar in bars} == {1}
    assert [bar.get_hatch() for bar in bars] == [None, "////", None]


def test_cost_is_relative_to_the_most_members(command, draw):
    seconds = np.array([[2e-3, 1.9e-3, 2.2e-3], [1e-3, 0.9e-3, 1.1e-3]])
    beyond, waved = np.array([2.0, 4.0]) * 2**20, np.array([False, True])
    cost = Cost("linear", np.array([1, 64]), seconds, beyond, np.ones(2), waved)
    figure = scaling([cost], command=command, note="On two cores.")
    words = draw(figure)
    assert "1 ms" in words
    assert "On two cores." in words
    time, memory = figure.axes
    lines = [line.get_ydata() for line in time.lines if len(line.get_ydata()) == 2]
    np.testing.assert_allclose(lines[0], [2.0, 1.0])
    np.testing.assert_allclose(memory.lines[0].get_ydata(), [2.0, 4.0])
    hollow = [x for x in memory.lines if x.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow] == [[64]]
    assert "hollow: trained in waves of fewer, one of them timed" in words
    words = draw(scaling([cost._replace(waved=np.zeros(2, bool))], command=command))
    assert "ollow" not in words
    assert "members that train together" in words


def test_a_share_that_nobody_measured_is_not_told(panel, command, draw):
    unknown = panel._replace(share=np.full(2, np.nan))
    figure = comparison([unknown], [1, 8], title="Speed", first="this engine", command=command)
    assert "% of a matrix product's speed" not in draw(figure)
