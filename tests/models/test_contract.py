"""What every registered model promises; a new file in models/ is tested the moment it exists."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax import registry
from catdog_jax.models.build import build_model

TABLE = registry.table("catdog_jax.models", "MODELS")
NAMES = tuple(TABLE)
# The smallest image that the deepest default takes, and not square; few enough numbers for squares.
SHAPES = {"images": (16, 19, 3), "vectors": (11,), "tokens": (9,)}
VOCABULARY = 23
MEMBERS = 3
TAKES_FORM = tuple(
    name for name, spec in TABLE.items() if "conv" in inspect.signature(spec.build).parameters
)
# A model reads its first kind above all; a picture may be too large for one that reads vectors.
OTHER_KINDS = tuple(
    (name, kind) for name, spec in TABLE.items() for kind in spec.reads[1:] if kind != "images"
)


def kind_of(name):
    return TABLE[name].reads[0]


def build(name, num_classes, kind=None, **settings):
    kind = kind or kind_of(name)
    words = {"vocabulary": VOCABULARY} if kind == "tokens" else {}
    return build_model(name, SHAPES[kind], num_classes, **settings, **words)


def examples(kind, batch=4, seed=9):
    """Numbers as a normaliser leaves them, or sentences that end in zeros."""
    key, shape = jax.random.key(seed), (batch, *SHAPES[kind])
    if kind != "tokens":
        return jax.random.normal(key, shape)
    tokens = jax.random.randint(key, shape, 1, VOCABULARY, jnp.int32)
    return jnp.where(jnp.arange(shape[1])[None] < shape[1] - jnp.arange(batch)[:, None], tokens, 0)


def inputs_of(name, batch=4, seed=9):
    return examples(kind_of(name), batch, seed)


@functools.cache
def start(name):
    """A model of three classes, its jitted apply, and the weights of three members."""
    model = build(name, 3)
    members = [model.init(key) for key in jax.random.split(jax.random.key(0), MEMBERS)]
    return model, jax.jit(model.apply), members


def leaves(params):
    return {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_leaf_has_a_gradient(name):
    _, apply, members = start(name)

    def loss(params):
        return -jnp.mean(jax.nn.log_softmax(apply(params, inputs_of(name)))[:, 0])

    for leaf, gradient in leaves(jax.jit(jax.grad(loss))(members[0])).items():
        assert np.isfinite(gradient).all(), leaf
        assert np.abs(gradient).max() > 0, leaf


@pytest.mark.parametrize("name", NAMES)
def test_params_are_a_function_of_the_key(name):
    model, _, members = start(name)
    keys = jax.random.split(jax.random.key(0), MEMBERS)
    again = leaves(model.init(keys[0]))
    stacked = leaves(jax.vmap(model.init)(keys))
    for leaf, values in leaves(members[0]).items():
        assert values.dtype == np.float32, leaf
        np.testing.assert_array_equal(values, again[leaf])
        random = values.ndim >= 2 or values.std() > 0
        for i in range(MEMBERS):
            solo = leaves(members[i])[leaf]
            np.testing.assert_allclose(stacked[leaf][i], solo, rtol=1e-5, atol=1e-6)
            for j in range(i):
                assert np.array_equal(solo, leaves(members[j])[leaf]) != random, leaf
                assert np.array_equal(*stacked[leaf][[i, j]]) != random, leaf


@pytest.mark.parametrize("name", NAMES)
def test_features_run_from_the_input_to_the_logits(name):
    model, apply, members = start(name)
    names, outputs = zip(*model.features(members[0], inputs_of(name)), strict=True)
    assert names[0] == "input"
    assert names[-1] == "logits"
    assert len(set(names)) == len(names)
    assert all(len(output) == 4 for output in outputs)
    np.testing.assert_array_equal(outputs[0], inputs_of(name))
    np.testing.assert_allclose(
        outputs[-1], apply(members[0], inputs_of(name)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", NAMES)
def test_vmap_over_members_equals_a_loop(name):
    model, apply, members = start(name)
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *members)
    found = jax.jit(jax.vmap(model.apply, (0, None)))(stacked, inputs_of(name))
    expected = np.stack([apply(params, inputs_of(name)) for params in members])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TAKES_FORM)
def test_forms_of_the_convolution_agree(name):
    _, apply, members = start(name)
    patches = build(name, 3, conv="patches")
    found = jax.jit(patches.apply)(members[0], inputs_of(name))
    np.testing.assert_allclose(found, apply(members[0], inputs_of(name)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "kind"), OTHER_KINDS)
def test_every_kind_that_a_model_reads_has_logits(name, kind):
    model, inputs = build(name, 3, kind), examples(kind)
    one, other = (model.apply(model.init(jax.random.key(i)), inputs) for i in (0, 1))
    assert one.shape == (4, 3)
    assert np.isfinite(one).all()
    assert not np.array_equal(one, other)


def test_a_model_reads_known_kinds_and_tokens_with_a_vocabulary():
    for name, spec in TABLE.items():
        assert set(spec.reads) <= set(SHAPES), name
        if "tokens" in spec.reads:
            assert "vocabulary" in inspect.signature(spec.build).parameters, name
