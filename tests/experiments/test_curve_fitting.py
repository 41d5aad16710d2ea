"""Learned fits of curves against least squares, against one another, and inside their family."""

import numpy as np
import pytest

from catdog_jax import open_run
from experiments import curve_fitting


@pytest.fixture(scope="module")
def data(tmp_path_factory, machine):
    """Every fit of small settings."""
    out_dir = tmp_path_factory.mktemp("curves")
    flags = ("--degrees=1,2", "--points=10", "--shown_points=20", "--num_members=4", "--noise=0.1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments._experiment.draw", lambda *_: None)
        patch.setattr(curve_fitting, "EXACT_SETS", 10)
        more = ("--num_steps=400", "--data_seed=3", f"--out_dir={out_dir}", "--name=x")
        assert curve_fitting.main([*flags, *more]) == 0
    return open_run(out_dir / "curve_fitting" / "x").data


def test_every_start_meets_least_squares_and_stays_in_its_family(data):
    assert data["curve_gap"].dims == ("curve", "degree", "size", "start")
    assert data["curve_gap"].sel(size=20).max() < 1e-4
    assert data["curve_gap_powers"].max() < 1e-2
    second = np.diff(data["curve_fit"].sel(family="degree 1").values, 2, axis=-1)
    assert np.abs(second).max() < 1e-5
    third = np.diff(data["curve_fit"].sel(family="degree 2").values.astype(np.float64), 3, axis=-1)
    assert np.abs(third).max() < 1e-5
    assert data["curve_start"].sel(family="degree 2").values.std(axis=1).max() > 1.0


def test_the_learned_weights_draw_the_learned_curve(data):
    powers = np.vander(data["grid"].values, 3, increasing=True).T
    found = data["curve_coefficient"].values @ powers
    np.testing.assert_allclose(found, data["curve_fit"].values[:, :2], atol=1e-5)


def test_a_network_does_not_meet_in_its_weights(data):
    apart = data["curve_weight_distance"].sel(size=20)
    assert apart.sel(family="network").min() > 0.5
    assert apart.isel(family=slice(2)).max() < 1e-4
    assert np.isnan(data["curve_train_error"].sel(family="network", size=10)).all()


def test_errors_are_those_of_the_fits(data):
    fit, truth = data["curve_fit"], data["curve_truth"]
    train = np.square(fit.interp(grid=data["curve_point_x"]) - data["curve_point_y"]).mean("point")
    test = np.square(fit - truth).mean("grid") + 0.01
    found = data.sel(size=20).transpose("curve", "family", "start", ...)
    np.testing.assert_allclose(found["curve_train_error"], train, rtol=0.02, atol=1e-4)
    np.testing.assert_allclose(found["curve_test_error"], test, rtol=1e-4)
