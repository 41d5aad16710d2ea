"""Ensembles against scikit-learn, closed forms, and all subsets one by one."""

import itertools

import numpy as np
import pytest
import sklearn.metrics
from scipy.special import softmax
from sklearn.calibration import calibration_curve

from catdog_jax.analysis import ensembles
from catdog_jax.analysis.ladder import members_interval

NONE = np.zeros(0, int)


def made(count=6, examples=40, classes=2, seed=0):
    """Logits of members that know something of the labels, and the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, examples)
    shared = rng.normal(size=(examples, classes)) + 1.5 * np.eye(classes)[labels]
    return (shared + rng.normal(size=(count, examples, classes))).astype(np.float32), labels


def measured(logits, labels, size=3, run=0, valid=None, alive=None):
    valid = (logits[:, :0], NONE) if valid is None else valid
    alive = np.ones(len(logits), bool) if alive is None else alive
    answers = (logits, valid[0], logits[:, :0])
    return ensembles.measure(answers, alive, (labels, valid[1]), size, run)


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_those_of_scikit_learn(classes):
    logits, labels = made(4, 203, classes)
    p = softmax(logits.astype(np.float64), axis=-1)
    found = ensembles.scores(np.moveaxis(p, 2, 0), labels)
    truth = np.eye(classes)[labels]
    for e, (accuracy, nll, brier, ece, mass) in enumerate(found.T):
        assert accuracy == sklearn.metrics.accuracy_score(labels, p[e].argmax(1))
        assert nll == pytest.approx(sklearn.metrics.log_loss(labels, p[e]), rel=1e-6)
        assert brier == pytest.approx(np.square(p[e] - truth).sum(1).mean(), rel=1e-6)
        if classes == 2:
            half = sklearn.metrics.brier_score_loss(labels, p[e, :, 1])
            assert brier == pytest.approx(2 * half, rel=1e-6)
        top, right = p[e].max(1), p[e].argmax(1) == labels
        share, confidence = calibration_curve(right, top, n_bins=15)
        counts = np.histogram(top, np.linspace(0, 1, 16))[0]
        by_bin = counts[counts > 0] @ np.abs(share - confidence) / 203
        assert ece == pytest.approx(by_bin, rel=1e-5)
        parts = [np.argsort(top)[203 * j // 15 : 203 * (j + 1) // 15] for j in range(15)]
        by_part = sum(abs((right[rows] - top[rows]).sum()) for rows in parts) / 203
        assert mass == pytest.approx(by_part, rel=1e-5)


def test_a_bin_has_its_upper_end_and_the_first_of_equals_is_the_answer():
    p = np.array([[[0.8, 0.5]], [[0.2, 0.5]]], np.float32)  # 0.8 is the end of bin 12 of 15
    accuracy, *_, ece, _ = ensembles.scores(p, np.array([0, 1]))[:, 0]
    assert accuracy == 0.5
    assert ece == pytest.approx((0.2 + 0.5) / 2)
    share, confidence, _ = ensembles.reliability(p, np.array([0, 1]))
    assert np.flatnonzero(share).tolist() == [7, 11]
    assert confidence[11] == pytest.approx(0.8)


@pytest.mark.parametrize("average", ensembles.AVERAGES)
def test_all_subsets_are_scored(average):
    (logits, labels), valid = made(), made(seed=1)
    found, a = measured(logits, labels, valid=valid), ensembles.AVERAGES.index(average)
    assert found["size"] == [1, 2, 3, 4, 6]
    for s, size in enumerate(found["size"]):
        scored, temperature = [], found["temperature"][1][a, s]
        for rows in itertools.combinations(range(6), size):
            told = softmax(logits[list(rows)].astype(np.float64), axis=-1).mean(axis=0)
            logs = np.log(told) if average == "probabilities" else logits[list(rows)].mean(axis=0)
            both = np.stack([softmax(logs / t, axis=-1) for t in (1, temperature)])
            scored.append(ensembles.scores(np.moveaxis(both, 2, 0), labels))
        mean = np.mean(scored, axis=0)
        for k, name in enumerate(ensembles.SCORES):
            assert found[name][1][a, s] == pytest.approx(mean[k, 0], abs=1e-6)
            assert found[f"{name}_calibrated"][1][a, s] == pytest.approx(mean[k, 1], abs=1e-6)


def test_a_member_is_worth_what_those_with_it_have_more_than_those_without():
    logits, labels = made()
    found = measured(logits, labels)
    accuracy = (logits.argmax(-1) == labels).mean(axis=1)
    others = (accuracy.sum() - accuracy) / 5
    np.testing.assert_allclose(found["member_value"][1][0, 0], accuracy - others)
    without = [measured(np.delete(logits, i, 0), labels)["accuracy"][1][0, -1] for i in range(6)]
    whole = found["accuracy"][1][0, -1]
    np.testing.assert_allclose(found["member_value"][1][0, -1], whole - np.array(without))


def test_intervals_are_students_of_single_members_and_the_jackknife_of_all():
    logits, labels = made()
    found = measured(logits, labels)
    wanted = members_interval((logits.argmax(-1) == labels).mean(axis=1))
    ends = [found[f"accuracy{end}"][1][0] for end in ensembles.ENDS]
    np.testing.assert_allclose([x[0] for x in ends[1:]], wanted)
    without = [measured(np.delete(logits, i, 0), labels)["nll"][1][0, -1] for i in range(6)]
    half = found["nll_high"][1][0, -1] - found["nll"][1][0, -1]
    assert half == pytest.approx(2.5705818 * np.sqrt(5 / 6 * np.var(without) * 6), rel=1e-5)
    assert np.isnan(measured(logits[:1], labels, 1)["accuracy_low"][1]).all()


def test_of_more_than_20000_subsets_random_ones_are_taken():
    assert ensembles.subsets(16, 8).shape == (12_870, 16)
    chosen = ensembles.subsets(40, 5)
    assert chosen.shape == (20_000, 40)
    assert (chosen.sum(axis=1) == 5).all()
    assert np.abs(chosen.mean(axis=0) - 1 / 8).max() < 0.01


def test_a_temperature_makes_the_confidence_how_often_it_is_right():
    labels = (np.arange(40) % 10 == 0).astype(int)
    logs = np.zeros((2, 3, 40))
    logs[0] = 5.0  # right in nine of ten, and says 0.993
    assert ensembles.fit_temperature(logs, labels) == pytest.approx(5 / np.log(9), rel=1e-4)
    assert np.isnan(ensembles.fit_temperature(logs[..., :0], NONE))


def test_snapshots_stand_beside_those_of_their_run_alone():
    logits, labels = made()
    found = measured(logits, labels, 3, run=3)
    assert found["size"] == [1, 2, 3]
    for s in range(3):
        p = softmax(logits.reshape(2, 3, 40, 2)[:, 2 - s :], axis=-1).mean(axis=1)
        accuracy = (p.argmax(-1) == labels).mean(axis=1)
        assert found["accuracy"][1][0, s] == pytest.approx(accuracy.mean())
        low, high = members_interval(accuracy)
        assert found["accuracy_low"][1][0, s] == pytest.approx(low)
        assert found["accuracy_high"][1][0, s] == pytest.approx(high)


def test_members_that_diverged_are_left_out_and_of_none_all_is_nan():
    (logits, labels), alive = made(), np.arange(6) != 2
    broken = np.where(alive[:, None, None], logits, np.nan)
    found, wanted = measured(broken, labels, alive=alive), measured(logits[alive], labels)
    for name in wanted.keys() - {"size", "equal_size", "member_value"}:
        np.testing.assert_array_equal(found[name][1], wanted[name][1], err_msg=name)
    worth = found["member_value"][1]
    np.testing.assert_array_equal(worth[..., alive], wanted["member_value"][1])
    assert np.isnan(worth[..., 2]).all()
    lost = measured(broken, labels, alive=np.zeros(6, bool))
    assert all(np.isnan(x[1]).all() for name, x in lost.items() if "size" not in name)


def test_where_it_is_surest_it_is_judged_on_these_alone():
    rng = np.random.default_rng(0)
    sure, right = rng.random((2, 30)), rng.random((2, 30)) < 0.7
    sure[1] = 1.0
    found = ensembles.selective(sure, right)
    order = np.argsort(-sure[0])
    for c, share in enumerate(ensembles.COVERAGES):
        first = right[0, order[: -int(-round(30 * share, 6) // 1)]]
        assert found[0, c] == pytest.approx(first.mean())
    assert np.isnan(found[1]).all()


def test_disagreement_is_none_of_equals_and_one_bit_of_opposites():
    p = np.array([[[1.0, 0.3], [0.0, 0.3]], [[0.0, 0.7], [1.0, 0.7]]])  # [K, M, N]
    np.testing.assert_allclose(ensembles.disagreement(p), [np.log(2), 0.0], atol=1e-15)


def test_auroc_is_that_of_scikit_learn_and_its_interval_that_of_pictures_drawn_again():
    rng = np.random.default_rng(0)
    known, strange = rng.integers(0, 9, 60) + 0.0, rng.integers(2, 11, 40) + 0.0
    value, low, high = ensembles.auroc(known, strange)
    both = np.repeat([0, 1], [60, 40]), np.concatenate([known, strange])
    assert value == pytest.approx(sklearn.metrics.roc_auc_score(*both))
    drawn = [ensembles.auroc(rng.choice(known, 60), rng.choice(strange, 40))[0] for _ in range(400)]
    assert (high - low) / 3.92 == pytest.approx(np.std(drawn), rel=0.15)
    assert np.isnan(ensembles.auroc(known, strange[:0])).all()
