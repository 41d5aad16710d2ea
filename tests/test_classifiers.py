"""What every formula promises, whatever the origin of its weights: a new file is tested at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.estimators.build import ESTIMATOR, fit_estimator
from catdog_jax.models.build import MODEL, build_model
from catdog_jax.rules.build import RULE, build_rule
from catdog_jax.rules.generating import factor_names
from catdog_jax.types import Classifier

SHAPES = {"images": (16, 19, 3), "tokens": (9,), "factors": (len(factor_names()),)}
SHAPES |= {"vectors": (11,)}
VOCABULARY, BATCH = 23, 4
NORMAL = {"mean": (0.5, 0.4, 0.3), "std": (0.25, 0.2, 0.3)}
FORMULAS = [(kind, name) for kind in (MODEL, RULE, ESTIMATOR) for name in kind.table()]
PICTURES = [
    (kind, name)
    for kind, name in FORMULAS
    if kind is ESTIMATOR or kind.table()[name].reads[0] == "images"
]


def examples(reads, num=BATCH, seed=0):
    """Pictures as the data set holds them, sentences that end in zeros, or plain numbers."""
    rng, shape = np.random.default_rng(seed), (num, *SHAPES[reads])
    if reads == "images":
        return rng.integers(0, 256, shape).astype(np.uint8)
    if reads == "tokens":
        return rng.integers(1, VOCABULARY, shape).astype(np.int32) * (
            np.arange(shape[1]) < shape[1] - np.arange(num)[:, None]
        ).astype(np.int32)
    return rng.uniform(size=shape).astype(np.float32)


@functools.cache
def start(kind, name) -> tuple[Classifier, np.ndarray]:
    """A classifier, and inputs that it reads."""
    reads = "images" if kind is ESTIMATOR else kind.table()[name].reads[0]
    inputs = examples(reads)
    if kind is RULE:
        return build_rule(name, SHAPES[reads]), inputs
    if kind is ESTIMATOR:
        seen = examples(reads, 60)
        return fit_estimator(name, seen, (np.arange(60) % 2).astype(np.int32), 2), inputs
    told = {"tokens": {"vocabulary": VOCABULARY}, "images": NORMAL}.get(reads, {})
    model = build_model(name, SHAPES[reads], 2, **told)
    return Classifier(model.init(jax.random.key(0)), model.apply), inputs


def named(kind_and_name):
    return getattr(kind_and_name, "name", kind_and_name)


@pytest.mark.parametrize(("kind", "name"), FORMULAS, ids=named)
def test_logits_are_a_pure_function_of_each_row(kind, name):
    (params, apply), inputs = start(kind, name)
    traces = []

    @jax.jit
    def jitted(params, inputs):
        traces.append(1)
        return apply(params, inputs)

    logits = jitted(params, inputs)
    assert logits.shape == (BATCH, 2)
    assert logits.dtype == jnp.float32
    assert np.isfinite(logits).all()
    close = {"rtol": 1e-4, "atol": 1e-4 * max(1.0, float(np.abs(logits).max()))}
    if kind is not RULE:  # of which each is a hundred programs where it is not one
        np.testing.assert_allclose(apply(params, jnp.asarray(inputs)), logits, **close)
    np.testing.assert_allclose(jitted(params, inputs[::-1])[::-1], logits, **close)
    assert len(traces) == 1
    np.testing.assert_allclose(jitted(params, inputs[1:2]), logits[1:2], **close)


@pytest.mark.parametrize(("kind", "name"), FORMULAS, ids=named)
def test_params_are_arrays_and_the_same_again(kind, name):
    params = start(kind, name)[0].params
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    again = start.__wrapped__(kind, name)[0].params
    jax.tree.map(np.testing.assert_array_equal, params, again)


@pytest.mark.parametrize(("kind", "name"), PICTURES, ids=named)
def test_pictures_of_whole_numbers_and_of_floats_are_the_same(kind, name):
    (params, apply), inputs = start(kind, name)
    jitted = jax.jit(apply)
    logits = jitted(params, inputs)
    np.testing.assert_allclose(jitted(params, inputs.astype(np.float32)), logits, atol=1e-5)


@pytest.mark.parametrize("name", [name for kind, name in PICTURES if kind is MODEL])
def test_a_model_normalises_in_float32_and_then_keeps_the_type_of_its_params(name):
    inputs, shape = jnp.asarray(examples("images")), SHAPES["images"]
    model, numbers = build_model(name, shape, 2, **NORMAL), build_model(name, shape, 2)
    params = model.init(jax.random.key(0))
    mean, std = (np.array(values) for values in NORMAL.values())
    normalised = jnp.asarray((np.asarray(inputs) / 255 - mean) / std, jnp.float32)
    (_, first), *_ = model.features(params, inputs)
    np.testing.assert_allclose(first, normalised, atol=1e-5)
    expected = numbers.apply(params, normalised)
    np.testing.assert_allclose(model.apply(params, inputs), expected, rtol=1e-4, atol=1e-5)
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    *layers, (_, logits) = model.features(half, inputs)
    assert all(layer.dtype == jnp.bfloat16 for _, layer in layers)
    assert logits.dtype == jnp.float32
    np.testing.assert_array_equal(layers[0][1], first.astype(jnp.bfloat16))


def test_the_families_of_the_readme():
    assert {"linear", "mlp", "cnn", "resnet", "polynomial"} <= set(MODEL.table())
    rules = {"constant", "template", "photo_rule", "drawn_rule", "generating_rule"}
    assert rules <= set(RULE.table())
    assert {n for n, s in ESTIMATOR.table().items() if s.origin == "learned"} == {"logistic"}
