"""Gradient ascent on the pixels against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.analysis.attribution import against_others
from catdog_jax.analysis.maximise import maximising_input, total_variation
from catdog_jax.models.build import build_model

SHAPE = (6, 6, 3)
CONTRAST = jnp.asarray(against_others(np.array([0, 1]), 2))


def linear(params, images):
    total = images.reshape(len(images), -1) @ params
    return jnp.stack([-total, total], axis=1) / 2


@pytest.fixture(scope="module")
def weights():
    """A direction of length one."""
    found = np.random.default_rng(0).normal(size=int(np.prod(SHAPE)))
    return jnp.asarray(found / np.linalg.norm(found), jnp.float32)


@pytest.fixture(scope="module")
def start():
    """Faint noise, another for each class."""
    return 0.1 * jax.random.normal(jax.random.key(0), (2, *SHAPE))


def test_with_l2_alone_a_linear_model_wants_its_weights(weights, start):
    found = maximising_input(linear, weights, start, CONTRAST, steps=600, l2=0.25)
    expected = np.asarray(weights) / (2 * 0.25)
    flat = np.asarray(found.images).reshape(2, -1)
    np.testing.assert_allclose(flat, [-expected, expected], atol=2e-3)
    np.testing.assert_allclose(found.scores, 2.0, rtol=1e-2)
    assert (np.asarray(found.start_scores) < 1.0).all()


def test_with_a_length_alone_a_linear_model_wants_its_weights(weights, start):
    found = maximising_input(linear, weights, start, CONTRAST, steps=600, rms=0.5)
    flat = np.asarray(found.images).reshape(2, -1)
    np.testing.assert_allclose(np.sqrt((flat**2).mean(1)), 0.5, rtol=1e-5)
    aligned = (flat @ np.asarray(weights)) / np.linalg.norm(flat, axis=1)
    np.testing.assert_allclose(aligned, [-1, 1], atol=0.02)


def test_without_any_price_the_bounds_are_reached(weights, start):
    low, high = np.array([-1.0, -2.0, -0.5]), np.array([1.0, 0.5, 2.0])
    found = maximising_input(
        linear, weights, start, CONTRAST, steps=300, step_size=0.1, low=low, high=high
    )
    speaks = np.asarray(weights).reshape(SHAPE) > 0
    np.testing.assert_allclose(found.images[1], np.where(speaks, high, low), atol=1e-6)
    np.testing.assert_allclose(found.images[0], np.where(speaks, low, high), atol=1e-6)


def test_total_variation_by_hand():
    image = np.zeros((1, 3, 3, 1), np.float32)
    image[0, 1, 1, 0] = 1.0
    # The pixel itself sees −1 right and −1 below; the one above it and the one left of it see 1.
    assert float(total_variation(jnp.asarray(image))[0]) == pytest.approx(2 + 2**0.5, abs=1e-3)
    corner = np.zeros((1, 3, 3, 1), np.float32)
    corner[0, 2, 2, 0] = 1.0  # seen by the pixels above and left of it, and by itself no more
    assert float(total_variation(jnp.asarray(corner))[0]) == pytest.approx(2, abs=1e-3)
    assert float(total_variation(jnp.full((1, 5, 4, 3), 7.0))[0]) == 0.0
    gradient = jax.grad(lambda x: total_variation(x).sum())(jnp.full((1, 4, 4, 3), 7.0))
    assert np.isfinite(gradient).all()


def test_a_price_on_variation_makes_smoother_inputs(weights, start):
    rough, smooth = (
        maximising_input(linear, weights, start, CONTRAST, steps=200, rms=1.0, variation=price)
        for price in (0.0, 0.05)
    )
    assert (total_variation(smooth.images) < 0.8 * total_variation(rough.images)).all()
    assert (smooth.scores < rough.scores).all()


def test_a_network_says_what_it_was_asked_for_and_twice_the_same():
    model = build_model("cnn:widths=4:norm=group", (8, 8, 3), 2)
    params = model.init(jax.random.key(0))
    begin = 0.1 * jax.random.normal(jax.random.key(1), (2, 8, 8, 3))

    @jax.jit
    def climb(noise):
        return maximising_input(
            model.apply, params, noise, CONTRAST, steps=60, variation=1e-4, rms=1.0
        )

    found, again = climb(begin), climb(begin)
    np.testing.assert_array_equal(found.images, again.images)
    assert np.argmax(model.apply(params, found.images), axis=1).tolist() == [0, 1]
    assert (found.scores > found.start_scores).all()


def test_no_steps_are_refused(weights, start):
    with pytest.raises(ValueError, match="at least 1"):
        maximising_input(linear, weights, start, CONTRAST, steps=0)
