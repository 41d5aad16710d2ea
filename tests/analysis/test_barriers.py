"""Barriers against known answers and a slow reference; REPAIR, temperature, decomposition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.analysis import connectivity
from catdog_jax.analysis.alignment import group_sizes, layer_groups, member, permuted
from catdog_jax.analysis.barriers import barrier, cooled, decomposed, judged, repaired
from catdog_jax.analysis.connectivity import ALIGNMENTS, MIXING, Asked, connect
from catdog_jax.models.build import build_model
from catdog_jax.population.devices import member_mesh
from catdog_jax.types import Data

SHAPE = (8, 8, 3)
MLP = "mlp:width=6:depth=2"


def examples(count, seed):
    """Noise whose class is a rule that a network can learn a little of."""
    rng = np.random.default_rng(seed)
    inputs = rng.integers(0, 256, (count, *SHAPE)).astype(np.uint8)
    return Data(inputs, (inputs[:, :4].mean((1, 2, 3)) > 127).astype(np.int32))


def drawn(entry, count, spread=0.3):
    """A model and members far enough from one another to have barriers."""
    model = build_model(entry, SHAPE, 2, mean=(0.5,) * 3, std=(0.3,) * 3)
    params = jax.vmap(model.init)(jax.random.split(jax.random.key(0), count))
    keys = iter(jax.random.split(jax.random.key(1), 99))
    shift = lambda x: x + spread * jax.random.normal(next(keys), x.shape)  # noqa: E731
    return model, jax.tree.map(np.asarray, jax.tree.map(shift, params))


ASKED = Asked(examples(40, 0), examples(30, 1), examples(20, 2), 2)


@pytest.fixture(
    scope="module", params=[MLP, pytest.param("resnet:widths=3-4", marks=pytest.mark.slow)]
)
def whole(request):
    """A model, the params of three members, and all that is found of their pairs."""
    model, params = drawn(request.param, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connectivity, "EXAMPLES_AT_ONCE", 20)  # in parts, the last one smaller
        return model, params, connect(model, params, ASKED, member_mesh())


def cross_entropy(logits, labels):
    total = 0.0
    for row, label in zip(logits.astype(np.float64), labels, strict=True):
        total += np.log(np.sum(np.exp(row - row[label])))
    return total / len(labels)


def between(a, b, share):
    def mix(x, y):
        return ((1 - share) * x.astype(np.float64) + share * y).astype(np.float32)

    return jax.tree.map(mix, a, b)


def test_barriers_are_those_of_a_slow_reference(whole):
    """One network after another, its weights mixed in numpy."""
    model, params, found = whole
    apply, sizes = jax.jit(model.apply), group_sizes(model.units, member(params, 0))
    for row, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)]):
        for s, data in enumerate(ASKED[:2]):
            losses, errors = [], []
            for share in np.arange(25) / 24:
                mixed = between(member(params, i), member(params, j), share)
                logits = np.asarray(apply(mixed, data.inputs))
                losses.append(cross_entropy(logits, data.labels))
                errors.append(np.mean(logits.argmax(1) != data.labels))
            np.testing.assert_allclose(found["line_loss"][row, 0, s], losses, atol=1e-5)
            np.testing.assert_allclose(found["line_error"][row, 0, s], errors, atol=1e-9)
            highest = max(
                x - (1 - t) * losses[0] - t * losses[-1]
                for t, x in zip(MIXING, losses, strict=True)
            )
            assert found["loss_barrier"][row, 0, s] == pytest.approx(highest, abs=1e-5)
        apart = [x[i] - x[j].astype(np.float64) for x in jax.tree.leaves(params)]
        expected = np.sqrt(sum(np.square(x).sum() for x in apart))
        assert found["weight_distance"][row, 0] == pytest.approx(expected, rel=1e-5)
    assert sizes
    assert (found["loss_barrier"][:, :4] >= 0).all()


def test_aligned_ends_are_the_members_and_no_farther_than_they_were(whole):
    _, _, found = whole
    for name in ("line_loss", "line_error"):
        for a in range(1, 4):
            ends = found[name][:, a, :, [0, -1]]
            np.testing.assert_array_equal(ends, found[name][:, 0, :, [0, -1]])
    assert (found["weight_distance"][:, 1] <= found["weight_distance"][:, 0] + 1e-5).all()
    np.testing.assert_array_equal(found["weight_distance"][:, 3], found["weight_distance"][:, 1])
    assert np.isnan(found["weight_distance"][:, 4]).all()


def test_a_temperature_changes_no_answer_and_leaves_the_ends(whole):
    _, _, found = whole
    t, middle = ALIGNMENTS.index("temperature"), 12
    np.testing.assert_array_equal(found["line_error"][:, t, :, middle],
                                  found["line_error"][:, 0, :, middle])  # fmt: skip
    assert np.isnan(np.delete(found["line_loss"][:, t], middle, axis=-1)).all()
    ends = found["line_loss"][:, 0, :, [0, -1]].mean(axis=0)
    rise = np.maximum(found["line_loss"][:, t, :, middle] - ends, 0)
    np.testing.assert_allclose(found["loss_barrier"][:, t], rise)
    assert (found["temperature"] > 0).all()


def test_the_gaps_of_pictures_are_the_barrier(whole):
    _, _, found = whole
    for a in (0, 1):
        gap, level = found["picture_gap"][:, a], found["loss_barrier"][:, a, 1]
        np.testing.assert_allclose(gap.mean(axis=1), level, atol=1e-5)
        assert (found["identity_error"][:, a] < 1e-4).all()
        of_class = [gap[:, ASKED.test.labels == k].mean(axis=1) for k in (0, 1)]
        np.testing.assert_allclose(found["gap_part"][:, a, :, 3], np.stack(of_class, 1))
        parts = found["gap_part"][:, a, :, :3]
        np.testing.assert_allclose(parts.sum(-1), found["gap_part"][:, a, :, 3], atol=1e-9)
        assert (parts[..., 1] <= 1e-9).all()
    assert np.isnan(found["picture_gap"][:, 2:]).all()


def test_a_decomposition_is_the_formula_term_by_term():
    rng = np.random.default_rng(0)
    middle, one, other = rng.normal(size=(3, 2, 5, 3))
    share, labels = np.array([0.25, 0.7]), np.array([0, 2, 1, 1, 0])
    found = decomposed(middle, one, other, share, labels)
    for b in range(2):
        for n, y in enumerate(labels):
            z = (1 - share[b]) * one[b, n] + share[b] * other[b, n]
            lse = lambda x: np.log(np.exp(x).sum())  # noqa: E731
            d = lse(middle[b, n]) - lse(z)
            j = (1 - share[b]) * lse(one[b, n]) + share[b] * lse(other[b, n]) - lse(z)
            assert j >= 0
            e = (middle[b, n] - z)[y]
            np.testing.assert_allclose(found[:, b, n], [d, -j, -e])
            losses = [lse(x[b, n]) - x[b, n, y] for x in (middle, one, other)]
            gap = losses[0] - (1 - share[b]) * losses[1] - share[b] * losses[2]
            assert found[:, b, n].sum() == pytest.approx(gap)


def test_copies_in_another_order_have_a_barrier_that_aligning_takes_away():
    """The labels are what the network says, so that both ends are good and the middle is not."""
    model, params = drawn(MLP, 1, spread=1.0)
    one, rng = member(params, 0), np.random.default_rng(5)
    said = [
        Data(x.inputs, np.asarray(model.apply(one, jnp.asarray(x.inputs))).argmax(1))
        for x in ASKED[:3]
    ]
    asked = Asked(*said, 2)
    order = {g: rng.permutation(n) for g, n in group_sizes(model.units, one).items()}
    both = jax.tree.map(lambda x, y: np.stack([x, y]), one, permuted(model.units, one, order))
    found = connect(model, both, asked, member_mesh(), merge=False)
    assert found["loss_barrier"][0, 0].min() > 0.01
    assert found["loss_barrier"][0, [1, 2, 3]].max() < 1e-5
    assert found["weight_distance"][0, 1:3].max() < 1e-5
    assert found["weight_distance"][0, 0] > 1


def test_a_convex_model_has_no_barrier():
    model, params = drawn("linear", 3)
    found = connect(model, params, ASKED, member_mesh())
    assert found["loss_barrier"][:, :4].max() < 1e-5
    assert found["merged_loss"][1].max() < found["merged_loss"][0].max() + 1e-6


@pytest.mark.parametrize("entry", [MLP, "cnn:widths=4:norm=layer", "resnet:widths=3-4"])
def test_repair_hits_its_aim_in_every_layer(entry):
    model, params = drawn(entry, 2)
    a, b = member(params, 0), member(params, 1)
    inputs, outputs = jnp.asarray(ASKED.train.inputs), jax.jit(model.units.outputs)
    layers = [x for x in layer_groups(model.units) if f"{x}/bias" in model.units.axes]

    def moments(weights):
        made = outputs(weights, inputs)
        flat = {x: np.asarray(made[x]).reshape(-1, made[x].shape[-1]) for x in layers}
        return {x: np.stack([v.mean(0), v.std(0)]) for x, v in flat.items()}

    ends, share = (moments(a), moments(b)), 0.3
    aim = {x: (1 - share) * ends[0][x] + share * ends[1][x] for x in layers}
    mixed = between(a, b, share)
    repair = jax.jit(lambda p, aim: repaired(model.units, p, inputs, aim)[0])
    after = moments(repair(mixed, {x: (m, s) for x, (m, s) in aim.items()}))
    before = moments(mixed)
    assert layers
    for layer, wanted in aim.items():
        np.testing.assert_allclose(after[layer], wanted, rtol=2e-3, atol=2e-3)
        assert np.abs(before[layer] - wanted).max() > 0.02


def test_a_temperature_is_the_best_one():
    rng = np.random.default_rng(0)
    logits, labels = 4 * rng.normal(size=(3, 200, 2)), rng.integers(0, 2, 200)
    logits[:, np.arange(200), labels] += 2
    share = cooled(logits, labels)
    for row, best in enumerate(share):
        around = best * np.linspace(0.9, 1.1, 21)
        losses = [judged(x * logits[row], labels)[0].mean() for x in around]
        assert int(np.argmin(losses)) == 10
    assert np.isnan(cooled(logits[:, :0], labels[:0])).all()


def test_a_barrier_is_measured_above_the_line_between_unequal_ends():
    line = 2.0 - MIXING  # a straight line has none, though its middle is above the better end
    assert barrier(line, MIXING) < 1e-15
    line = np.stack([line, line + np.sin(np.pi * MIXING)])
    np.testing.assert_allclose(barrier(line, MIXING), [0, 1], atol=1e-12)


def test_what_is_not_asked_is_not_measured_nor_is_a_temperature_without_valid_examples():
    model, params = drawn(MLP, 2)
    asked = ASKED._replace(valid=Data(ASKED.valid.inputs[:0], ASKED.valid.labels[:0]))
    ways = {"alignments": ("weights", "temperature"), "merge": False}
    found = connect(model, params, asked, member_mesh(), **ways)
    assert np.isfinite(found["loss_barrier"][:, :2]).all()
    assert np.isnan(found["loss_barrier"][:, 2:]).all()
    assert np.isnan(found["merged_loss"][1:]).all()
