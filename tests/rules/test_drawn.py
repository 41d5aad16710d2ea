"""The drawn rule finds heads, and each of its tests answers to the part that it looks at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.data.drawing import NUM_FREE, draw
from catdog_jax.data.drawing_factors import CUED, NUM_UNIFORM, sample_factors
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
    measures = jax.jit(drawn.measures)

    rng = np.random.default_rng(8)
    uniform = rng.random((NUM_UNIFORM, NUM, 1, 1), np.float32)
    free = rng.random((NUM_FREE, NUM, 1, 1), np.float32)
    bits = rng.integers(0, 2**32, (3, NUM, 32, 32), np.uint32)
    cats = sample_factors(uniform, np.zeros((NUM, 1, 1), np.int32), 0.0)

    def run(values):
        changed = {name: np.full_like(cats[name], x) for name, x in values.items()}
        pictures = draw(cats | changed, free, bits).transpose(1, 2, 3, 0)
        places = jnp.stack([cats[n].ravel() for n in ("head_x", "head_y", "scale", "tilt")], 1)
        return measures(rule.params.regions, looking.on_grid(jnp.asarray(pictures)), places)

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
