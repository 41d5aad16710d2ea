"""Small data that every test of the estimators can be fitted to."""

import jax.numpy as jnp
import numpy as np


def pictures(num_examples=90, num_classes=3, shape=(6, 5, 3), seed=0, signal=40.0):
    """Random pictures 0..255, whose classes differ in their average."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(num_examples) % num_classes).astype(np.int32)
    averages = np.random.default_rng(99).normal(128, signal, size=(num_classes, *shape))
    noise = generator.normal(0, 50, size=(num_examples, *shape))
    levels = np.clip(np.rint(averages[labels] + noise), 0, 255)
    return levels.astype(np.uint8), labels


def pixels(*args, **options):
    """The same as rows [N, D] of numbers in 0..1, as a registered estimator sees them."""
    images, labels = pictures(*args, **options)
    return images.reshape(len(images), -1) / np.float32(255), labels


def features(num_examples=200, size=12, num_classes=2, seed=0):
    """Correlated numbers that are no pictures, of classes that overlap."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes, num_examples).astype(np.int32)
    mixing = np.random.default_rng(98).normal(size=(size, size)) / np.sqrt(size)
    shifts = np.random.default_rng(97).normal(size=(num_classes, size)) * 0.5
    rows = generator.normal(size=(num_examples, size)) @ mixing + shifts[labels] + 2.0
    return rows.astype(np.float32), labels


def logits(classifier, inputs):
    """Apply a classifier, as a float64 array on the host."""
    return np.asarray(classifier.apply(classifier.params, jnp.asarray(inputs)), np.float64)
