"""Members as a table: streams, settings and starts of their own equal solo runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from populations import (
    NORMAL,
    SHAPE,
    assert_close,
    assert_same_bits,
    differs,
    examples,
    keys_of,
    learner,
    plan,
    train,
)

from catdog_jax import population as pop
from catdog_jax.models.build import build_model
from catdog_jax.optimizers import make_optimizer
from catdog_jax.population.devices import member_mesh
from catdog_jax.sample import parse_sample, spread_rows
from catdog_jax.train import TrainState, batch_at, epoch_order
from catdog_jax.types import InputError

ALONE = plan("map", 1, 1)


def grid(**columns):
    """A table of given columns of indices."""
    return pop.Members(
        len(next(iter(columns.values()))), {n: np.array(x) for n, x in columns.items()}
    )


def settings(count=2, **columns):
    """The same start for all, with settings of their own."""
    return pop.Members(
        count, {"init": np.zeros(count, int)}, {n: np.array(x) for n, x in columns.items()}
    )


def row_of(wave, row):
    """The final params of one member, as those of a population of one."""
    return jax.tree.map(lambda x: x[row : row + 1], wave.params)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "strategy", ["map", pytest.param("chunk", marks=SLOW), pytest.param("vmap", marks=SLOW)]
)
def test_a_crossed_grid_equals_its_solo_runs(strategy):
    init, order, augment = (x.ravel() for x in np.indices((2, 2, 2)))
    members = grid(init=init, order=order, augment=augment)
    (wave,) = train(learner(), plan(strategy, 8, 2), members=members)
    solos = train(learner(), ALONE, members=members)  # waves of one member
    for row, one in enumerate(solos):
        assert_close(row_of(wave, row), one.params)
        if strategy == "map":  # the same program: the same bits
            assert_same_bits(row_of(wave, row), one.params)
    starts = wave.history["test_loss"][:, 0]
    assert len(np.unique(starts)) == 2
    assert len(np.unique(wave.history["test_loss"][:, -1])) == 8


def test_two_rates_in_one_program_equal_two_solo_runs():
    members = settings(learning_rate=[1e-2, 1e-4])
    (wave,) = train(learner(), plan("map", 2, 1), members=members)
    for row, rate in enumerate((1e-2, 1e-4)):
        tx = make_optimizer("adam", rate, num_steps=40, schedule="cosine")
        solo = train(learner(tx=tx), ALONE, members=settings(1))[0]
        assert_same_bits(row_of(wave, row), solo.params)


@pytest.mark.parametrize(
    ("name", "optimizer", "values", "strategy"),
    [
        ("weight_decay", "sgd", (0.0, 0.3), "vmap"),
        ("momentum", "sgd", (0.0, 0.9), "map"),
        ("clip_norm", "sgd", (0.0, 0.05), "vmap"),
        pytest.param("learning_rate", "muon", (1e-2, 1e-3), "map", marks=SLOW),
        pytest.param("weight_decay", "adamw", (0.0, 0.3), "map", marks=SLOW),
        pytest.param("weight_decay", "muon", (0.0, 0.3), "vmap", marks=SLOW),
    ],
)
def test_settings_of_the_optimiser_equal_solo_runs(name, optimizer, values, strategy):
    def made(own=(), **given):
        given = {"learning_rate": 1e-2} | given
        own_momentum = f":momentum={given.pop('momentum')}" if "momentum" in given else ""
        entry = optimizer + own_momentum
        return learner(tx=make_optimizer(entry, **given, num_steps=40, own=own), augment=())

    members = settings(**{name: values})
    (wave,) = train(made(own=(name,)), plan(strategy, 2, 1), members=members)
    assert differs(row_of(wave, 0), row_of(wave, 1))
    for row, value in enumerate(values):
        solo = train(made(**{name: value}), ALONE, members=settings(1))[0]
        assert_close(row_of(wave, row), solo.params)


def test_smoothing_and_gain_equal_solo_runs():
    members = settings(label_smoothing=[0.0, 0.2], gain=[1.0, 2.0])
    (wave,) = train(learner(), plan("vmap", 2, 1), members=members)
    model = build_model("mlp:width=16:gain=2", SHAPE, 2, **NORMAL)
    solo = train(learner(model=model, smoothing=0.2), ALONE, members=settings(1))[0]
    assert_close(row_of(wave, 1), solo.params)


def test_an_optimiser_without_momentum_has_none_of_a_members_own():
    with pytest.raises(InputError, match="'adam' has no momentum"):
        make_optimizer("adam", 1e-3, num_steps=1, own=("momentum",))


@pytest.mark.parametrize(
    "text", ["bootstrap", pytest.param("subset:0.5", marks=SLOW), "leave_out:30"]
)
def test_a_member_learns_from_its_own_sample(text):
    sample = parse_sample(text, 96)
    members = grid(data=[0, 1])
    rows = [np.asarray(sample.draw(keys_of(members, i).data)) for i in range(2)]
    assert [len(x) for x in rows] == [{"b": 96, "s": 48, "l": 66}[text[0]]] * 2
    assert not np.array_equal(*rows)
    assert len(np.unique(rows[0])) == len(rows[0]) or text == "bootstrap"
    chosen = learner(sample=sample, augment=())
    (wave,) = train(chosen, plan("vmap" if text == "bootstrap" else "map", 2, 1), members=members)
    step = jax.jit(chosen.step)
    for member in range(2):
        # The same training on a data set of these rows alone.
        keys, data = keys_of(members, member), examples()
        own = type(data)(data.inputs[rows[member]], data.labels[rows[member]])
        state = chosen.init(keys)
        for t in range(10):
            order = epoch_order(keys.order, jnp.int32(t // (sample.size // 16)), sample.size)
            state, _ = step(state, keys, batch_at(order, jnp.int32(t), own, 16))
        assert_close(row_of(wave, member), jax.tree.map(lambda x: x[None], state.params))


def test_a_bootstrap_holds_as_many_examples_as_it_should():
    """Of N rows drawn with replacement (1 - 1/N)^N, about 0.368, are none."""
    sample = parse_sample("bootstrap", 1000)
    members = grid(data=range(50))
    missing = [1000 - len(np.unique(sample.draw(keys_of(members, i).data))) for i in range(50)]
    assert (
        abs(np.mean(missing) / 1000 - (1 - 1 / 1000) ** 1000) < 4 * np.std(missing) / 1000 / 50**0.5
    )


@pytest.mark.parametrize("text", ["bootstrp", "subset:0", "subset:1.5", "subset:x", "leave_out:96"])
def test_a_sample_that_cannot_be_is_named(text):
    with pytest.raises(InputError, match=f"--sample={text}.*give bootstrap"):
        parse_sample(text, 96)


def test_one_weight_times_a_thousandth_more():
    """Where a member begins: a function of its row and of what was drawn."""

    def start(keys, params):
        kernel = params["hidden1"]["kernel"]
        changed = kernel.at[0, 0].multiply(1 + 0.001 * keys.settings["changed"])
        return params | {"hidden1": params["hidden1"] | {"kernel": changed}}

    chosen = learner(start=start)
    keep = {"keep_params": (0,)}
    (wave,) = train(chosen, plan("map", 2, 1), members=settings(changed=[0.0, 1.0]), **keep)
    first = wave.history["params"]["0"]["hidden1"]["kernel"]
    assert (first[0] != first[1]).sum() == 1
    np.testing.assert_allclose(first[1, 0, 0], 1.001 * first[0, 0, 0], rtol=1e-6)
    assert_same_bits(row_of(wave, 0), train(learner(), ALONE, members=settings(1))[0].params)
    assert differs(row_of(wave, 0), row_of(wave, 1))


def test_two_members_that_part_at_a_step():
    """Both begin where another population had come to, and see other batches from there."""
    (first,) = train(learner(), plan("map", 2, 1), members=pop.varied(2), keep_params=(0, 4, 10))
    place = jax.tree.map(lambda x: x[:1].repeat(2, axis=0), first.history["params"]["4"])
    assert_same_bits(first.history["params"]["10"], first.params)
    (parted,) = train(
        learner(), plan("map", 2, 1), members=grid(order=[0, 1]), begin=place, keep_params=(0,)
    )
    assert_same_bits(parted.history["params"]["0"], place)
    assert differs(row_of(parted, 0), row_of(parted, 1))
    # The other table's first row with the same order, and nothing else, makes no difference.
    (same,) = train(learner(), plan("map", 2, 1), members=grid(order=[0, 0]), begin=place)
    assert_same_bits(row_of(same, 0), row_of(same, 1))
    assert_same_bits(row_of(same, 0), row_of(parted, 0))


def test_members_go_on_from_the_state_that_they_had_reached():
    members = settings(learning_rate=[1e-2, 1e-3], clip_norm=[0.0, 0.1])
    tx = make_optimizer("adam", 1e-3, num_steps=40, schedule="cosine", own=members.settings)
    (whole,) = train(learner(tx=tx), plan("map", 2, 1), members=members)
    keep = {"steps": 4, "keep_state": True}
    (first,) = train(learner(tx=tx), plan("map", 2, 1), members=members, **keep)
    state = TrainState(np.int32(4), first.params, first.history["opt_state"], first.diverged_step)
    (then,) = pop.train_population(
        learner(tx=tx),
        examples(),
        pop.Schedule(10, 5, 4),
        members=members.rows(1, 3),  # the second one alone, and again to fill a wave
        plan=plan("map", 2, 1),
        evaluations={"test": examples(40, seed=1)},
        begin=jax.tree.map(lambda x: x[1:] if np.ndim(x) else x, state),
    )
    assert then.steps.tolist() == [4, 9, 10]
    np.testing.assert_array_equal(
        then.history["test_loss"][0, 0], first.history["test_loss"][1, -1]
    )
    for row in range(2):
        assert_same_bits(row_of(then, row), row_of(whole, 1))


def test_logits_of_every_evaluation_are_kept():
    (wave,) = train(learner(), plan("map", 2, 1), 2, keep_logits="test", keep_params=(7,))
    (plain,) = train(learner(), plan("map", 2, 1), 2)
    assert_same_bits(wave.params, plain.params)
    logits = wave.history["logits"]
    assert logits.shape == (2, 3, 40, 2)
    assert logits.dtype == np.float16
    np.testing.assert_array_equal(logits[:, -1], wave.logits["test"].astype(np.float16))
    right = (logits.argmax(-1) == examples(40, seed=1).labels).mean(-1)
    np.testing.assert_allclose(right, wave.history["test_accuracy"], atol=0.026)


def test_other_settings_compile_nothing_anew():
    keys = [
        pop.member_keys(pop.Seeds(), settings(learning_rate=x)) for x in ([0.1, 0.2], [0.3, 0.4])
    ]
    program = pop.Program(learner(), keys[0], examples(), {}, plan("map", 2, 1), member_mesh(1))
    for one in keys:
        program.segment(program.init(one), one, 1)
    assert program._segment._cache_size() == 1


@pytest.mark.parametrize("most", [500, 512, 2000])
def test_a_part_of_examples_whose_classes_take_turns_has_all_classes(most):
    labels = np.arange(1000) % 2
    rows = spread_rows(labels, most)
    assert len(set(rows.tolist())) == min(most, 1000)
    assert (np.diff(rows) > 0).all()
    assert labels[rows].mean() == 0.5
    np.testing.assert_array_equal(rows, spread_rows(np.eye(2, dtype=np.float32)[labels], most))
