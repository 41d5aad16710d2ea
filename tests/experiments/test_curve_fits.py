"""Points, closed form and learned fits of curves, against one another and by hand."""

import numpy as np
import pytest

from experiments.shared import curve_fits as curves

SETTINGS = curves.Settings(
    degrees=(1, 2), sizes=(10, 20), shown=20, num_starts=4, num_steps=400, noise=0.1,
    data_seed=3, init_seed=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def fits():
    """Every fit of small settings, and what was told of their progress."""
    told = []
    return curves.fit_all(SETTINGS, told.append), told


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


def test_every_start_meets_least_squares_and_stays_in_its_family(fits):
    data, told = fits
    assert told == list(range(1, curves.count_fits(SETTINGS) + 1))
    assert data["curve_gap"].dims == ("curve", "degree", "size", "start")
    assert data["curve_gap"].sel(size=20).max() < 1e-4
    assert data["curve_gap_powers"].max() < 1e-2
    second = np.diff(data["curve_fit"].sel(family="degree 1").values, 2, axis=-1)
    assert np.abs(second).max() < 1e-5
    third = np.diff(data["curve_fit"].sel(family="degree 2").values.astype(np.float64), 3, axis=-1)
    assert np.abs(third).max() < 1e-5
    starts = data["curve_start"].sel(family="degree 2").values
    assert starts.std(axis=1).max() > 1.0


def test_the_learned_weights_draw_the_learned_curve(fits):
    data, _ = fits
    powers = np.vander(data["grid"].values, 3, increasing=True).T
    found = data["curve_coefficient"].values @ powers
    np.testing.assert_allclose(found, data["curve_fit"].values[:, :2], atol=1e-5)


def test_a_network_does_not_meet_in_its_weights(fits):
    data, _ = fits
    apart = data["curve_weight_distance"].sel(size=20)
    assert apart.sel(family="network").min() > 0.5
    assert apart.isel(family=slice(2)).max() < 1e-4
    assert np.isnan(data["curve_train_error"].sel(family="network", size=10)).all()


def test_errors_are_those_of_the_fits(fits):
    data, _ = fits
    fit, truth = data["curve_fit"], data["curve_truth"]
    train = np.square(fit.interp(grid=data["curve_point_x"]) - data["curve_point_y"]).mean("point")
    test = np.square(fit - truth).mean("grid") + 0.01
    found = data.sel(size=20).transpose("curve", "family", "start", ...)
    np.testing.assert_allclose(found["curve_train_error"], train, rtol=0.02, atol=1e-4)
    np.testing.assert_allclose(found["curve_test_error"], test, rtol=1e-4)
