"""Every optimiser of the table reaches a known minimum; schedules by closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from catdog_jax.optimizers import OPTIMIZERS, SCHEDULES, make_optimizer, make_schedule
from catdog_jax.types import InputError

RATES = {"sgd": 0.05, "lion": 0.05, "muon": 0.05, "lamb": 0.05, "rmsprop": 0.05}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_reaches_the_minimum_of_a_quadratic(name):
    target = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.3, -0.7])}
    tx = make_optimizer(name, RATES.get(name, 0.1), num_steps=400, schedule="cosine")
    params = jax.tree.map(jnp.ones_like, target)

    def loss(params):
        return sum(jnp.sum((params[k] - target[k]) ** 2) for k in target)

    traces = []

    @jax.jit
    def step(params, state):
        traces.append(1)
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(400):
        params, state = step(params, state)
    assert float(loss(params)) < 1e-2
    assert len(traces) == 1
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_vmapped_update_does_not_mix_members(name):
    tx = make_optimizer(name, 0.1, num_steps=10, clip_norm=0.5)
    params = {"w": jnp.arange(8.0).reshape(2, 2, 2) + 1}
    grads = {"w": jnp.stack([jnp.full((2, 2), 0.1), jnp.array([[1e3, 2.0], [3.0, 4.0]])])}
    both, _ = jax.vmap(tx.update)(grads, jax.vmap(tx.init)(params), params)
    for i in range(2):
        one, grad = {"w": params["w"][i]}, {"w": grads["w"][i]}
        alone, _ = tx.update(grad, tx.init(one), one)
        np.testing.assert_allclose(both["w"][i], alone["w"], rtol=2e-5, atol=1e-6)


def test_learning_rate_is_data_and_not_a_constant():
    tx = make_optimizer("sgd", 0.1, num_steps=10)
    state = tx.init({"w": jnp.zeros(2)})
    assert float(state[0].hyperparams["learning_rate"]) == pytest.approx(0.1)


def test_weight_decay_of_sgd_is_the_gradient_of_the_l2_penalty():
    tx = make_optimizer("sgd:momentum=0", 0.5, num_steps=10, weight_decay=0.2)
    params = {"w": jnp.array([2.0])}
    updates, _ = tx.update({"w": jnp.array([1.0])}, tx.init(params), params)
    np.testing.assert_allclose(updates["w"], [-0.5 * (1.0 + 0.2 * 2.0)], rtol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_decoupled_weight_decay_reaches_matrices_and_all_else(name):
    params = {"kernel": jnp.ones((2, 2, 1, 3)), "matrix": jnp.ones((2, 3)), "bias": jnp.ones((3,))}
    tx = make_optimizer(name, 0.1, num_steps=1, weight_decay=0.5)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zero, tx.init(params), params)
    for update in updates.values():
        np.testing.assert_allclose(update, np.full(update.shape, -0.05), rtol=1e-6)


def test_clip_norm_bounds_the_update():
    tx = make_optimizer("sgd:momentum=0", 1.0, num_steps=10, clip_norm=1.0)
    params = {"w": jnp.zeros(2)}
    updates, _ = tx.update({"w": jnp.array([3.0, 4.0])}, tx.init(params), params)
    np.testing.assert_allclose(updates["w"], [-0.6, -0.8], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "middle", "end"), [("constant", 1.0, 1.0), ("cosine", 0.5, 0.0), ("linear", 0.5, 0.0)]
)
def test_schedule_shapes(name, middle, end):
    shape = make_schedule(SCHEDULES[name], 100)
    values = [float(shape(jnp.int32(s))) for s in (0, 50, 100)]
    np.testing.assert_allclose(values, [1.0, middle, end], atol=1e-6)
    warm = make_schedule(SCHEDULES[name], 100, warmup=0.1)
    np.testing.assert_allclose(
        [float(warm(jnp.int32(s))) for s in range(10)], np.arange(1, 11) / 11, rtol=1e-6
    )
    again = make_schedule(SCHEDULES[name], 300, warmup=0.1, cycles=3)
    for step in range(100):
        for cycle in range(3):
            assert float(again(jnp.int32(100 * cycle + step))) == float(warm(jnp.int32(step)))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("adm", "unknown optimizer 'adm'.*did you mean 'adam'"),
        ("sgd:momentun=0.9", "momentun.*did you mean 'momentum'"),
        ("sgd:momentum=1.5", "momentum=1.5 is not allowed; give a finite number ≥ 0 and < 1"),
        ("sgd:momentum=x", "momentum=x is not allowed; give a finite number"),
        ("sgd:nesterov=maybe", "true or false"),
    ],
)
def test_wrong_optimizers_are_refused(entry, message):
    with pytest.raises(InputError, match=message):
        make_optimizer(entry, 0.1, num_steps=10)


def test_wrong_schedules_are_refused():
    with pytest.raises(InputError, match="unknown schedule 'cosin'.*did you mean 'cosine'"):
        make_optimizer("sgd", 0.1, num_steps=10, schedule="cosin")
    with pytest.raises(InputError, match="warmup=1.0"):
        make_optimizer("sgd", 0.1, num_steps=10, schedule="cosine:warmup=1")
