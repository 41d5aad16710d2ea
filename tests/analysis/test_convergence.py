"""The summary row against NumPy, with diverged members and with one member."""

import numpy as np
import pytest

from catdog_jax.analysis import agreement, distance
from catdog_jax.analysis.convergence import mean_over_pairs, summary


def _row(num_members, diverged=()):
    rng = np.random.default_rng(0)
    labels = (np.arange(60) % 3 == 0).astype(np.int32)
    logits = rng.normal(size=(num_members, 60, 2)).astype(np.float32)
    logits[..., 1] += labels
    weights = rng.normal(size=(num_members, 30))
    diverged_step = np.full(num_members, -1)
    for member in diverged:
        diverged_step[member] = 12
        logits[member] = np.nan
        weights[member] = np.nan
    accuracy = (agreement.predictions(logits) == labels).mean(axis=1)
    apart = distance.pairwise_weight_distance(weights)
    row = summary(
        "mlp:width=8",
        30,
        test_accuracy=accuracy,
        logits=logits,
        labels=labels,
        diverged_step=diverged_step,
        disagreement=agreement.pairwise_disagreement(logits),
        weight_distance=apart,
        relative_weight_distance=distance.relative_weight_distance(
            apart, distance.weight_norms(weights)
        ),
    )
    return row, accuracy, logits, labels, weights


def test_the_row_holds_what_numpy_says():
    row, accuracy, logits, labels, weights = _row(6)
    assert row[:4] == ("mlp:width=8", 30, 6, 0)
    assert row.mean_accuracy == pytest.approx(agreement.mean_member_accuracy(logits, labels))
    assert row.sd_accuracy == pytest.approx(np.std(accuracy, ddof=1))
    assert (row.min_accuracy, row.max_accuracy) == (accuracy.min(), accuracy.max())
    assert row.ensemble_accuracy == agreement.ensemble_accuracy(logits, labels)
    apart = [np.linalg.norm(weights[i] - weights[j]) for i in range(6) for j in range(i)]
    assert row.weight_distance == pytest.approx(np.mean(apart))
    chosen = logits.argmax(-1)
    told = [np.mean(chosen[i] != chosen[j]) for i in range(6) for j in range(i)]
    assert row.disagreement == pytest.approx(np.mean(told))
    assert 1.2 < row.relative_weight_distance < 1.6


def test_frozen_members_are_counted_and_left_out():
    row, accuracy, logits, labels, _ = _row(6, diverged=(1, 4))
    alive = [0, 2, 3, 5]
    assert (row.num_members, row.num_diverged) == (6, 2)
    assert row.mean_accuracy == pytest.approx(accuracy[alive].mean())
    assert row.ensemble_accuracy == agreement.ensemble_accuracy(logits[alive], labels)
    assert np.isfinite(row[4:]).all()


def test_one_member_has_no_spread_and_no_pairs():
    row, accuracy, *_ = _row(1)
    assert row.mean_accuracy == row.min_accuracy == row.max_accuracy == accuracy[0]
    assert row.ensemble_accuracy == pytest.approx(accuracy[0])
    missing = (row.sd_accuracy, row.disagreement, row.weight_distance, row.relative_weight_distance)
    assert np.isnan(missing).all()


def test_a_population_that_is_lost_has_a_row_too():
    row, *_ = _row(3, diverged=(0, 1, 2))
    assert row.num_diverged == 3
    assert np.isnan(row[4:]).all()


def test_pairs_are_counted_once_and_never_with_themselves():
    values = np.array([[9.0, 1.0, 2.0], [1.0, 9.0, 6.0], [2.0, 6.0, 9.0]])
    assert mean_over_pairs(values, np.ones(3, bool)) == 3.0
    assert mean_over_pairs(values, np.array([True, False, True])) == 2.0
