"""One training step, by numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from catdog_jax import losses
from catdog_jax.train import MemberKeys, batch_at, epoch_order, make_learner, steps_per_epoch
from catdog_jax.types import Data, InputError, Model


def linear_model() -> Model:
    def init(key):
        return {"w": jax.random.normal(key, (3, 2)), "b": jnp.zeros(2)}

    def apply(params, inputs):
        return inputs @ params["w"] + params["b"][None]

    return Model(init, apply)


def keys() -> MemberKeys:
    return MemberKeys(*(jax.random.key(seed) for seed in range(4)))


def examples(num=12) -> Data:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(num, 3)).astype(np.float32)
    return Data(inputs, rng.integers(0, 2, num).astype(np.int32))


def closed_form_step(w, b, x, y, rate):
    """Softmax regression by hand, in float64: w - rate * x^T (p - onehot) / N."""
    logits = x @ w + b
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    error = (p - np.eye(2)[y]) / len(y)
    return w - rate * x.T @ error, b - rate * error.sum(0)


def test_full_batch_iterates_are_those_of_the_closed_form():
    data = examples()
    learner = make_learner(linear_model(), optax.sgd(0.5), batch_size=12)
    state = learner.init(keys())
    w, b = (np.asarray(state.params[k], np.float64) for k in ("w", "b"))
    step = jax.jit(learner.step)
    for _ in range(20):
        state, _ = step(state, keys(), data)
        w, b = closed_form_step(w, b, data.inputs.astype(np.float64), data.labels, 0.5)
    np.testing.assert_allclose(state.params["w"], w, atol=2e-6)
    np.testing.assert_allclose(state.params["b"], b, atol=2e-6)
    assert int(state.step) == 20
    assert int(state.diverged_step) == -1


def test_golden_first_loss_and_gradient_norm():
    data = examples()
    learner = make_learner(linear_model(), optax.sgd(0.5), batch_size=12)
    params = {"w": jnp.zeros((3, 2)), "b": jnp.zeros(2)}
    state = learner.init(keys())._replace(params=params)
    _, info = learner.step(state, keys(), data)
    x, y = data.inputs.astype(np.float64), data.labels
    error = (0.5 - np.eye(2)[y]) / 12
    norm = np.sqrt(np.sum((x.T @ error) ** 2) + np.sum(error.sum(0) ** 2))
    np.testing.assert_allclose(info.loss, np.log(2), rtol=1e-6)
    np.testing.assert_allclose(info.grad_norm, norm, rtol=1e-6)


@pytest.mark.parametrize("microbatch", [1, 3, 4, 5, 12])
def test_microbatches_differ_by_rounding_only(microbatch):
    data = examples()
    learners = [
        make_learner(linear_model(), optax.adam(0.1), batch_size=12, microbatch=m)
        for m in (0, microbatch)
    ]
    states = [learner.init(keys()) for learner in learners]
    for _ in range(3):
        states = [
            learner.step(s, keys(), data)[0] for learner, s in zip(learners, states, strict=True)
        ]
    np.testing.assert_allclose(states[0].params["w"], states[1].params["w"], atol=1e-5)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_member_that_is_not_finite_keeps_its_last_weights(poison):
    learner = make_learner(linear_model(), optax.adam(0.1), batch_size=12)
    state, _ = learner.step(learner.init(keys()), keys(), examples())
    bad = examples()._replace(inputs=np.full((12, 3), poison, np.float32))
    diverged, _ = learner.step(state, keys(), bad)
    assert int(diverged.diverged_step) == 1
    after, _ = learner.step(diverged, keys(), examples())
    assert int(after.diverged_step) == 1
    for kept, before in zip(
        jax.tree.leaves((after.params, after.opt_state)),
        jax.tree.leaves((state.params, state.opt_state)),
        strict=True,
    ):
        np.testing.assert_array_equal(kept, before)


def test_order_is_a_permutation_of_key_and_epoch_alone():
    key = jax.random.key(3)
    orders = [np.asarray(epoch_order(key, jnp.int32(e), 100)) for e in (0, 1, 0)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(100))
    np.testing.assert_array_equal(orders[0], orders[2])
    assert (orders[0] != orders[1]).mean() > 0.9


def test_order_is_uniform():
    """Each index lands at each place equally often: a chi-square test at a fixed key."""
    keys = jax.random.split(jax.random.key(0), 6000)
    orders = np.asarray(jax.vmap(lambda k: epoch_order(k, jnp.int32(0), 5))(keys))
    counts = np.stack([np.bincount(orders[:, place], minlength=5) for place in range(5)])
    chi_square = ((counts - 1200) ** 2 / 1200).sum()
    assert chi_square < 39.3  # 99.9 % point of chi-square with 16 degrees of freedom


def test_batches_of_an_epoch_are_disjoint():
    data = Data(np.arange(10, dtype=np.float32)[:, None], np.zeros(10, np.int32))
    order = epoch_order(jax.random.key(1), jnp.int32(0), 10)
    seen = np.concatenate([batch_at(order, jnp.int32(t), data, 3).inputs[:, 0] for t in range(3)])
    assert len(set(seen.tolist())) == 9
    assert steps_per_epoch(10, 3) == 3


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(InputError, match="batch_size 11 is larger than the 10 training examples"):
        steps_per_epoch(10, 11)


def test_evaluate_in_parts_equals_all_at_once():
    data = examples(11)
    whole = make_learner(linear_model(), optax.sgd(0.1), batch_size=2)
    parts = make_learner(linear_model(), optax.sgd(0.1), batch_size=2, eval_batch=4)
    params = linear_model().init(jax.random.key(0))
    expected = linear_model().apply(params, data.inputs)
    for metrics in (whole.evaluate(params, data), parts.evaluate(params, data)):
        np.testing.assert_allclose(metrics.logits, expected, atol=1e-6)
        accuracy = (np.asarray(expected).argmax(1) == data.labels).mean()
        np.testing.assert_allclose(metrics.accuracy, accuracy, rtol=1e-6)


def test_bfloat16_keeps_master_weights_and_comes_close():
    learners = [
        make_learner(linear_model(), optax.sgd(0.1), batch_size=12, precision=p)
        for p in ("float32", "bfloat16")
    ]
    (full, _), (half, _) = (ln.step(ln.init(keys()), keys(), examples()) for ln in learners)
    assert half.params["w"].dtype == jnp.float32
    np.testing.assert_allclose(half.params["w"], full.params["w"], atol=2e-3)
    assert np.any(half.params["w"] != full.params["w"])


def test_unknown_precision_is_refused():
    with pytest.raises(InputError, match="precision 'fp8'; allowed: float32, tf32, bfloat16"):
        make_learner(linear_model(), optax.sgd(0.1), batch_size=2, precision="fp8")


def test_a_regression_descends_to_the_least_squares_solution():
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(40, 3)).astype(np.float32)
    targets = (inputs @ [0.5, -1.0, 2.0] + 0.3 + 0.1 * rng.normal(size=40)).astype(np.float32)
    data = Data(inputs, targets)

    def init(key):
        return {"w": jax.random.normal(key, (3, 1)), "b": jnp.zeros(1)}

    model = Model(init, lambda params, x: x @ params["w"] + params["b"][None])
    learner = make_learner(
        model, optax.sgd(0.1), batch_size=40, objective=losses.REGRESSION, microbatch=8
    )
    state, step = learner.init(keys()), jax.jit(learner.step)
    for _ in range(300):
        state, _ = step(state, keys(), data)
    design = np.concatenate([inputs, np.ones((40, 1))], axis=1)
    best, *_ = np.linalg.lstsq(design.astype(np.float64), targets, rcond=None)
    np.testing.assert_allclose(np.ravel(state.params["w"]), best[:3], atol=1e-5)
    np.testing.assert_allclose(state.params["b"], best[3:], atol=1e-5)
    metrics = learner.evaluate(state.params, data)
    residual = design @ best - targets
    assert float(metrics.loss) == pytest.approx(np.mean(residual**2), rel=1e-4)
    right = np.mean(np.sign(design @ best) == np.sign(targets))
    assert float(metrics.accuracy) == pytest.approx(right)
