"""The networks are what their names say: against stock Flax layers, and by count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.models import linear
from catdog_jax.models.build import build_model
from experiments.baselines.flax_loop import as_flax, network


def count(entry, shape, classes):
    params = jax.eval_shape(build_model(entry, shape, classes).init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(
    "entry",
    [
        *("linear", "mlp:width=9:depth=3", "cnn:widths=4-6", "cnn:widths=4-6:head=flatten"),
        *("resnet:widths=4-6", "resnet:widths=4-6:stem_stride=2:head=flatten"),
    ],
)
def test_a_network_is_the_stock_layers_of_its_name(entry):
    shape = (10, 13, 3)
    model = build_model(entry, shape, 2)
    # Biases start at zero: shift everything so that a lost one would show.
    params = jax.tree.map(lambda p: p + 0.03, model.init(jax.random.key(0)))
    x = jax.random.normal(jax.random.key(1), (2, *shape))
    expected = jax.jit(network(entry).apply)({"params": as_flax(params)}, x)
    np.testing.assert_allclose(jax.jit(model.apply)(params, x), expected, rtol=1e-4, atol=1e-5)


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
