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


def test_ensembles_are_drawn_by_size_beside_what_else_their_cost_buys(make, draw):
    data = make("ensembles", 3)
    for name in ("accuracy", "nll", "nll_calibrated", "ece"):
        data[f"{name}_low"], data[f"{name}_high"] = data[name] - 0.1, data[name] + 0.2
    figure = draw("ensembles.size", data)
    _, nll, _ = figure.axes
    line, _, (bars,) = nll.containers[3]  # logits, after temperature
    values = data["nll_calibrated"].values[0, 1]
    np.testing.assert_allclose(line.get_ydata(), values)
    ends = [[low, high] for (_, low), (_, high) in bars.get_segments()]
    np.testing.assert_allclose(ends, values[:, None] + [-0.1, 0.2], rtol=1e-6)
    left, right = draw("ensembles.sureness", data).axes
    assert holds(left, data["bin_accuracy"].values[0, 3])
    assert holds(right, data["coverage_accuracy"].values[0, 1])
    left, right = draw("ensembles.alternatives", data).axes
    at = data.sel(average="probabilities", size=5)
    np.testing.assert_allclose(left.containers[0][0].get_xdata(), at["accuracy"].values)
    np.testing.assert_allclose(right.containers[1][0].get_xdata(), at["nll_calibrated"].values)
    assert [x.get_text() for x in left.get_yticklabels()][1].startswith("one start, other orders")


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


def test_a_sweep_shows_the_best_its_equals_and_where_half_diverge(make, draw):
    data = make("sweep", 2)
    above, _, below, _ = draw("sweep.by_setting", data).axes
    mean = 100 * data["accuracy_mean"][0]
    (line,) = lines(above, label="mean")
    np.testing.assert_allclose(line.get_ydata(), mean)
    np.testing.assert_allclose(below.lines[0].get_ydata(), 100 * data["accuracy_sd"][0])
    ((best,),) = (x.get_xydata() for x in lines(above, marker="*"))
    np.testing.assert_allclose(best, [2, mean[2]])
    ((like,),) = (x.get_xydata() for x in lines(above, marker="o", color="white"))
    np.testing.assert_allclose(like, [1, mean[1]])
    assert above.patches[0].get_x() == 2.5
    assert [x.get_text() for x in below.get_xticklabels()] == ["0.01", "0.1", "0.5", "1"]


def test_maps_are_of_setting_and_model_or_of_two_settings(make, draw):
    data = make("sweep", 2)
    left, right, *_ = draw("sweep.maps", data).axes
    words = [text.get_text() for text in left.texts]
    numbers = [f"{100 * x:.0f}" for x in data["accuracy_mean"].values[:, :2].ravel()]
    assert words == [*numbers[:2], "dead", "×", *numbers[2:], "dead", "×"]
    np.testing.assert_allclose(right.images[0].get_array(), 100 * data["accuracy_sd"])
    assert draw("sweep.maps", data.isel(model=[0])) is None
    data = data.assign_coords(
        learning_rate=("trial", [2.0, 2.0, 1.0, 1.0]), gain=("trial", [3.0, 4.0, 3.0, 4.0])
    ).assign_attrs(swept="learning_rate gain")
    axes = draw("sweep.maps", data).axes[0]
    wanted = 100 * data["accuracy_mean"].values[0][[[2, 0], [3, 1]]]
    np.testing.assert_allclose(axes.images[0].get_array(), wanted)


def test_curves_of_trials_end_where_they_were_stopped(make, draw):
    data = make("sweep")
    axes = draw("sweep.curves", data).axes[1]
    assert holds(axes, 100 * data["accuracy_over_time"][1, 2].median("member"))
    ((end,),) = (x.get_xydata() for x in lines(axes, marker="x"))
    middle = float(100 * data["accuracy_over_time"][1, 0, :, 2].median("member"))
    np.testing.assert_allclose(end, [float(data["step"][1, 2]), middle])
