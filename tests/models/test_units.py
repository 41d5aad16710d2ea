"""Hidden units may be numbered anew, and a model's table says which axes go with them."""

import jax
import numpy as np
import pytest

from catdog_jax.analysis.alignment import group_sizes, layer_groups, permuted
from catdog_jax.models.build import MODEL, build_model

SHAPE = (8, 12, 3)
FAMILIES = (
    *("mlp:width=7:depth=1", "mlp:width=7:depth=4", "mlp:width=7:norm=layer"),
    *("mlp:width=7:norm=rms", "cnn:widths=4-6", "cnn:widths=4-6:convs=2:head=flatten"),
    *("cnn:widths=4-6:head=flatten:activation=gelu:norm=layer", "cnn:widths=4-6:norm=rms"),
    *("resnet:widths=4-6-5", "resnet:widths=4-6:blocks=2:stem_stride=2:head=flatten"),
    *("resnet:widths=4-4:blocks=2:norm=layer", "resnet:widths=4-6:norm=rms"),
)


def moved(params, seed=0):
    """Biases start at zero and scales at one: shift all, that a forgotten one would show."""
    keys = iter(jax.random.split(jax.random.key(seed), 99))
    return jax.tree.map(lambda x: x + 0.2 * jax.random.normal(next(keys), x.shape), params)


@pytest.fixture(params=FAMILIES)
def made(request):
    """A model, its params, pictures, and a random order of all units."""
    model = build_model(request.param, SHAPE, 2, mean=(0.5,) * 3, std=(0.2,) * 3)
    params, rng = moved(model.init(jax.random.key(1))), np.random.default_rng(2)
    order = {name: rng.permutation(n) for name, n in group_sizes(model.units, params).items()}
    return model, params, rng.integers(0, 256, (5, *SHAPE)).astype(np.uint8), order


def test_units_in_another_order_compute_the_same(made):
    model, params, pictures, order = made
    apply, other = jax.jit(model.apply), permuted(model.units, params, order)
    expected = apply(params, pictures)
    np.testing.assert_allclose(apply(other, pictures), expected, rtol=1e-4, atol=1e-5)
    for name, rows in order.items():  # every group is one of its own
        alone = permuted(model.units, params, {name: np.roll(np.arange(len(rows)), 1)})
        np.testing.assert_allclose(apply(alone, pictures), expected, rtol=1e-4, atol=1e-5)


def test_the_outputs_of_layers_are_permuted_with_them(made):
    model, params, pictures, order = made
    outputs, groups = jax.jit(model.units.outputs), layer_groups(model.units)
    one, other = (outputs(x, pictures) for x in (params, permuted(model.units, params, order)))
    assert list(groups) == [x for x in groups if x in one]
    for layer, group in groups.items():
        expected = one[layer][..., order[group]]
        np.testing.assert_allclose(other[layer], expected, rtol=1e-4, atol=1e-4)


def test_a_first_layer_that_is_apart_is_linear_and_the_rest_is_the_formula(made):
    model, params, pictures, _ = made
    first = model.units.first
    if first is None:
        return
    begin = jax.jit(first.apply)
    begun = begin(params[first.name], pictures)
    outputs = jax.jit(model.units.outputs)(params, pictures)
    np.testing.assert_allclose(begun, outputs[first.name], atol=1e-4)
    found, expected = jax.jit(first.rest)(params, begun), jax.jit(model.apply)(params, pictures)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    twice = begin(jax.tree.map(lambda x: 2 * x, params[first.name]), pictures)
    np.testing.assert_allclose(twice, 2 * begun, rtol=1e-4, atol=1e-4)


def test_every_array_of_a_family_is_in_its_table_and_groups_of_features_have_none(made):
    model, params, *_ = made
    paths, _ = zip(*jax.tree_util.tree_leaves_with_path(params), strict=True)
    names = {jax.tree_util.keystr(path, simple=True, separator="/") for path in paths}
    assert names - {*model.units.axes} == {"head/bias"}
    for name in ("mlp", "cnn", "resnet"):
        assert build_model(f"{name}:norm=group", (32, 32, 3), 2).units is None


def test_formulas_without_hidden_units_have_no_groups():
    for name in ("linear", "polynomial"):
        shape = (11,) if "images" not in MODEL.spec(name).reads else SHAPE
        model = build_model(name, shape, 2)
        assert group_sizes(model.units, model.init(jax.random.key(0))) == {}
