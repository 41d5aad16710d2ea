"""Lets the tests of this folder import `small_data`, and loads real pictures once."""

import sys
from pathlib import Path

import pytest

from catdog_jax.data.load import load_dataset

sys.path.insert(0, str(Path(__file__).parent))


def _parts(dataset):
    return tuple((part.inputs, part.labels) for part in (dataset.train, dataset.test))


@pytest.fixture(scope="session")
def cifar(shared_data):
    """The real cats and dogs, ((10000 images, labels), (2000 images, labels))."""
    return _parts(load_dataset("cifar10", data_dir=str(shared_data / "tfds")))


@pytest.fixture(scope="session")
def photos(shared_data):
    """Photographs of 64×64, as above."""
    entry = {"data_dir": str(shared_data / "photos"), "image_size": 64}
    return _parts(load_dataset("folder", **entry))


@pytest.fixture(scope="session")
def drawn():
    """Drawn pictures, as above."""
    return _parts(load_dataset("procedural:num_train=160:num_test=100", image_size=32))
