"""The drawn rule finds heads, and each of its tests answers to the part that it looks at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.data.drawing import draw
from catdog_jax.data.drawing_factors import CUED, sample_factors
from catdog_jax.data.procedural import generate
from catdog_jax.rules import drawn, looking

NUM = 24
# name of the belief: factors that it is about
ABOUT = {
    "ears": ("ear_hang", "ear_angle", "ear_length"),
    "tongue": ("tongue",),
    "nose_colour": ("nose_pink",),
    "nose_size": ("nose_size", "nose_triangle"),
    "muzzle": ("muzzle_width",),
    "iris": ("iris_hue",),
    "pupils": ("pupil_width",),
    "eye_size": ("eye_size",),
    "cheeks": ("cheek_width", "head_width"),
    "whiskers": ("whisker_length",),
    "body": ("body_width",),
}


@pytest.fixture(scope="module")
def rule():
    return drawn.drawn((32, 32, 3))


@pytest.fixture(scope="module")
def look(rule):
    """Draw easy cats, some factors replaced; measure their parts where they were drawn."""

    @jax.jit
    def program(changed):
        def one(key, label):
            factors = sample_factors(key, label, 0.0)
            factors |= {
                name: jnp.where(jnp.isnan(x), factors[name], x) for name, x in changed.items()
            }
            place = jnp.stack([factors[n] for n in ("head_x", "head_y", "scale", "tilt")])
            return draw(factors, key, 32).transpose(1, 2, 0), place

        pictures, places = jax.vmap(one)(
            jax.random.split(jax.random.key(8), NUM), jnp.zeros(NUM, jnp.int32)
        )
        return drawn.measures(rule.params.regions, looking.on_grid(pictures), places)

    def run(values):
        return program({name: jnp.float32(values.get(name, jnp.nan)) for name in CUED})

    return run


def test_every_belief_has_its_factors():
    assert list(ABOUT) == list(drawn.BELIEFS)


@pytest.mark.parametrize("name", ABOUT)
def test_each_test_answers_to_its_own_part(look, name):
    """The same cat with a dog's part: the measure moves to the dog's side."""
    column, weight = list(ABOUT).index(name), drawn.BELIEFS[name][0]
    dog, cat = (
        np.asarray(look({factor: CUED[factor][side] for factor in ABOUT[name]})[0])[:, column]
        for side in (1, 2)
    )
    moved = np.sign(weight) * (dog - cat)
    assert np.mean(moved > 0.0) >= 2 / 3  # whiskers are finer than a pixel; most others reach 1
    assert np.median(moved) > 0.0


def test_what_is_out_of_the_picture_does_not_vote(rule):
    pictures = jax.random.uniform(jax.random.key(0), (2, 32, 32, 3))
    places = jnp.array([[0.0, 0.0, 0.52, 0.0], [0.0, -0.9, 0.64, 0.0]])
    _, seen = jax.jit(drawn.measures)(rule.params.regions, pictures, places)
    body = list(ABOUT).index("body")
    assert seen[0, body] == 1.0
    assert seen[1, body] < 1e-3


def test_heads_are_found(rule):
    """Far nearer to the drawn head than the middle of the picture is."""
    images, _, factors = generate(300, seed=5, size=32)
    found = np.asarray(
        jax.jit(drawn.find_head)(rule.params.sights, jnp.asarray(images / np.float32(255)))
    )
    true = np.stack([factors["head_x"], factors["head_y"]], axis=1)
    away = np.hypot(*(found[:, :2] - true).T)
    middle = np.hypot(*true.T)
    assert np.median(away) < 0.6 * np.median(middle)
    assert np.corrcoef(found[:, 3], factors["tilt"])[0, 1] > 0.25


def test_better_than_chance_on_drawings(rule):
    images, labels, _ = generate(400, seed=6, size=32)
    logits = jax.jit(drawn.apply)(rule.params, jnp.asarray(images / np.float32(255)))
    assert np.mean(np.argmax(logits, axis=1) == labels) > 0.6
