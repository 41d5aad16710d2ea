"""The sketch: linear, unbiased, and as precise as its theory says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.analysis.sketch import sketch


def test_it_is_exactly_linear():
    # Small whole numbers: every sum is exact in float32.
    rng = np.random.default_rng(0)
    x, y = (jnp.asarray(rng.integers(-50, 50, size=5000), jnp.float32) for _ in range(2))
    np.testing.assert_array_equal(sketch(3 * x - 2 * y), 3 * sketch(x) - 2 * sketch(y))


def test_a_tree_is_sketched_as_its_flat_weights():
    flat = jax.random.normal(jax.random.key(0), (3000,))
    tree = {"a": flat[:1200].reshape(30, 40), "b": (flat[1200:1201].reshape(()), flat[1201:])}
    np.testing.assert_array_equal(sketch(tree, 5), sketch(flat, 5))


def test_inner_products_are_unbiased_with_the_variance_of_the_paper():
    # Weinberger et al. 2009: Var⟨Sx, Sy⟩ = Σ_{i≠j} (x_i² y_j² + x_i y_i x_j y_j) / size at most.
    size, num_seeds, num_weights = 16, 400, 400
    rng = np.random.default_rng(0)
    x = rng.normal(size=num_weights)
    y = 0.5 * x + rng.normal(size=num_weights)
    pair = jnp.asarray(np.stack([x, y], axis=1), jnp.float32)
    found = np.empty((num_seeds, 2))
    for seed in range(num_seeds):
        sx, sy = np.asarray([sketch(column, seed, size) for column in pair.T], np.float64)
        found[seed] = sx @ sy, sx @ sx
    for products, (u, v) in zip(found.T, [(x, y), (x, x)], strict=True):
        pairs = np.outer(u**2, v**2) + np.outer(u * v, u * v)
        row = np.arange(num_weights) // size
        different_rows = row[:, None] != row[None, :]  # weights of a row never share a bucket
        variance = pairs[different_rows].sum() / size
        assert products.mean() == pytest.approx(u @ v, abs=4 * np.sqrt(variance / num_seeds))
        assert products.var() == pytest.approx(variance, rel=0.3)


def test_regular_weights_do_not_pile_up():
    # A heavy column whose stride divides 1,024: without the shifts all of it meets in 4 buckets.
    weights = jnp.zeros((1000, 256)).at[:, 3].set(1.0)
    rolled = np.array([np.sum(np.square(sketch(weights, seed))) / 1000 for seed in range(20)])
    assert rolled.std() < 2 * np.sqrt(2 / 1024)
    assert rolled.mean() == pytest.approx(1.0, abs=4 * np.sqrt(2 / 1024 / 20))


def test_all_ways_to_run_it_agree():
    members = jax.random.normal(jax.random.key(2), (3, 2500))
    eager = np.stack([np.asarray(sketch(weights)) for weights in members])
    for run in (jax.vmap(sketch), lambda w: jax.lax.map(sketch, w)):
        np.testing.assert_allclose(jax.jit(run)(members), eager, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(jax.jit(sketch)(members[0]), jax.jit(sketch)(members[0]))


def test_the_program_holds_no_table_of_the_size_of_the_weights():
    compiled = jax.jit(sketch).lower(jax.ShapeDtypeStruct((500_000,), jnp.float32)).compile()
    assert len(compiled.as_text()) < 100_000


def _hash_by_hand(index, seed, stream):
    def mix(bits):
        bits = (bits ^ (bits >> 16)) * 0x85EBCA6B % 2**32
        bits = (bits ^ (bits >> 13)) * 0xC2B2AE35 % 2**32
        return bits ^ (bits >> 16)

    start = (seed * 0x9E3779B1 + stream * 0x85EBCA77 + 0x2545F491) % 2**32
    return mix((mix(index ^ start) + seed) % 2**32)


@pytest.mark.parametrize(("seed", "size"), [(0, 4), (7, 4), (2**32 - 1, 7)])
def test_it_equals_adding_weight_by_weight(seed, size):
    # Written out in whole numbers: a change of the hash makes saved trajectories incomparable.
    expected = np.zeros(size)
    for i in range(30):
        sign = 1 - 2 * (_hash_by_hand(i, seed, 0) >> 31)
        bucket = (i - _hash_by_hand(i // size, seed, 1)) % size
        expected[bucket] += sign * (i + 1)
    np.testing.assert_array_equal(sketch(jnp.arange(1.0, 31.0), seed, size), expected)
