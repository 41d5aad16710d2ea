"""The generating rule is right wherever the factors can tell, and this is argued exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.data import drawing_factors, procedural
from catdog_jax.data.drawing_factors import CUES, FUR_ODDS, FURS, PATTERN_ODDS
from catdog_jax.rules import generating
from catdog_jax.rules.build import build_rule
from catdog_jax.types import InputError

NUM = 20_000
NAMES = generating.factor_names()


@pytest.fixture(scope="module")
def sampled():
    """Difficulty -> factors, the leans that they were drawn from in the order of votes, signs."""
    patch = pytest.MonkeyPatch()
    original, order = drawing_factors._lean, [CUES.index(x) for x in (*generating.READ, "coat")]
    uniform = np.random.default_rng(9).random((drawing_factors.NUM_UNIFORM, NUM), np.float32)

    def run(difficulty):
        leans, labels = [], np.arange(NUM) % 2

        def noted(*arguments):
            leans.append(original(*arguments))
            return leans[0]

        with patch.context() as inside:
            inside.setattr(drawing_factors, "_lean", noted)
            factors = drawing_factors.sample_factors(uniform, labels, difficulty)
        columns = jnp.stack([factors[name] for name in NAMES], 1)
        return columns, leans[0][order].T, np.where(labels == 0, 1, -1)

    return run


def decide(factors, difficulty):
    rule = generating.generating((len(NAMES),), difficulty=difficulty)
    votes = np.asarray(jax.jit(generating.votes)(rule.params, factors))
    logits = np.asarray(jax.jit(rule.apply)(rule.params, factors))
    np.testing.assert_allclose(logits[:, 0] - logits[:, 1], votes.sum(1), atol=1e-4)
    return votes, np.where(np.argmax(logits, axis=1) == 0, 1, -1)


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
def test_wrong_only_where_a_cue_is_not_legible(sampled, difficulty):
    factors, leans, answer = sampled(difficulty)
    votes, decision = decide(factors, difficulty)
    eleven, true_signs = votes[:, :-1], np.sign(leans[:, :-1])
    # The premises: without the coat, true cues still outnumber false ones; the coat votes less.
    assert ((true_signs * answer[:, None]).sum(1) >= 1.0).all()
    assert np.abs(votes[:, -1]).max() < 0.9
    # A vote of one is never mistaken.
    legible = np.abs(eleven) >= 1.0
    np.testing.assert_array_equal(eleven[legible], true_signs[legible])
    # So every picture whose eleven cues are legible is decided rightly.
    assert (decision == answer)[legible.all(1)].all()


@pytest.mark.parametrize("said", [0.0, 0.5, 1.0])
def test_all_right_where_every_cue_is_true(sampled, said):
    factors, leans, answer = sampled(0.0)
    votes, decision = decide(factors, said)
    np.testing.assert_array_equal(decision, answer)
    if said < 1.0:  # else the rule allows for smaller leans than there are
        np.testing.assert_array_equal(votes[:, :-1], np.sign(leans[:, :-1]))


def test_at_half_difficulty_only_two_cues_are_ever_illegible(sampled):
    factors, _, answer = sampled(0.5)
    votes, decision = decide(factors, 0.5)
    illegible = {
        cue
        for cue, column in zip(generating.READ, votes.T[:-1], strict=True)
        if (np.abs(column) < 1.0).any()
    }
    assert illegible == {"ear_shape", "body"}
    assert np.mean(decision == answer) > 0.9995


def test_at_full_difficulty_most_are_right(sampled):
    factors, _, answer = sampled(1.0)
    matched = np.mean(decide(factors, 1.0)[1] == answer)
    assert 0.96 < matched < 0.98
    # Told of smaller leans, the rule weighs doubtful cues less.
    assert matched > np.mean(decide(factors, 0.5)[1] == answer)


def test_the_coat_votes_by_its_odds():
    rule = generating.generating((len(NAMES),))
    furs = np.asarray(FURS, np.float32)
    rows = np.full((8 * 4, len(NAMES)), 0.5, np.float32)
    for i in range(32):
        for part, value in zip(("hue", "saturation", "value"), furs[i // 4], strict=True):
            rows[i, NAMES.index(f"fur_{part}")] = value
        rows[i, NAMES.index("pattern")] = i % 4
    odds, pattern = (np.array(x) / np.sum(x, 1, keepdims=True) for x in (FUR_ODDS, PATTERN_ODDS))
    cat, dog = (np.outer(odds[side], pattern[side]).reshape(-1) for side in (0, 1))
    votes = jax.jit(generating.votes)(rule.params, jnp.asarray(rows))[:, -1]
    np.testing.assert_allclose(votes, (cat - dog) / (cat + dog), rtol=1e-4, atol=1e-6)


def test_matrix_of_a_drawn_split():
    test = procedural.load(num_train=2, num_valid=2, num_test=50).test
    matrix = generating.factors_matrix(test)
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix.T, [test.factors[name] for name in NAMES])
    decision = decide(jnp.asarray(matrix), 0.5)[1]
    assert np.mean((decision == -1) == test.labels) > 0.95


def test_other_inputs_are_refused():
    with pytest.raises(InputError, match=r"cannot read inputs of shape \(3,\)"):
        generating.generating((3,))
    with pytest.raises(InputError, match="difficulty=2.0 is not allowed"):
        build_rule("generating_rule", (len(NAMES),), difficulty=2.0)
