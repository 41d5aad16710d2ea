"""Devices that share a member's batch, and matrices carried transposed, change rounding only."""

import itertools

import jax
import numpy as np
import optax
import pytest
from populations import ALL, assert_close, examples, learner, plan, train

from catdog_jax import population as pop
from catdog_jax.optimizers import NUMBERWISE, OPTIMIZERS, make_optimizer
from catdog_jax.population.devices import member_mesh

CNN = "cnn:widths=4-8"


@pytest.mark.parametrize(
    ("members", "devices", "share", "entry"),
    [
        (1, 4, 4, "mlp:width=16"),
        (4, 4, 2, "mlp:width=16"),
        pytest.param(1, 2, 2, "mlp:width=16", marks=pytest.mark.slow),  # each place by each model
        pytest.param(1, 2, 2, CNN, marks=pytest.mark.slow),
        pytest.param(1, 4, 4, CNN, marks=pytest.mark.slow),
        pytest.param(4, 4, 2, CNN, marks=pytest.mark.slow),
    ],
)
def test_a_shared_batch_trains_as_a_whole_one(entry, members, devices, share):
    options = {"steps": 6, "eval_every": 3, "vary": ALL}
    (alone,) = train(learner(entry), plan("map", members, 1), members, **options)
    shared_plan = plan("map", members, devices, microbatch=4, share=share)
    (shared,) = train(learner(entry, microbatch=4), shared_plan, members, **options)
    assert_close(shared.params, alone.params)
    assert_close(shared.logits, alone.logits)
    assert_close(shared.history, alone.history)


def test_examples_that_cannot_be_shared_evenly_are_judged_by_all():
    data = examples(39, seed=1)
    keys = pop.member_keys(pop.Seeds(), pop.varied(1))
    shared_plan = plan("map", 1, 2, share=2)
    mesh = member_mesh(2, 2)
    program = pop.Program(learner(CNN), keys, examples(), {"test": data}, shared_plan, mesh)
    alone = pop.Program(
        learner(CNN), keys, examples(), {"test": data}, plan("map", 1, 1), member_mesh(1)
    )
    params = program.init(keys).params
    found, _ = program.evaluate(params)
    wanted, _ = alone.evaluate(jax.device_get(params))
    assert found["test"].logits.shape == (1, 39, 2)
    assert_close(found, wanted)


def test_devices_that_share_meet_once_a_step_and_no_member_meets_another():
    keys = pop.member_keys(pop.Seeds(), pop.varied(2))
    shared_plan = plan("map", 2, 4, share=2)
    program = pop.Program(learner(CNN), keys, examples(), {}, shared_plan, member_mesh(4, 2))
    text = program.lower_segment(keys).compile().as_text()
    calls = [line for line in text.splitlines() if " all-reduce(" in line]
    assert len(calls) == 1
    assert "replica_groups={{0,1},{2,3}}" in calls[0] or "replica_groups=[2,2]<=[4]" in calls[0]
    others = ("all-gather(", "all-to-all(", "collective-permute(", "reduce-scatter(")
    assert not [name for name in others if name in text]


EACH_ONCE = {("mlp:width=16", "map"), (CNN, "vmap")}


# Slow: every model by every strategy; `test_stock` holds some of them against stock Flax.
@pytest.mark.parametrize(
    ("entry", "strategy"),
    [
        pytest.param(*pair, marks=() if pair in EACH_ONCE else pytest.mark.slow)
        for pair in itertools.product(("linear", "mlp:width=16", CNN), ("map", "chunk", "vmap"))
    ],
)
def test_turned_matrices_train_as_stored_ones(entry, strategy):
    conv = "direct" if strategy == "map" else "patches"
    stored, transposed = (
        train(learner(entry), plan(strategy, 8, 2, conv=conv, matrices=kind), 8, steps=6)[0]
        for kind in ("stored", "transposed")
    )
    assert_close(transposed.params, stored.params)
    assert_close(transposed.logits, stored.logits)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_optimisers_that_may_turn_matrices_take_the_same_steps_transposed(name):
    tx = make_optimizer(name, 1e-2, num_steps=4, weight_decay=0.01)
    grads = np.random.default_rng(0).normal(size=(3, 12, 5)).astype(np.float32)

    @jax.jit
    def walk(params, grads):
        state = tx.init(params)
        for grad in grads:
            updates, state = tx.update({"w": grad}, state, params)
            params = optax.apply_updates(params, updates)
        return params["w"]

    one = walk({"w": grads[0] + 1}, grads)
    other = walk({"w": grads[0].T + 1}, grads.transpose(0, 2, 1)).T
    same = np.allclose(one, other, rtol=1e-5, atol=1e-6)
    assert same or name not in NUMBERWISE
    assert np.abs(one - grads[0] - 1).max() > 1e-3
