"""Pictures of another kind than the known ones are noticed, those of the same kind hardly ever."""

import numpy as np
import pytest

from catdog_jax.analysis.unlike import unlike
from catdog_jax.data import load_dataset
from catdog_jax.data.procedural import generate


@pytest.fixture(scope="module")
def photographs(shared_data):
    found = load_dataset("folder", data_dir=str(shared_data / "photos"), image_size=32)
    return np.concatenate([part.inputs for part in (found.train, found.valid, found.test)])


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
def test_a_run_on_drawings_notices_photographs_and_noise(photographs, difficulty):
    drawn, _, _ = generate(600, seed=3, size=32, difficulty=difficulty)
    known, others = drawn[:256], drawn[256:]
    assert unlike(others, known).mean() < 0.02
    assert unlike(photographs, known).mean() > 0.8
    noise = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3)).astype(np.uint8)
    assert unlike(noise, known).all()
    assert not unlike(noise, known[:199]).any()  # too few to tell


def test_a_run_on_photographs_does_not_cry_wolf(photographs):
    assert unlike(photographs[1::2], photographs[::2]).mean() < 0.02
