"""Entries of --models become models, or one line that says what to do."""

import jax
import jax.numpy as jnp
import pytest

from catdog_jax.models.build import DEFAULT_RECIPE, MODEL, build_model, recipe_for
from catdog_jax.types import InputError, Model

SHAPE = (13, 9, 3)
HERE = "catdog_jax.models"


def sizes(entry, **overrides):
    model = build_model(entry, SHAPE, 2, **overrides)
    params = jax.eval_shape(model.init, jax.random.key(0))
    return {leaf.shape for leaf in jax.tree.leaves(params)}


def test_settings_reach_the_builder():
    assert (117 * 3, 7) in sizes("mlp:width=7:depth=1")
    assert (5, 5, 3, 6) in sizes("cnn:widths=6:kernel_size=5:conv=patches")


def test_an_override_yields_to_the_entry_and_to_builders_without_it():
    assert (117 * 3, 5) in sizes("mlp", width=5)
    assert (117 * 3, 7) in sizes("mlp:width=7", width=5)
    assert (117 * 3, 2) in sizes("linear", conv="patches")
    with pytest.raises(InputError, match="unknown conv 'nonsense'"):
        build_model("cnn:widths=4", SHAPE, 2, conv="nonsense")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("mpl", r"unknown model 'mpl'; known: .*did you mean 'mlp'.*dotted path"),
        ("mlp:depht=3", r"'depht'; known: activation.*did you mean 'depth'"),
        ("mlp:depth=0", r"depth=0 is not allowed; give a whole number ≥ 1 and ≤ 16"),
        ("mlp:depth=x", r"depth=x is not allowed; give a whole number"),
        ("mlp:gain=nan", r"gain=nan is not allowed; give a finite number > 0"),
        ("mlp:activation=rely", r"unknown activation 'rely'.*did you mean 'relu'"),
        ("mlp:norm=batch", r"unknown norm 'batch'; known: group, layer, none, rms"),
        ("cnn:widths=4-0", r"widths=4-0 is not allowed; give whole numbers like 32-64-128 ≥ 1"),
        ("cnn:widths=2-2-2-2", r"image size 13×9 is too small to be halved 4 times, .*16×16"),
        ("resnet:widths=2-2-2-2:stem_stride=2", r"too small to be halved 4 times.*16×16"),
        ("resnet:stem_stride=3", r"stem_stride=3 is not allowed; give a whole number ≥ 1 and ≤ 2"),
        ("resnet:head=sum", r"unknown head 'sum'; known: average, flatten"),
        ("numpy.pi", r"'numpy.pi' is a float; give a function"),
        ("numpy.nope", r"module 'numpy' has no 'nope'"),
        ("no_such_package.build", r"cannot import 'no_such_package'"),
        ("math.sin", r"'math.sin' is Python's own"),
        ("numpy.iscomplex", r"'numpy.iscomplex' cannot be called"),
        (f"{HERE}.parts.check_size", r"cannot be called \(missing a required argument"),
    ],
)
def test_wrong_entries(entry, message):
    with pytest.raises(InputError, match=message) as caught:
        build_model(entry, SHAPE, 2)
    assert "\n" not in str(caught.value)


def test_one_class_and_flat_inputs_are_refused():
    with pytest.raises(InputError, match="num_classes=1 is not allowed; give a whole number ≥ 2"):
        build_model("linear", SHAPE, 1)
    with pytest.raises(InputError, match="input_shape=27 is not allowed; give 3 whole numbers ≥ 1"):
        build_model("cnn", (27,), 2)


def test_a_dotted_path_leads_to_a_builder(monkeypatch):
    def mine(input_shape, num_classes, *, slope: float = 1.0, mean=()):
        """Scale the sum of the pixels."""
        assert mean in ((), (0.1, 0.2, 0.3))
        return (
            lambda key: {"w": jax.random.normal(key, (num_classes,))},
            lambda params, x: slope * x.sum((1, 2, 3))[:, None] * params["w"][None],
        )

    monkeypatch.setattr(f"{HERE}.mine", mine, raising=False)
    model = build_model(f"{HERE}.mine:slope=2", SHAPE, 3, conv="patches")
    assert isinstance(model, Model)
    assert model.features is None
    told = build_model(f"{HERE}.mine:slope=2", SHAPE, 3, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))
    for one in (model, told):  # either sees the pictures as they are
        logits = one.apply({"w": jnp.array([1.0, 2.0, 3.0])}, jnp.ones((1, *SHAPE)))
        assert logits.tolist() == [[702.0, 1404.0, 2106.0]]
    assert recipe_for(f"{HERE}.mine", "cifar10") == DEFAULT_RECIPE
    monkeypatch.setattr(f"{HERE}.mine", lambda shape, classes: 3)
    with pytest.raises(InputError, match=r"returned a int; return Model\(init, apply\)"):
        build_model(f"{HERE}.mine", SHAPE, 2)


def test_a_data_set_without_a_recipe_gets_the_default():
    recipes = MODEL.spec("cnn").recipes
    assert recipe_for("cnn:widths=4", "no_such_data_set") == recipes["default"]
    for dataset, recipe in recipes.items():
        assert recipe_for("cnn", dataset) == recipe
