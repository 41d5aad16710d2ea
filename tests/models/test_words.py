"""What the formulas of sentences see: counts, neighbours or everything; and never the padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.data import grammar, words
from catdog_jax.models import linear, parts
from catdog_jax.models.build import build_model
from catdog_jax.models.words_conv import neighbours
from catdog_jax.types import InputError

V = len(grammar.VOCABULARY)
SHAPE = (grammar.LENGTH,)
NAMES = ("bag_of_words", "word_average", "word_conv", "word_attention")
BLIND = NAMES[:2]


def sentences(num=32):
    return jnp.asarray(words.generate(num, seed=0)[0])


@functools.cache
def start(entry, shape=SHAPE):
    """A model whose formula is compiled, and its weights."""
    model = build_model(f"{entry}:gain=3", shape, 2, vocabulary=V)
    return model._replace(apply=jax.jit(model.apply)), model.init(jax.random.key(0))


def layers_of(entry, tokens):
    """The layers of a model by name."""
    model, params = start(entry)
    names = []

    def values(params, tokens):
        layers = model.features(params, tokens)
        names.extend(name for name, _ in layers)  # a name cannot leave a compiled function
        return [x for _, x in layers]

    return dict(zip(names, jax.jit(values)(params, tokens), strict=True))


def logits_of(entry, tokens, shape=SHAPE):
    model, params = start(entry, shape)
    return np.asarray(model.apply(params, tokens))


@pytest.mark.parametrize("entry", BLIND)
def test_counting_words_gives_mirrors_the_same_answer(entry):
    logits = logits_of(entry, sentences())
    np.testing.assert_allclose(logits[::2], logits[1::2], rtol=1e-6)
    assert np.ptp(logits) > 0.01


@pytest.mark.parametrize("entry", ["word_conv", "word_conv:pool=mean", "word_attention"])
def test_the_others_tell_mirrors_apart(entry):
    logits = logits_of(entry, sentences())
    assert (np.abs(logits[::2] - logits[1::2]).max(axis=1) > 1e-4).all()


@pytest.mark.parametrize("entry", [*BLIND, "word_conv:depth=2:pool=mean", "word_conv"])
def test_more_padding_changes_nothing(entry):
    tokens = sentences()
    longer = jnp.pad(tokens, ((0, 0), (0, 5)))
    np.testing.assert_allclose(
        logits_of(entry, tokens), logits_of(entry, longer, (SHAPE[0] + 5,)), rtol=1e-4, atol=1e-5
    )


def test_padding_changes_nothing_in_the_attention_model():
    tokens = sentences()
    model, params = start("word_attention")
    longer = build_model("word_attention:gain=3", (SHAPE[0] + 5,), 2, vocabulary=V)
    places = jnp.pad(params["places"], ((0, 5), (0, 0)), constant_values=7.0)
    found = jax.jit(longer.apply)(params | {"places": places}, jnp.pad(tokens, ((0, 0), (0, 5))))
    np.testing.assert_allclose(found, model.apply(params, tokens), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("entry", NAMES)
def test_a_sentence_without_a_word_has_finite_logits(entry):
    model, params = start(entry)
    nothing = jnp.zeros((2, *SHAPE), jnp.int32)

    def loss(params):
        return jax.nn.log_softmax(model.apply(params, nothing))[:, 0].sum()

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_bag_of_words_is_the_linear_formula_on_counts():
    tokens = sentences()
    model, params = start("bag_of_words")
    assert isinstance(params, linear.LinearParams)
    counted = np.stack([np.bincount(row, minlength=V)[1:] for row in np.asarray(tokens)])
    np.testing.assert_array_equal(parts.counts(tokens, V), counted)
    expected = counted @ np.asarray(params.weights) + np.asarray(params.bias)
    np.testing.assert_allclose(model.apply(params, tokens), expected, rtol=1e-5, atol=1e-6)


def test_the_average_is_the_mean_of_the_vectors():
    tokens = sentences()
    layers = layers_of("word_average", tokens)
    table = np.asarray(start("word_average")[1]["embedding"]["table"])
    for row, vectors, mean in zip(
        np.asarray(tokens), layers["embedding"], layers["average"], strict=True
    ):
        ids = row[row > 0]
        np.testing.assert_allclose(vectors[: len(ids)], table[ids - 1], rtol=1e-6)
        np.testing.assert_array_equal(vectors[len(ids) :], 0)
        np.testing.assert_allclose(mean, table[ids - 1].mean(axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window", [1, 2, 3, 5])
def test_neighbours_times_a_kernel_is_a_convolution(window):
    k_x, k_w = jax.random.split(jax.random.key(1))
    x = jax.random.normal(k_x, (3, 9, 4))
    kernel = jax.random.normal(k_w, (window, 4, 5))
    expected = jax.lax.conv_general_dilated(
        x, kernel, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )
    found = neighbours(x, window) @ kernel.reshape(-1, 5)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_layers_have_a_vector_per_word_and_then_one_per_sentence():
    layers = layers_of("word_attention:depth=2", sentences(4))
    word, pooled = (grammar.LENGTH, 32), (32,)
    assert [(name, x.shape[1:]) for name, x in layers.items()][1:-1] == [
        ("embedding", word), ("attention1", word), ("block1", word), ("attention2", word),
        ("block2", word), ("average", pooled),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "shape", "message"),
    [
        ("bag_of_words", (8, 8, 3), "input_shape=8-8-3 is not allowed; give 1 whole numbers"),
        ("word_average:depth=17", SHAPE, "depth=17 is not allowed; give .* ≥ 0 and ≤ 16"),
        ("word_conv:window=0", SHAPE, "window=0 is not allowed"),
        ("word_conv:pool=sum", SHAPE, "unknown pool 'sum'; known: max, mean"),
        ("word_attention:heads=5", SHAPE, "heads=5 do not share width=32 evenly"),
        ("word_average:vocabulary=1", SHAPE, "vocabulary=1 is not allowed"),
    ],
)
def test_what_does_not_fit_is_refused(entry, shape, message):
    with pytest.raises(InputError, match=message):
        build_model(entry, shape, 2, vocabulary=V)
