"""The constant and the template: weights that a person typed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.rules.build import build_rule
from catdog_jax.rules.constant import constant
from catdog_jax.rules.template import LIGHT, RED, picture, template, typed
from catdog_jax.types import InputError


@pytest.mark.parametrize(("answer", "label"), [("cat", 0), ("dog", 1)])
def test_constant_never_looks(answer, label):
    rule = constant((8, 8, 3), answer=answer)
    images = jax.random.uniform(jax.random.key(0), (6, 8, 8, 3))
    logits = rule.apply(rule.params, images)
    np.testing.assert_array_equal(logits, np.tile(np.eye(2)[label], (6, 1)))


def test_constant_knows_two_answers():
    with pytest.raises(InputError, match="unknown answer 'dig'.*did you mean 'dog'"):
        build_rule("constant:answer=dig", (8, 8, 3))


def test_the_drawing_is_square_and_mirrored():
    for rows in (LIGHT, RED):
        numbers = typed(rows)
        assert numbers.shape == (11, 11)
        np.testing.assert_array_equal(numbers, numbers[:, ::-1])


@pytest.mark.parametrize("size", [(11, 11), (20, 50)], ids=str)
def test_template_answers_to_its_own_picture(size):
    rule = template((*size, 3))
    drawing = picture(*size)
    drawing = drawing / jnp.abs(drawing).max()
    dog_cat_grey = jnp.stack([0.5 + 0.5 * drawing, 0.5 - 0.5 * drawing, jnp.full((*size, 3), 0.3)])
    logits = rule.apply(rule.params, dog_cat_grey)
    margin = np.asarray(logits[:, 1] - logits[:, 0])
    assert margin[0] > 1.0
    assert margin[1] < -1.0
    assert abs(margin[2]) < 1e-4  # brightness is no evidence


def test_template_sees_ears():
    """Dark triangles at the top corners are a cat's, dark bars beside the face a dog's."""
    cat, dog = np.full((2, 33, 33, 3), 0.8, np.float32)
    cat[3:9, 4:10] = cat[3:9, 23:29] = 0.1
    dog[12:20, 1:5] = dog[12:20, 28:32] = 0.1
    rule = template((33, 33, 3))
    answers = jnp.argmax(rule.apply(rule.params, jnp.asarray(np.stack([cat, dog]))), axis=1)
    assert answers.tolist() == [0, 1]
