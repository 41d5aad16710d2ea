"""The strip: its quartiles, its dots, its density."""

import numpy as np
import pytest
import scipy.stats
from matplotlib.figure import Figure

from catdog_jax.figures import parts


def _lines(values):
    axes = Figure().subplots()
    parts.draw_strip(axes, 2, values, "#000000", "one")
    return axes.lines


def test_the_marks_are_the_quantiles_and_every_value():
    values = np.random.default_rng(0).normal(size=40)
    middle, whole, median, dots = _lines(values)
    np.testing.assert_allclose(whole.get_xdata(), [values.min(), values.max()])
    np.testing.assert_allclose(middle.get_xdata(), np.percentile(values, [25, 75]))
    np.testing.assert_allclose(median.get_xdata(), [np.median(values)])
    np.testing.assert_array_equal(dots.get_xdata(), values)
    assert np.all((dots.get_ydata() > 2.0) & (dots.get_ydata() < 2.5))


def test_the_density_is_that_of_scipy():
    values = np.random.default_rng(0).normal(size=300)
    heights, places = parts.density(values)
    width = 0.9 * min(values.std(), scipy.stats.iqr(values) / 1.34) * 300**-0.2
    expected = scipy.stats.gaussian_kde(values, width / values.std(ddof=1))(places)
    np.testing.assert_allclose(heights, expected / expected.max(), atol=0.02)
    assert heights.max() == 1.0


def test_values_on_a_lattice_make_no_comb():
    values = np.random.default_rng(0).binomial(100, 0.1, size=20_000) / 100
    heights, _ = parts.density(values)
    slope = np.sign(np.diff(heights[heights > 0.01]))
    assert np.count_nonzero(np.diff(slope)) == 1


@pytest.mark.parametrize("values", [np.full(9, 0.5), np.array([0.1, 0.2]), np.zeros(4)])
def test_equal_or_few_values_have_no_density(values):
    assert parts.density(values)[0].size == 0
    assert len(_lines(values)) == 4
