"""The networks are what their names say: against other implementations, and by count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from catdog_jax.models import linear
from catdog_jax.models.build import build_model


def count(entry, shape, classes):
    params = jax.eval_shape(build_model(entry, shape, classes).init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def stock(name, params, x, stride=1):
    """`nn.Conv` with one layer's params."""
    kernel = params[name]["kernel"]
    layer = nn.Conv(
        kernel.shape[-1], kernel.shape[:2], stride, "SAME", use_bias="bias" in params[name]
    )
    return layer.apply({"params": params[name]}, x)


def drawn(entry, shape=(10, 13, 3)):
    model = build_model(entry, shape, 3)
    params = model.init(jax.random.key(0))
    # Biases start at zero: shift everything so that a lost one would show.
    return (
        model,
        jax.tree.map(lambda p: p + 0.03, params),
        jax.random.normal(jax.random.key(1), (2, *shape)),
    )


def pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


@pytest.mark.parametrize(("name", "act"), [("relu", nn.relu), ("gelu", nn.gelu)])
@pytest.mark.parametrize("head", ["average", "flatten"])
def test_cnn_is_a_stack_of_stock_layers(name, act, head):
    entry = f"cnn:widths=4-6:convs=2:activation={name}:head={head}"
    model, params, x = drawn(entry)

    def stack(params, h):
        for stage in (1, 2):
            for index in (1, 2):
                h = act(stock(f"conv{stage}_{index}", params, h))
            h = pool(h)
        h = h.mean((1, 2)) if head == "average" else h.reshape(2, -1)
        return h @ params["head"]["kernel"] + params["head"]["bias"][None]

    found, expected = (jax.jit(function)(params, x) for function in (model.apply, stack))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("stem_stride", "head"), [(1, "average"), (2, "flatten")])
def test_resnet_is_a_sum_of_branches(stem_stride, head):
    model, params, x = drawn(f"resnet:widths=4-6:stem_stride={stem_stride}:head={head}")

    def branches(params, x):
        h = stock("stem", params, x, stem_stride)
        for name, stride in (("block1_1", 1), ("block2_1", 2)):
            block = params[name]
            a = nn.relu(h)
            branch = stock("conv2", block, nn.relu(stock("conv1", block, a, stride)))
            h = (stock("shortcut", block, a, stride) if stride > 1 else h) + branch / np.sqrt(2)
        h = nn.relu(h)
        h = h.mean((1, 2)) if head == "average" else h.reshape(2, -1)
        return h @ params["head"]["kernel"] + params["head"]["bias"][None]

    found, expected = (jax.jit(function)(params, x) for function in (model.apply, branches))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_linear_is_one_weighted_sum_per_class():
    params = linear.LinearParams(jnp.arange(12.0).reshape(6, 2), jnp.array([1.0, -1.0]))
    x = jnp.ones((1, 1, 2, 3))
    np.testing.assert_allclose(linear.apply(params, x), [[31.0, 35.0]])
    np.testing.assert_allclose(linear.apply(params, x.astype(jnp.uint8)), [[31.0, 35.0]])


def test_parameter_counts():
    assert count("linear", (8, 8, 3), 2) == 192 * 2 + 2
    assert count("mlp:depth=3:width=5", (8, 8, 3), 4) == 192 * 5 + 5 + 2 * (25 + 5) + 5 * 4 + 4
    convolutions = sum(9 * i * o + o for i, o in ((3, 16), (16, 32), (32, 64)))
    assert count("cnn:widths=16-32-64", (32, 32, 3), 2) == convolutions + 64 * 2 + 2
    assert count("cnn:widths=16-32-64:head=flatten", (32, 32, 3), 2) == convolutions + 2050
    blocks = [(16, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64)]
    both = sum(9 * i * o + o for i, o in [(3, 16), *blocks]) + 16 * 32 + 32 * 64
    assert count("resnet", (32, 32, 3), 2) == both + 64 * 2 + 2
    more = sum(2 * (9 * w * w + w) for w in (16, 32, 64))
    assert count("resnet:blocks=2", (32, 32, 3), 2) == both + more + 64 * 2 + 2

    default = sum(9 * i * o + o for i, o in ((3, 32), (32, 64), (64, 128), (128, 128)))
    assert count("cnn", (32, 32, 3), 2) == default + 128 * 2 + 2
    # Without widths, an image too small for four stages gets those it has room for.
    assert count("cnn", (15, 40, 3), 2) == count("cnn:widths=32-64-128", (15, 40, 3), 2)
    assert count("cnn", (16, 16, 3), 2) == count("cnn", (32, 32, 3), 2)
    flat = "resnet:stem_stride=2:head=flatten"
    assert count(flat, (32, 32, 3), 2) == both + 4 * 4 * 64 * 2 + 2


@pytest.mark.parametrize("entry", ["mlp", "cnn:widths=4-256", "resnet:widths=4-256"])
def test_the_last_layer_of_a_deep_model_starts_ten_times_smaller(entry):
    kernel = build_model(entry, (4, 4, 3), 16).init(jax.random.key(0))["head"]["kernel"]
    assert kernel.shape == (256, 16)
    # 4,096 normal draws of variance 2 / fan-in, a hundredth of it: within 12 % (5 deviations).
    np.testing.assert_allclose(np.var(kernel), 0.01 * 2 / 256, rtol=0.12)


@pytest.mark.parametrize("norm", ["layer", "rms", "group"])
def test_a_norm_undoes_the_scale_of_the_first_layer(norm):
    model = build_model(f"mlp:depth=1:width=6:norm={norm}", (2, 2, 3), 2)
    params = model.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (3, 2, 2, 3))
    found = model.apply(params, 7 * x)
    np.testing.assert_allclose(found, model.apply(params, x), rtol=1e-3, atol=1e-4)
    other = model.apply(params, x.at[1:].set(5.0))
    np.testing.assert_array_equal(other[0], model.apply(params, x)[0])
