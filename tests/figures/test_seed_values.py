"""The figures on what the seed does hold the numbers they were given."""

import numpy as np
from panels import holds, lines


def test_a_comparison_shows_its_interval_and_a_gate_its_path(make, draw):
    data = make("comparison")
    above, below = draw("compare.comparison", data).axes
    for row, values in enumerate(data["test_accuracy"].values):
        (mean,) = (x for x in lines(above, marker="|") if x.get_ydata()[0] == row)
        np.testing.assert_allclose(mean.get_xdata(), [values.mean()])
    (bar,) = lines(below, linewidth=4)
    np.testing.assert_allclose(bar.get_xdata(), [100 * data["low"], 100 * data["high"]])
    (axes,) = draw("compare.gate", data).axes
    assert holds(axes, 100 * data["path"])
    (seen,) = lines(axes, marker="o")
    np.testing.assert_allclose(seen.get_xydata(), [[n, 100 * data["path"][n - 1]] for n in (3, 6)])
    assert holds(axes, [100 * data.attrs["delta"]] * 2)


def test_spreads_are_the_deviations_their_intervals_and_the_roots_of_true_variances(make, draw):
    data = make("seeds", 3)
    data["accuracy_sd_low"], data["accuracy_sd_high"] = (
        data["accuracy_sd"] - 0.1,
        data["accuracy_sd"],
    )
    left, right = draw("seed_variance.spread", data).axes
    np.testing.assert_allclose(left.lines[1].get_xdata(), 100 * data["test_accuracy"][1])
    (deviation, _, (bars,)), (truth, *_) = right.containers
    np.testing.assert_allclose(deviation.get_xdata(), 100 * data["accuracy_sd"])
    ends = [[low, high] for (low, _), (high, _) in bars.get_segments()]
    np.testing.assert_allclose(ends, 100 * (data["accuracy_sd"].values[:, None] - [0.1, 0.0]))
    np.testing.assert_allclose(truth.get_xdata(), 100 * np.sqrt([0, *data["true_variance"][1:]]))
    axes = draw("seed_variance.over_time", data).axes[1]
    assert holds(axes, 100 * data["sd_over_time"][1])
    after = lines(draw("seed_variance.calibration", data).axes[1], color="white")
    found = [line.get_xydata()[0] for line in after]
    np.testing.assert_allclose(
        found, 100 * np.stack([data["error"], data["calibrated_disagreement"]], 1)
    )
