"""What every registered estimator promises; a new file is tested the moment it exists."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from small_data import features, logits, pictures

from catdog_jax.estimators.build import ESTIMATOR, fit_estimator
from catdog_jax.models import linear
from catdog_jax.types import InputError

NAMES = tuple(ESTIMATOR.table())
# Folds are dealt by place, so what cross-validation chooses depends on the order of the examples.
CHOSEN = {
    "lda": "lda:shrinkage=0.3",
    "qda": "qda:components=4:pooling=0.5",
    "ridge": "ridge:penalty=0.1",
}
AFFINE = ("centroid", "diagonal_centroid", "lda", "logistic", "ridge")


@functools.cache
def fitted(name):
    """An estimator fitted to pictures of three classes."""
    return fit_estimator(name, *pictures(), 3)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_better_than_a_guess(name):
    images, labels = pictures(seed=1)
    assert np.mean(logits(fitted(name), images).argmax(axis=1) == labels) > 0.6


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_examples_does_not_matter(name):
    images, labels = pictures()
    order = np.random.default_rng(5).permutation(len(labels))
    entry = CHOSEN.get(name, name)
    test_images, _ = pictures(seed=1)
    expected = logits(fit_estimator(entry, images, labels, 3), test_images)
    found = logits(fit_estimator(entry, images[order], labels[order], 3), test_images)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", NAMES)
def test_the_labels_matter(name):
    images, labels = pictures()
    test_images, _ = pictures(seed=1)
    expected = logits(fitted(name), test_images)
    renamed = logits(fit_estimator(name, images, (labels + 1) % 3, 3), test_images)
    assert np.mean(renamed.argmax(axis=1) == (expected.argmax(axis=1) + 1) % 3) > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_features_on_the_device_do_as_well(name):
    rows, labels = features(num_classes=2)
    classifier = fit_estimator(name, jnp.asarray(rows), jnp.asarray(labels), 2)
    assert np.mean(logits(classifier, rows).argmax(axis=1) == labels) > 0.6


@pytest.mark.parametrize("name", NAMES)
def test_more_features_than_examples(name):
    images, labels = pictures(num_examples=24, num_classes=2)
    classifier = fit_estimator(name, images, labels, 2)
    test_images, test_labels = pictures(num_examples=60, num_classes=2, seed=1)
    assert np.mean(logits(classifier, test_images).argmax(axis=1) == test_labels) > 0.7


@pytest.mark.parametrize("name", AFFINE)
def test_what_is_affine_ends_as_the_linear_formula(name):
    images, _ = pictures(seed=1)
    expected = linear.apply(fitted(name).params, jnp.asarray(images / np.float32(255)))
    np.testing.assert_allclose(logits(fitted(name), images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_data_that_cannot_be_used_are_refused_in_one_line(name):
    images, labels = pictures()
    holes = images.astype(np.float32)
    holes[3, 0, 0, 0] = np.nan
    for bad_images, bad_labels, num_classes, words in (
        (images, labels, 4, "class 3 has 0 training examples"),
        (holes, labels, 3, "not finite"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            fit_estimator(name, bad_images, bad_labels, num_classes)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("lda:shrinkage=0", "shrinkage=0.0 is not allowed; give .* > 0 and ≤ 1, or cv"),
        ("ridge:penalty=-1", "penalty=-1.0 is not allowed"),
        ("qda:pooling=2", "pooling=2.0 is not allowed; give a finite number ≥ 0 and ≤ 1, or cv"),
        ("qda:components=-1", "components=-1 is not allowed"),
        ("qda:components=90", "components=90 is not allowed; .* give 1..89"),
        ("qda:components=40:pooling=0", "fewer components or a larger pooling"),
        ("knn:k=0", "k=0 is not allowed; give a whole number ≥ 1"),
        ("knn:k=91", "k=91 is not allowed; give 1..90"),
        ("logistic:C=0", "C=0.0 is not allowed; give a finite number > 0"),
        ("diagonal_centroid:smoothing=0", "smoothing=0.0 is not allowed"),
        ("knm", r"unknown estimator 'knm'; .* \(did you mean 'knn'\?\)"),
    ],
)
def test_what_a_person_typed_wrong_is_answered_in_one_line(entry, words):
    images, labels = pictures(shape=(6, 6, 3))
    with pytest.raises(InputError, match=words) as caught:
        fit_estimator(entry, images, labels, 3)
    assert "\n" not in str(caught.value)
