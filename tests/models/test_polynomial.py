"""A polynomial: every monomial once, weights that read as a, b, c, and one lowest point."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax import population as pop
from catdog_jax.analysis import distance
from catdog_jax.losses import CLASSIFICATION, REGRESSION
from catdog_jax.models.build import build_model, recipe_for
from catdog_jax.models.linear import LinearParams
from catdog_jax.models.polynomial import count_monomials
from catdog_jax.optimizers import make_optimizer
from catdog_jax.train import make_learner
from catdog_jax.types import Data, InputError


def monomials(entry, x):
    model = build_model(entry, x.shape[1:], 2)
    names = dict(model.features(model.init(jax.random.key(0)), x))
    return np.asarray(names["monomials"])


@pytest.mark.parametrize(("num_inputs", "degree"), [(1, 6), (2, 5), (4, 3), (7, 2), (5, 1)])
def test_every_monomial_comes_once_by_degree_and_index(num_inputs, degree):
    x = np.random.default_rng(0).normal(size=(6, num_inputs)).astype(np.float32)
    columns = []
    for k in range(1, degree + 1):
        for indices in itertools.combinations_with_replacement(range(num_inputs), k):
            powers = np.bincount(indices, minlength=num_inputs)
            # Of a standard normal number to the power a the mean square is (2a)! / (2^a a!).
            size = math.prod(math.factorial(2 * a) / (2**a * math.factorial(a)) for a in powers)
            scale = 1.0 if num_inputs == 1 else 1.0 / math.sqrt(size)
            columns.append(scale * np.prod(x[:, list(indices)], axis=1))
    found = monomials(f"polynomial:degree={degree}", jnp.asarray(x))
    np.testing.assert_allclose(found, np.stack(columns, 1), rtol=1e-4, atol=1e-5)
    assert found.shape[1] == count_monomials(num_inputs, degree)


def test_the_weights_of_one_input_are_a_b_c():
    model = build_model("polynomial:degree=3", (1,), 1)
    a, b, c, bias = 2.0, -3.0, 0.5, 1.0
    params = LinearParams(jnp.array([[a], [b], [c]]), jnp.array([bias]))
    x = jnp.linspace(-2.0, 2.0, 9)
    found = model.apply(params, x[:, None])[:, 0]
    np.testing.assert_allclose(found, a * x + b * x**2 + c * x**3 + bias, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("entry", "shape", "message"),
    [
        ("polynomial:degree=0", (4,), r"degree=0 is not allowed; give a whole number ≥ 1 and ≤ 12"),
        ("polynomial:degree=13", (4,), r"degree=13 is not allowed"),
        ("polynomial", (32, 32, 3), r"3,072 inputs has 4,723,200 monomials, more .*smaller degree"),
    ],
)
def test_wrong_settings(entry, shape, message):
    with pytest.raises(InputError, match=message) as caught:
        build_model(entry, shape, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("entry", ["polynomial", "mlp"])
def test_one_output_is_a_regression_and_none_is_nothing(entry):
    model = build_model(entry, (3,), 1)
    assert model.apply(model.init(jax.random.key(0)), jnp.ones((5, 3))).shape == (5, 1)
    with pytest.raises(InputError, match="num_classes=0 is not allowed; give a whole number ≥ 1"):
        build_model(entry, (3,), 0)


def trained(entry, data, num_classes, num_steps, tx, batch_size):
    """Train eight members; give the wave and their relative distances."""
    objective = REGRESSION if num_classes == 1 else CLASSIFICATION
    model = build_model(entry, data.inputs.shape[1:], num_classes)
    (wave,) = pop.train_population(
        make_learner(model, tx, batch_size=batch_size, objective=objective),
        data,
        pop.Schedule(num_steps, num_steps),
        members=pop.varied(8),
        plan=pop.Plan("vmap", 2, 8, 4, 0, "patches", 0),
        evaluations={"test": data},
    )
    return wave, distance.weight_distances(distance.flatten_members(wave.params))[1]


def test_all_starts_of_a_regression_meet_in_the_least_squares_fit():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 40).astype(np.float32)
    y = (0.5 * x - 1.5 * x**2 + 0.1 * rng.normal(size=40)).astype(np.float32)
    tx = make_optimizer("sgd", 0.2, num_steps=1500)
    wave, apart = trained("polynomial:degree=2:gain=3", Data(x[:, None], y), 1, 1500, tx, 40)
    columns = np.stack([x, x**2, np.ones_like(x)], 1).astype(np.float64)
    wanted = np.linalg.lstsq(columns, y.astype(np.float64), rcond=None)[0]
    assert apart.max() < 1e-4
    found = np.column_stack([wave.params.weights[:, :, 0], wave.params.bias])
    np.testing.assert_allclose(found, np.tile(wanted, (8, 1)), atol=1e-4)


def test_all_starts_of_the_recipe_meet():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(512, 6)).astype(np.float32)
    y = ((x[:, 0] * x[:, 1] + 0.5 * x[:, 2] + 0.3 * rng.normal(size=512)) > 0).astype(np.int32)
    recipe = recipe_for("polynomial", "default")
    tx = make_optimizer(
        recipe.optimizer,
        recipe.learning_rate,
        num_steps=recipe.num_steps,
        schedule="cosine:warmup=0.1",
        weight_decay=recipe.weight_decay,
    )
    wave, apart = trained(
        "polynomial:degree=2", Data(x, y), 2, recipe.num_steps, tx, recipe.batch_size
    )
    assert apart.max() < 1e-4
    assert wave.history["test_accuracy"][:, -1].min() > 0.85
