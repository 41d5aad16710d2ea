"""The figures of curves hold every start, and the numbers they were given."""

import numpy as np
import pytest

from catdog_jax.figures import hypothesis_class as figures

CURVES, FAMILIES = ("bowl", "wave"), ("degree 1", "degree 4", "network")
DEGREE, SIZE, EXACT = np.array([1, 4]), np.array([5, 10]), np.array([5, 7, 10])


@pytest.fixture
def rng():
    """Made-up numbers."""
    return np.random.default_rng(0)


def test_every_start_is_drawn(rng, command, draw):
    grid = np.linspace(-1, 1, 30)
    fit = rng.normal(size=(2, 3, 9, 30))
    figure = figures.curve_fits(
        grid, rng.normal(size=(2, 30)), rng.uniform(-1, 1, (2, 10)), rng.normal(size=(2, 10)),
        rng.normal(size=(2, 3, 9, 30)), fit, CURVES, FAMILIES, command=command,
    )  # fmt: skip
    assert len(figure.axes) == 6
    for index, axes in enumerate(figure.axes):
        drawn = np.stack([line.get_ydata() for line in axes.lines if len(line.get_xdata()) == 30])
        for y in fit[index // 3, index % 3]:
            assert np.isclose(drawn, y).all(axis=1).any()
    words = draw(figure)
    assert "9 random starts" in words
    assert "y of the wave" in words
    assert "degree 4" in words


def test_errors_are_drawn_where_they_belong(rng, command, draw):
    expected = np.sort(rng.uniform(0.01, 3.0, (2, 2, 3, 2, 3)), axis=2)
    train, test = rng.uniform(0.01, 3.0, (2, 2, 2, 2, 4))
    figure = figures.curve_errors(
        DEGREE, EXACT, expected, SIZE, train, test, CURVES,
        shown=10, noise=0.1, num_sets=50, command=command,
    )  # fmt: skip
    left, right = figure.axes[:2]
    lines = [line.get_ydata() for line in left.lines]
    for wanted in (expected[0, 0, 1, :, 2], expected[0, 1, 1, :, 2], train[0, :, 1].ravel()):
        assert any(np.array_equal(wanted, line) for line in lines)
    lines = [line.get_ydata() for line in right.lines]
    for d in range(2):
        assert any(np.array_equal(expected[0, 1, 1, d], line) for line in lines)
        assert any(np.array_equal(test[0, d].ravel(), line) for line in lines)
    words = draw(figure)
    assert "50 training sets" in words
    assert "0.01) included" in words


def test_the_worst_start_is_the_one_drawn(rng, command, draw):
    gap = 10.0 ** rng.uniform(-7, 0, (2, 2, 2, 5))
    powers = 10.0 ** rng.uniform(-7, 0, (2, 2, 5))
    weights = np.array([[1e-7, 1e-5, 1.41], [0.0, 1e-3, 1.3]])
    figure = figures.starts_meet(
        SIZE, DEGREE, gap, powers, weights, CURVES, FAMILIES,
        shown=10, met=1e-3, num_steps=2000, command=command,
    )  # fmt: skip
    lines = [line.get_ydata() for line in figure.axes[0].lines]
    for d in range(2):
        assert any(np.array_equal(gap[0, d].max(axis=-1), line) for line in lines)
        assert any(np.array_equal([powers[0, d].max()], line) for line in lines)
    words = draw(figure)
    assert "1.4" in words
    assert "2,000 steps from 5 starts" in words
