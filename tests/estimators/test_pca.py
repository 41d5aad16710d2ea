"""Principal components against scikit-learn."""

import numpy as np
import pytest
import sklearn.decomposition
from small_data import features, pictures

from catdog_jax.estimators.pca import principal_components, project
from catdog_jax.types import InputError


@pytest.mark.parametrize(("num_examples", "size"), [(100, 12), (15, 40)])
def test_components_are_scikit_learns(num_examples, size):
    rows, _ = features(num_examples, size)
    pca = principal_components(rows, 5)
    reference = sklearn.decomposition.PCA(5, svd_solver="full").fit(rows.astype(np.float64))
    signs = np.sign(np.sum(reference.components_.T * np.asarray(pca.components), axis=0))
    np.testing.assert_allclose(pca.components, reference.components_.T * signs, atol=1e-5)
    np.testing.assert_allclose(pca.mean, reference.mean_, rtol=1e-5)
    spread = np.sqrt(reference.explained_variance_ * (num_examples - 1) / num_examples)
    np.testing.assert_allclose(pca.scale, spread, rtol=1e-5)
    scores = np.asarray(project(pca, rows))
    np.testing.assert_allclose(
        scores, reference.transform(rows.astype(np.float64)) * signs / spread, atol=1e-4
    )


def test_signs_are_fixed_and_the_order_of_examples_does_not_matter():
    images, _ = pictures()
    pca = principal_components(images, 10)
    components = np.asarray(pca.components)
    assert (components[np.abs(components).argmax(axis=0), np.arange(10)] > 0).all()
    again = principal_components(images[::-1], 10)
    np.testing.assert_allclose(again.components, components, atol=1e-5)


@pytest.mark.parametrize("count", [0, 24])
def test_more_components_than_directions_are_refused(count):
    images, _ = pictures(num_examples=24)
    with pytest.raises(InputError, match=f"components={count} is not allowed; .* give 1..23"):
        principal_components(images, count)
