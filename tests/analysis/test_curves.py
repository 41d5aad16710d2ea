"""Points, their polynomials and what those err, against one another and the textbook."""

import numpy as np
import pytest

from catdog_jax.analysis import curves


def test_a_larger_set_of_points_adds_to_a_smaller_one():
    small, large = (curves.points("sine", size, 0.2, seed=1) for size in (5, 9))
    np.testing.assert_array_equal(small.inputs, large.inputs[:5])
    np.testing.assert_array_equal(small.labels, large.labels[:5])
    other = curves.points("sine", 5, 0.2, seed=1, number=1)
    assert not np.any(other.inputs == small.inputs)
    exact = curves.points("parabola", 7, 0.0, seed=1)
    x = exact.inputs[:, 0]
    np.testing.assert_allclose(exact.labels, -0.5 * x + 1.5 * x**2, atol=1e-6)


def test_the_columns_are_orthonormal_on_the_interval():
    nodes, weights = np.polynomial.legendre.leggauss(12)
    table = curves.columns(nodes, 9)
    np.testing.assert_allclose(table.T @ (weights[:, None] / 2 * table), np.eye(10), atol=1e-12)


def test_least_squares_finds_the_parabola_without_noise():
    data = curves.points("parabola", 12, 0.0, seed=0)
    found = curves.coefficients(curves.least_squares(data, 3))
    np.testing.assert_allclose(found, [0.0, -0.5, 1.5, 0.0], atol=1e-5)


def test_expected_errors_are_those_of_the_textbook():
    # Without bias, E[train] = s² (1 - P/N); E[test] exceeds s² by more than s² P/N.
    noise, size = 0.3, 40
    low, middle, high = curves.expected_errors("parabola", [2], [size], noise, 0, 400)[0, :, 0, 0]
    assert low < middle < high
    # The median of s² chi²(37) / 40 is close to (37 - 2/3) / 40 s².
    assert middle == pytest.approx(noise**2 * (size - 3 - 2 / 3) / size, rel=0.05)
    test = curves.expected_errors("parabola", [1, 2], [size], noise, 0, 400)[1, 1, :, 0]
    assert test[1] > noise**2 * (1 + 0.5 * 3 / size)
    # A line misses 1.5 x² by at least its part of degree 2: 1.5² · 4/45.
    assert test[0] > noise**2 + 1.5**2 * 4 / 45
