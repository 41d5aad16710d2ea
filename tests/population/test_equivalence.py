"""A member is a function of its keys: not of neighbours, waves, devices, segments or strategy."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from populations import (
    ALL,
    assert_close,
    assert_same_bits,
    differs,
    examples,
    keys_of,
    learner,
    plan,
    poisoned_model,
    train,
)

from catdog_jax import population as pop
from catdog_jax.optimizers import NUMBERWISE, OPTIMIZERS, make_optimizer
from catdog_jax.population import waves
from catdog_jax.population.devices import loop_options, member_mesh
from catdog_jax.train import batch_at, epoch_order

ENTRIES = ("linear", "mlp:width=16", "cnn:widths=4-8", "resnet:widths=4-8")


def solo(learner, member, steps, vary=("init",)):
    """Train one member in a plain Python loop, with nothing of the engine but its order."""
    keys = keys_of(pop.varied(member + 1, vary), member)
    data = examples()
    state = learner.init(keys)
    step = jax.jit(learner.step)
    for t in range(steps):
        order = epoch_order(keys.order, jnp.int32(t // 6), 96)
        state, _ = step(state, keys, batch_at(order, jnp.int32(t), data, 16))
    return state


EACH_ONCE = {*zip(ENTRIES, ("vmap", "chunk", "vmap", "map"), strict=True)}


# Slow: every model by every strategy; `test_stock` has more plans, without changed pictures.
@pytest.mark.parametrize(
    ("entry", "strategy"),
    [
        pytest.param(*pair, marks=() if pair in EACH_ONCE else pytest.mark.slow)
        for pair in itertools.product(ENTRIES, ("map", "chunk", "vmap"))
    ],
)
def test_a_member_equals_its_solo_run(entry, strategy):
    form = {"conv": "direct" if strategy == "map" else "patches"}
    several = learner(entry, **(form if entry[:3] in ("cnn", "res") else {}))
    (wave,) = train(several, plan(strategy, 4, 2), steps=8, vary=ALL)
    for member in (0, 3):
        alone = solo(learner(entry), member, 8, ALL)
        assert_close([x[member] for x in jax.tree.leaves(wave.params)], alone.params)


@pytest.mark.parametrize("strategy", ["map", "vmap"])
def test_shared_streams_equal_solo_runs(strategy):
    (wave,) = train(learner(), plan(strategy, 4, 2), steps=8)
    alone = solo(learner(), 2, 8)
    assert_close([x[2] for x in jax.tree.leaves(wave.params)], alone.params)


SLOW = pytest.mark.slow  # a second kind of what is shown by the one beside it


@pytest.mark.parametrize(
    "entry",
    [
        "cnn:widths=4-8",
        *(pytest.param(x, marks=SLOW) for x in ("cnn:widths=4-8:convs=2", "resnet:widths=4-8")),
    ],
)
def test_first_layers_that_are_computed_as_one(entry):
    """Members are those of their solo runs, each with its own smoothing; a sick one is not felt."""
    smoothing = np.array([0.0, 0.1, 0.0, 0.3], np.float32)
    table = pop.Members(4, {"init": np.arange(4)}, {"label_smoothing": smoothing})

    def trained(model=None, devices=1, room=2):
        one = learner(entry, model=model, joined=room, microbatch=8)
        return train(one, plan("map", 4, devices, joined=room), steps=8, members=table)[0]

    wave = trained()
    for member in (0, 3):
        alone = learner(entry, smoothing=float(smoothing[member]))
        alone = solo(alone, member, 8)
        assert_close([x[member] for x in jax.tree.leaves(wave.params)], alone.params)
    sick = trained(poisoned_model(1, entry=entry))
    assert sick.diverged_step.tolist() == [-1, 0, -1, -1]
    assert_same_bits(wave.params, sick.params, [0, 2, 3])
    # With room for four, a chunk of four, two or one.
    whole, *fewer = (trained(devices=devices, room=4) for devices in (1, 2, 4))
    for other in fewer:
        assert_same_bits(whole.params, other.params)


@pytest.mark.parametrize(
    "strategy", ["chunk", *(pytest.param(x, marks=SLOW) for x in ("map", "vmap"))]
)
def test_the_same_program_twice_gives_the_same_bits(strategy):
    one, two = (train(learner(), plan(strategy, 8, 4), 8, steps=30) for _ in range(2))
    assert_same_bits(one[0].params, two[0].params)
    assert_same_bits(one[0].history, two[0].history)


@pytest.mark.parametrize("strategy", ["map", pytest.param("chunk", marks=SLOW), "vmap"])
def test_a_member_that_is_not_a_number_is_not_felt(strategy):
    healthy = train(learner(), plan(strategy, 8, 2), 8, steps=30)[0]
    sick = train(learner(model=poisoned_model(3)), plan(strategy, 8, 2), 8, steps=30)[0]
    others = [i for i in range(8) if i != 3]
    assert sick.diverged_step.tolist() == [-1, -1, -1, 0, -1, -1, -1, -1]
    assert_same_bits(healthy.params, sick.params, others)
    assert_same_bits(healthy.history, sick.history, others)
    assert np.isnan(sick.history["test_loss"][3]).all()


def test_starts_differ_between_members_in_every_random_leaf():
    for entry in ENTRIES:
        init = jax.jit(learner(entry).init)
        starts = [init(keys_of(pop.varied(4), member)).params for member in range(4)]
        start = jax.tree.leaves(jax.tree.map(lambda *x: np.stack(x), *starts))
        random = [x.reshape(4, -1) for x in start if np.any(x)]
        assert len(random) >= len(start) / 2 - 1
        for leaf in random:
            assert all(np.any(leaf[i] != leaf[j]) for i in range(4) for j in range(i))


def test_other_starts_of_the_neighbours_are_not_felt():
    """Member 4 is the same in a wave of members 4..7 and in one of 4 and 5."""
    one = train(learner(), plan("map", 4, 2), 8, steps=20)
    other = train(learner(), plan("map", 2, 2), 8, steps=20)
    np.testing.assert_allclose(
        one[1].history["test_loss"][0], other[2].history["test_loss"][0], rtol=1e-4
    )
    assert [w.number for w in one] == [0, 1]
    assert [w.number for w in other] == [0, 1, 2, 3]


@pytest.mark.parametrize("entry", ["mlp:width=16", "cnn:widths=4-8"])
def test_one_device_and_four_agree(entry):
    apart = train(learner(entry), plan("map", 8, 4), 8, steps=20)[0]
    together = train(learner(entry), plan("map", 8, 1), 8, steps=20)[0]
    assert_same_bits(apart.params, together.params)
    assert_same_bits(apart.history, together.history)


def test_the_streams_do_what_they_are_named_for():
    def starts_and_ends(seeds):
        (wave,) = train(learner(), plan("map", 4, 4), steps=6, seeds=seeds, keep_params=(0,))
        return wave.history["params"]["0"], wave.params

    start, end = starts_and_ends(pop.Seeds())
    for seeds in (pop.Seeds(order=1), pop.Seeds(augment=1)):
        other_start, other_end = starts_and_ends(seeds)
        assert_same_bits(start, other_start)
        assert differs(end, other_end)
    other_start, _ = starts_and_ends(pop.Seeds(init=1))
    assert differs(start, other_start)


def test_only_the_varied_stream_makes_members_differ():
    for augment, parts in ((), False), (("flip", "shift"), True):
        wave = train(learner(augment=augment), plan("map", 4, 4), steps=6, vary=("augment",))[0]
        first = jax.tree.map(lambda leaf: leaf[:1].repeat(4, axis=0), wave.params)
        assert differs(wave.params, first) == parts


@pytest.mark.parametrize("strategy", ["map", "vmap"])
def test_segments_of_any_length_give_the_same_bits(strategy, monkeypatch):
    monkeypatch.setattr(waves, "SEGMENT_SECONDS", 0.0)  # one step each
    steps = []
    one = train(
        learner(), plan(strategy, 4, 2), steps=20, on_segment=lambda s: steps.append(s.steps)
    )[0]
    assert steps == [1] * 20
    monkeypatch.setattr(waves, "SEGMENT_SECONDS", 1e9)
    other = train(learner(), plan(strategy, 4, 2), steps=20, eval_every=20)[0]
    assert_same_bits(one.params, other.params)


class Stop(Exception):
    pass


@pytest.mark.parametrize("stop_at", [1, 5, 7, 19, 20])
def test_a_resumed_run_has_the_bits_of_one_that_never_stopped(stop_at, monkeypatch):
    monkeypatch.setattr(waves, "SEGMENT_SECONDS", 0.0)
    trained = functools.partial(
        train, learner(), plan("map", 4, 2), steps=20, vary=ALL, keep_logits="test",
        keep_params=(3, 8),
    )  # fmt: skip
    (whole,) = trained()
    saved = []

    def stop(segment):
        if segment.step == stop_at:
            saved.append(segment.snapshot())
            raise Stop

    with pytest.raises(Stop):
        trained(on_segment=stop)
    (resumed,) = trained(restore=lambda wave, like: saved[0])
    assert_same_bits(whole.params, resumed.params)
    assert_same_bits(whole.history, resumed.history)
    assert_same_bits(whole.logits, resumed.logits)


def test_a_snapshot_is_a_copy_that_later_steps_leave_alone(monkeypatch):
    monkeypatch.setattr(waves, "SEGMENT_SECONDS", 0.0)
    taken = []

    def keep(segment):
        snapshot = segment.snapshot()
        taken.append((snapshot, jax.tree.map(np.copy, snapshot.state.params)))

    train(learner(), plan("map", 4, 2), steps=6, on_segment=keep)
    for snapshot, copy in taken:
        assert_same_bits(snapshot.state.params, copy)
    assert differs(taken[0][1], taken[-1][1])


COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")


@pytest.mark.parametrize("strategy", ["map", "chunk", "vmap"])
@pytest.mark.parametrize("entry", ["mlp:width=16", "cnn:widths=4-8"])
def test_the_compiled_step_holds_no_collective(entry, strategy):
    keys = pop.member_keys(pop.Seeds(), pop.varied(8))
    program = pop.Program(
        learner(entry), keys, examples(), {}, plan(strategy, 8, 4), member_mesh(4)
    )
    text = program.lower_segment(keys).compile().as_text()
    assert "while" in text
    assert not [name for name in COLLECTIVES if name in text]


@pytest.mark.parametrize(
    ("optimizer", "strategy"),
    [
        ("adam", "chunk"),
        ("adam", "map"),
        *(
            pytest.param(optimizer, "map", marks=pytest.mark.slow)
            for optimizer in OPTIMIZERS
            if optimizer != "adam"
        ),
    ],
)
def test_saving_copies_of_the_moments_changes_no_bit(optimizer, strategy, monkeypatch):
    def trained():
        tx = make_optimizer(optimizer, 3e-3, num_steps=40)
        matrices = "transposed" if optimizer in NUMBERWISE else "stored"
        return train(learner(tx=tx), plan(strategy, 8, 4, matrices=matrices), 8, steps=10)[0]

    with_option = trained()
    monkeypatch.setattr("catdog_jax.population.program.loop_options", lambda mesh: {})
    without = trained()
    assert_same_bits(with_option.params, without.params)
    assert_same_bits(with_option.history, without.history)


def test_no_moment_is_copied_at_a_step(monkeypatch):
    """The option that says so is known to this version of XLA, and does it."""
    keys = pop.member_keys(pop.Seeds(), pop.varied(2))

    def copies():
        transposed = plan("map", 2, 1, matrices="transposed")
        tall = learner("mlp:width=64:depth=1")
        program = pop.Program(tall, keys, examples(), {}, transposed, member_mesh(1))
        text = program.lower_segment(keys).compile().as_text()
        return len(re.findall(r"= f32\[64,192\]\S* copy\(", text))

    assert loop_options(member_mesh(1))
    assert copies() == 0
    monkeypatch.setattr("catdog_jax.population.program.loop_options", lambda mesh: {})
    assert copies() == 2  # once XLA does without being told, the option can go


def test_the_data_is_an_argument_and_no_constant_of_the_program():
    keys = pop.member_keys(pop.Seeds(), pop.varied(4))
    sizes = []
    for num in (96, 960):
        program = pop.Program(learner(), keys, examples(num), {}, plan(), member_mesh(4))
        sizes.append(len(program.lower_segment(keys).as_text()))
    assert sizes[1] < sizes[0] + 1000


def test_what_is_observed_is_kept_at_every_evaluation():
    wave = train(
        learner("linear"), plan("map", 4, 4), steps=10, eval_every=4,
        observe=lambda params: jnp.stack([jnp.sum(x) for x in jax.tree.leaves(params)]),
    )[0]  # fmt: skip
    assert wave.steps.tolist() == [0, 4, 8, 10]
    assert wave.history["observed"].shape == (4, 4, 2)
    sums = np.stack([x.reshape(4, -1).sum(1) for x in jax.tree.leaves(wave.params)], 1)
    np.testing.assert_allclose(wave.history["observed"][:, -1], sums, rtol=1e-4, atol=1e-5)
    labels = examples(40, seed=1).labels
    right = (wave.logits["test"].argmax(2) == labels).mean(1)
    np.testing.assert_allclose(wave.history["test_accuracy"][:, -1], right, rtol=1e-6)
