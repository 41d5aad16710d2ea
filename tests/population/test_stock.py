"""Whatever the plan, five steps are those of plain Flax modules and optax in a Python loop."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from populations import SHAPE, examples, learner, plan

from catdog_jax import population as pop
from catdog_jax.models.build import build_model
from catdog_jax.optimizers import make_optimizer
from catdog_jax.population.devices import member_mesh
from catdog_jax.train import epoch_order
from catdog_jax.types import Recipe
from experiments.baselines.flax_loop import as_flax, network
from experiments.baselines.flax_loop import make_optimizer as stock_optimizer

STEPS, BATCH, EXAMPLES, MEMBERS = 5, 8, 24, 4  # three steps an epoch: the second one is entered
LEARNING_RATE, DECAY = 3e-3, 0.1
# Two orders of the same sums: 1e-7 of a weight after one step, growing with the steps.
TOLERANCE = {"rtol": 2e-4, "atol": 2e-5}
OPTIMIZER = {
    "linear": "sgd",
    "mlp:width=16": "adam",
    "cnn:widths=4-8": "sgd",
    "resnet:widths=4-8": "adam",
}


def keys(vary):
    return pop.member_keys(pop.Seeds(), pop.varied(MEMBERS, vary))


def transformation(entry):
    return stock_optimizer(Recipe(STEPS, BATCH, OPTIMIZER[entry], LEARNING_RATE, DECAY))


@functools.cache
def stock(entry):
    """Compile one step of Flax and optax; give the start and the end of each member, by `vary`."""
    module, tx, data = network(entry), transformation(entry), examples(EXAMPLES)

    def loss(params, x, labels):
        logits = module.apply({"params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def update(params, state, x, labels):
        changes, state = tx.update(jax.grad(loss)(params, x, labels), state, params)
        return optax.apply_updates(params, changes), state

    start = jax.jit(tx.init)
    draw = jax.jit(epoch_order, static_argnums=2)

    def train(params, order_key):
        state = start(params)
        for step in range(STEPS):
            epoch, slot = divmod(step, EXAMPLES // BATCH)
            order = np.asarray(draw(order_key, jnp.int32(epoch), EXAMPLES))
            rows = order[slot * BATCH :][:BATCH]
            x = ((data.inputs[rows] / 255 - 0.5) / 0.2).astype(np.float32)
            params, state = update(params, state, x, data.labels[rows])
        return jax.device_get(params)

    starts = [as_flax(build_model(entry, SHAPE, 2).init(key)) for key in keys(("init",)).init]
    ends = {}
    for vary in (("init",), ("init", "order")):
        orders = keys(vary).order
        orders = [orders] * MEMBERS if orders.ndim == 0 else list(orders)
        ends[vary] = [train(*member) for member in zip(starts, orders, strict=True)]
    return jax.device_get(starts), ends


def engine(entry, strategy, form, share, matrices, vary):
    """Run the five steps by a plan; give the starts and the ends, members in front."""
    conv = {"conv": form} if form else {}
    microbatch = 2 if strategy == "map" and form else 0
    tx = make_optimizer(OPTIMIZER[entry], LEARNING_RATE, num_steps=40, weight_decay=DECAY)
    taught = learner(entry, tx=tx, augment=(), batch_size=BATCH, microbatch=microbatch, **conv)
    decided = plan(strategy, MEMBERS, share, microbatch, form or "direct", share, matrices)
    program = pop.Program(
        taught, keys(vary), examples(EXAMPLES), {}, decided, member_mesh(share, share)
    )
    state = program.init(keys(vary))
    start = jax.device_get(as_flax(state.params))
    return start, jax.device_get(as_flax(program.segment(state, keys(vary), STEPS)[0].params))


def assert_members(found, wanted, **tolerance):
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *wanted)
    assert jax.tree.structure(found) == jax.tree.structure(stacked)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), found, stacked)


def check(entry, strategy, form, share, matrices, vary):
    starts, ends = stock(entry)
    start, end = engine(entry, strategy, form, share, matrices, vary)
    assert_members(start, starts, rtol=1e-6, atol=1e-7)
    assert_members(end, ends[vary], **TOLERANCE)
    moved = jax.tree.leaves(jax.tree.map(lambda a, b: np.abs(a - b).max(), end, start))
    assert min(moved) > 10 * TOLERANCE["atol"], "a leaf that stayed would prove nothing"


SHARED, OWN = ("init",), ("init", "order")
FAST = [  # of every model, and of nearly everything that a plan decides, each value
    ("linear", "chunk", "", 2, "transposed", SHARED),
    ("mlp:width=16", "map", "", 1, "transposed", OWN),
    ("mlp:width=16", "vmap", "", 1, "stored", SHARED),
    ("cnn:widths=4-8", "chunk", "patches", 2, "transposed", OWN),
    ("resnet:widths=4-8", "map", "direct", 1, "stored", SHARED),
]
FORMS = ("direct", "patches", "lax")
GRID = [
    (entry, *rest)
    for entry in OPTIMIZER
    for rest in itertools.product(
        ("map", "chunk", "vmap"),
        FORMS if entry[:3] in ("cnn", "res") else ("",),
        (1, 2),
        ("stored", "transposed"),
        (SHARED, OWN),
    )
]


@pytest.mark.parametrize("case", FAST, ids=str)
def test_five_steps_are_those_of_stock_flax(case):
    assert case in GRID
    check(*case)


@pytest.mark.slow  # every plan there is: strategy × form × share × matrices × orders, 192 programs
@pytest.mark.parametrize("case", [case for case in GRID if case not in FAST], ids=str)
def test_every_plan_gives_the_steps_of_stock_flax(case):
    check(*case)
