"""QDA against scikit-learn, and where only a curved boundary will do."""

import numpy as np
import pytest
import scipy.special
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from small_data import features, logits

from catdog_jax.estimators.lda import lda
from catdog_jax.estimators.pca import principal_components, project
from catdog_jax.estimators.qda import qda


@pytest.mark.parametrize("num_classes", [2, 3])
def test_without_pooling_posteriors_are_scikit_learns(num_classes):
    rows, labels = features(300, 15, num_classes)
    scores = np.asarray(project(principal_components(rows, 6), rows), np.float64)
    reference = QuadraticDiscriminantAnalysis().fit(scores, labels)
    found = logits(qda(rows, labels, num_classes, components=6, pooling=0.0), rows)
    np.testing.assert_allclose(
        scipy.special.softmax(found, axis=1), reference.predict_proba(scores), atol=1e-5
    )
    np.testing.assert_array_equal(found.argmax(axis=1), reference.predict(scores))


def test_with_one_covariance_for_all_it_is_lda_on_the_components():
    rows, labels = features(300, 15, 3)
    scores = np.asarray(project(principal_components(rows, 6), rows))
    found = logits(qda(rows, labels, 3, components=6, pooling=1.0), rows)
    expected = logits(lda(scores, labels, 3, shrinkage=1e-9), scores)
    np.testing.assert_allclose(
        found - found[:, :1], expected - expected[:, :1], rtol=1e-3, atol=1e-3
    )


def _ring(num_examples, seed):
    """A class around the origin and one all around it: their averages are the same."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(num_examples) % 2).astype(np.int32)
    rows = generator.normal(size=(num_examples, 10)) * np.where(labels == 1, 2.5, 0.7)[:, None]
    return rows.astype(np.float32), labels


def test_a_curved_boundary_is_found_where_no_line_will_do():
    rows, labels = _ring(400, 0)
    test_rows, test_labels = _ring(400, 1)
    straight = np.mean(logits(lda(rows, labels, 2), test_rows).argmax(axis=1) == test_labels)
    curved = np.mean(logits(qda(rows, labels, 2), test_rows).argmax(axis=1) == test_labels)
    assert straight < 0.65
    assert curved > 0.95


def test_cross_validation_chooses_little_pooling_there_and_much_where_classes_are_alike():
    def spread_ratio(rows, labels):
        whitening = np.asarray(qda(rows, labels, 2, components=8).params.whitening)
        volumes = -np.linalg.slogdet(whitening)[1] / 8  # mean log of a standard deviation
        return float(np.exp(volumes[1] - volumes[0]))

    assert spread_ratio(*_ring(400, 0)) > 2.5
    alike = np.random.default_rng(2).normal(size=(120, 10)).astype(np.float32)
    labels = (np.arange(120) % 2).astype(np.int32)
    alike[:, 0] += 3 * labels
    assert 0.8 < spread_ratio(alike, labels) < 1.25


def test_the_number_of_components_can_be_given_or_chosen():
    rows, labels = _ring(200, 0)
    assert qda(rows, labels, 2, components=3).params.means.shape == (2, 3)
    assert qda(rows, labels, 2, pooling=0.5).params.means.shape[1] in (4, 8)
    narrow = qda(rows[:, :2], labels, 2)  # fewer directions than the smallest choice
    assert narrow.params.means.shape == (2, 2)
