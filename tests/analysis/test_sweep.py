"""Which setting is best: rungs, a test that no luck of the choice spoils, and what is laid out."""

import numpy as np
import pytest
from scipy import stats

from catdog_jax.analysis.sweep import LEVEL, halving, score, sweep_results, worse_than


@pytest.mark.parametrize(
    ("asked", "rungs"),
    [
        ((27, 3, 270), {30: 27, 90: 9, 270: 3}),
        ((13, 3, 300), {33: 13, 100: 4, 300: 1}),
        ((16, 2, 100), {12: 16, 25: 8, 50: 4, 100: 2}),
        ((9, 3, 2), {1: 9, 2: 1}),  # two rungs would end at step 1
        ((2, 3, 100), {100: 2}),
    ],
)
def test_a_rung_keeps_the_best_and_takes_the_others_steps(asked, rungs):
    assert halving(*asked) == rungs


def test_a_trial_is_worse_by_welchs_test_times_the_comparisons():
    rng = np.random.default_rng(0)
    right = rng.binomial(200, np.array([0.8, 0.79, 0.7, 0.82])[:, None], (4, 6))
    found = worse_than(right, 0)
    for t in range(1, 4):
        one = stats.ttest_ind(right[t], right[0], equal_var=False, alternative="less").pvalue
        wanted = min(1.0, 3 * one) if right[t].mean() < right[0].mean() else 1.0
        assert found[t] == pytest.approx(wanted)
    assert found[0] == 1.0
    assert found[2] < LEVEL
    assert worse_than(np.full((3, 4), 7), 1).tolist() == [1.0, 1.0, 1.0]


def test_the_best_is_seldom_called_worse_whichever_trial_luck_has_chosen():
    rng, lost = np.random.default_rng(1), 0
    for _ in range(300):
        right = np.rint(rng.normal(700, 10, (12, 8))).astype(int)  # all are equally good
        lost += worse_than(right, int(right.mean(axis=1).argmax()))[0] <= LEVEL
    assert lost / 300 <= LEVEL + 2 * np.sqrt(LEVEL / 300)


def test_a_trial_of_which_a_member_diverged_comes_after_all_others():
    accuracy = np.array([[0.9, 0.9], [0.2, 0.2], [0.99, 0.99]], np.float32)
    lost = np.array([[False, True], [False, False], [False, False]])
    assert np.argsort(-score(accuracy, lost)).tolist() == [2, 1, 0]


def test_rungs_are_joined_and_only_what_came_to_the_end_is_compared():
    """Three trials of two members; the last one stops at step 2, the second one has diverged."""

    def rung(trials, steps, test, valid, diverged):
        size = 2 * len(trials), len(steps)
        both = (np.broadcast_to(np.repeat(x, 2)[:, None], size) for x in (test, valid))
        names = ("test_accuracy", "valid_accuracy", "diverged_step")
        observed = dict(zip(names, (*both, np.array(diverged)), strict=True))
        return np.array(trials), np.array(steps), observed

    first = rung([0, 1, 2], [0, 2], [0.5, 0.5, 0.25], [0.6, 0.6, 0.5], [-1] * 6)
    then = rung([0, 1], [2, 4, 6], [0.75, 1.0], [0.6, 0.9], [-1, -1, 5, 5])
    rates = {"learning_rate": np.array([0.1, 1.0, 0.01])}
    labels = np.arange(64) % 2
    one = sweep_results({"m": [first, then]}, rates, labels).sel(model="m")
    assert one["step"].values.tolist() == [0, 2, 4, 6]
    assert one["stopped_step"].values.tolist() == [-1, -1, 2]
    assert (int(one["member_steps"]), int(one["grid_member_steps"])) == (3 * 2 * 2 + 2 * 2 * 4, 36)
    np.testing.assert_array_equal(one["accuracy_over_time"][0, 0], [0.5, 0.75, 0.75, 0.75])
    np.testing.assert_array_equal(one["accuracy_over_time"][2, 1], [0.25, 0.25, np.nan, np.nan])
    np.testing.assert_array_equal(one["test_accuracy"], [[0.75] * 2, [np.nan] * 2, [0.25] * 2])
    assert one["outcome"].values.tolist() == ["trained", "diverged", "stopped"]
    assert int(one["best_trial"]) == 0
    assert one["alike"].values.tolist() == [1, 0, 0]
    np.testing.assert_array_equal(one["p_worse"], [1.0, np.nan, np.nan])
    assert float(one["diverges_from"]) == 1.0
    assert one["learning_rate"].values.tolist() == [0.1, 1.0, 0.01]
    for name in one.data_vars:
        assert one[name].attrs.get("long_name"), name
