"""What every registered rule promises."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.registry import table
from catdog_jax.rules.generating import factor_names

RULES = table("catdog_jax.rules", "RULES")
LOOKING = [name for name, spec in RULES.items() if "images" in spec.reads]
SHAPES = [(8, 8, 3), (32, 32, 3), (64, 64, 3), (24, 40, 3)]


def examples(spec, num, shape=(32, 32, 3)):
    """Random pictures, or rows of random numbers in place of factors."""
    shape = shape if "images" in spec.reads else (len(factor_names()),)
    return jax.random.uniform(jax.random.key(4), (num, *shape))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_sees_no_data(name):
    first, *settings = inspect.signature(RULES[name].build).parameters.values()
    assert first.name == "input_shape"
    for setting in settings:
        assert setting.kind is inspect.Parameter.KEYWORD_ONLY
        assert setting.default is not inspect.Parameter.empty
    shape = (len(factor_names()),) if "factors" in RULES[name].reads else (16, 16, 3)
    rule = RULES[name].build(shape)
    assert rule.apply is RULES[name].build(shape).apply  # compiled once
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(rule.params))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", LOOKING)
def test_any_size_of_picture(name, shape):
    rule = RULES[name].build(shape)
    batch = jnp.concatenate(
        [examples(RULES[name], 1, shape), jnp.zeros((1, *shape)), jnp.ones((1, *shape))]
    )
    logits = jax.jit(rule.apply)(rule.params, batch)
    assert logits.shape == (3, 2)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("name", RULES)
def test_the_constants_matter(name):
    inputs = examples(RULES[name], 4)
    rule = RULES[name].build(inputs.shape[1:])

    def margin(params):
        logits = rule.apply(params, inputs)
        return (logits[:, 1] - logits[:, 0]).sum()

    gradient = jax.tree.leaves(jax.jit(jax.grad(margin))(rule.params))
    assert all(np.isfinite(leaf).all() for leaf in gradient)
    assert max(float(np.abs(leaf).max()) for leaf in gradient) > 1e-3
