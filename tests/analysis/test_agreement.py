"""Agreement against counting by hand and against scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics

from catdog_jax.analysis import agreement


def _logits(seed=0, num_members=5, num_examples=40, num_classes=3):
    shape = (num_members, num_examples, num_classes)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_predictions_take_the_largest_and_refuse_what_is_not_finite():
    logits = np.array([[[0.0, 1.0], [2.0, 2.0], [np.nan, 9.0], [np.inf, 0.0]]])
    np.testing.assert_array_equal(agreement.predictions(logits), [[1, 0, -1, -1]])


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_disagreement_equals_counting_pair_by_pair(num_classes):
    logits = _logits(num_classes=num_classes)
    chosen = logits.argmax(-1)
    by_hand = [[np.mean(a != b) for b in chosen] for a in chosen]
    found = agreement.pairwise_disagreement(logits)
    np.testing.assert_allclose(found, by_hand, rtol=0, atol=1e-15)
    assert found[0, 1] > 0.2


def test_a_member_without_finite_logits_has_no_disagreement():
    logits = _logits()
    clean = agreement.pairwise_disagreement(logits)
    logits[2, 7, 0] = np.nan
    found = agreement.pairwise_disagreement(logits)
    assert np.isnan(found[2]).all()
    assert np.isnan(found[:, 2]).all()
    keep = [0, 1, 3, 4]
    np.testing.assert_array_equal(found[np.ix_(keep, keep)], clean[np.ix_(keep, keep)])


def test_the_ensemble_is_not_the_mean_member():
    # Two members are sure on different examples and waver elsewhere: together they are right.
    sure, unsure = [4.0, 0.0], [0.0, 0.1]
    logits = np.array([[sure, unsure], [unsure, sure]])
    labels = np.array([0, 0])
    assert (agreement.predictions(logits) == labels).mean() == 0.5
    assert agreement.ensemble_accuracy(logits, labels) == 1.0


def test_the_ensemble_averages_probabilities_and_not_logits():
    # Mean logit of class 0 is higher; mean probability of class 1 is: 2 of 3 members favour it.
    logits = np.array([[[30.0, 0.0]], [[0.0, 3.0]], [[0.0, 3.0]]])
    assert logits.mean(axis=0).argmax() == 0
    assert agreement.ensemble_accuracy(logits, np.array([1])) == 1.0


def test_one_member_is_its_own_ensemble_even_with_huge_logits():
    logits = _logits(num_members=1) * 1e30
    labels = np.arange(40) % 3
    alone = np.mean(logits[0].argmax(-1) == labels)
    assert agreement.ensemble_accuracy(logits, labels) == pytest.approx(alone)
    assert np.isnan(agreement.ensemble_accuracy(logits[:0], labels))


def test_balanced_accuracy_equals_scikit_learn():
    predicted = agreement.predictions(_logits())
    labels = np.minimum(np.arange(40) // 18, 2)  # 18, 18 and 4 examples
    expected = [sklearn.metrics.balanced_accuracy_score(labels, row) for row in predicted]
    np.testing.assert_allclose(agreement.balanced_accuracy(predicted, labels), expected)
    one = agreement.balanced_accuracy(predicted[0], labels)
    assert float(one) == pytest.approx(expected[0])


def test_balanced_accuracy_leaves_out_a_class_without_examples():
    found = agreement.balanced_accuracy(np.array([0, 0, 2, 1]), np.array([0, 0, 2, 2]))
    assert float(found) == pytest.approx((1.0 + 0.5) / 2)


def test_votes_count_members():
    logits = _logits(num_members=4)
    chosen = logits.argmax(-1)
    expected = [[np.sum(chosen[:, n] == k) / 4 for k in range(3)] for n in range(40)]
    np.testing.assert_array_equal(agreement.votes(logits), expected)
