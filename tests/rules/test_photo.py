"""Each test of the photo rule on pictures where its answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.rules import photo

SIZE = 48
TICKS = (np.arange(SIZE) + 0.5) * 2.0 / SIZE - 1.0
X, Y = np.meshgrid(TICKS, -TICKS)
GREY = (0.5, 0.5, 0.5)


def plain(colour=GREY):
    return np.broadcast_to(np.array(colour, np.float32), (SIZE, SIZE, 3)).copy()


def put(where, colour, on=GREY):
    image = plain(on)
    image[where] = colour
    return image


def disc(x, y, radius):
    return (X - x) ** 2 + (Y - y) ** 2 < radius**2


def waves(values):
    return np.repeat((0.5 + 0.4 * values)[:, :, None], 3, axis=2).astype(np.float32)


BORDER = np.maximum(np.abs(X), np.abs(Y)) > 0.7
EARS = 0.8 - 1.4 * np.abs(np.abs(X) - 0.4) > Y  # two triangles on top of a head
EYES = disc(-0.3, 0.1, 0.15) | disc(0.3, 0.1, 0.15)
# name: (a picture that this test takes for a dog's, one that it takes for a cat's)
KNOWN = {
    "grass": (put(BORDER, (0.3, 0.6, 0.2)), plain()),
    "sky": (put(Y > 0.5, (0.5, 0.7, 0.95)), plain()),
    "warm_room": (plain((0.4, 0.5, 0.6)), put(BORDER, (0.8, 0.6, 0.4))),
    "grey_coat": (plain((0.8, 0.5, 0.2)), plain()),
    "pointed_ears": (put(Y > 0.4, (0.1, 0.1, 0.1)), put(EARS, (0.1, 0.1, 0.1))),
    "stripes": (waves(np.sin(3.0 * X)), waves(np.sign(np.sin(24.0 * X)))),
    "dark_nose": (put(disc(0, 0, 0.2), (0.1, 0.1, 0.1)), put(disc(0, 0, 0.2), (0.9, 0.9, 0.9))),
    "tongue": (put(disc(0, -0.4, 0.2), (0.9, 0.45, 0.5)), put(disc(0, -0.4, 0.2), (0.9, 0.5, 0.1))),
    "cat_eyes": (plain(), put(EYES, (0.7, 0.8, 0.2))),
    "legs": (put((Y < -0.3) & (np.sin(15.0 * X) > 0), (0.1, 0.1, 0.1)), waves(np.sin(9.0 * Y))),
    "symmetry": (waves(np.sin(3.0 * X)), waves(np.cos(4.0 * X) * np.cos(3.0 * Y))),
}


@pytest.fixture(scope="module")
def rule():
    return photo.photo((SIZE, SIZE, 3))


def test_every_belief_has_its_pictures():
    assert list(KNOWN) == list(photo.BELIEFS)


@pytest.mark.parametrize("name", KNOWN)
def test_known_answer(rule, name):
    votes = jax.jit(photo.votes)(rule.params, jnp.asarray(np.stack(KNOWN[name])))
    dog, cat = votes[:, list(KNOWN).index(name)]
    assert dog > 0.0 > cat


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_a_blank_picture_has_no_edges_to_speak_of(rule, value):
    measured = jax.jit(photo.measures)(rule.params.margins, jnp.full((1, SIZE, SIZE, 3), value))
    found = dict(zip(photo.BELIEFS, np.asarray(measured[0]), strict=True))
    assert found["pointed_ears"] == pytest.approx(0.0, abs=1e-3)
    assert found["legs"] == pytest.approx(0.5, abs=1e-3)
    for name in ("stripes", "dark_nose", "symmetry", "cat_eyes"):
        assert found[name] == pytest.approx(0.0, abs=0.02)


def test_logits_are_the_sum_of_the_votes(rule):
    images = jax.random.uniform(jax.random.key(1), (3, SIZE, SIZE, 3))
    logits = jax.jit(photo.apply)(rule.params, images)
    votes = jax.jit(photo.votes)(rule.params, images)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], votes.sum(1), rtol=1e-4, atol=1e-5)
