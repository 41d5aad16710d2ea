"""Maps, ascent and agreement against closed forms, finite differences and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from catdog_jax.analysis.attribution import (
    against_others,
    integrated_gradients,
    map_correlations,
    maximising_input,
    occlusion,
    other_picture,
    saliency,
    same_picture,
    total_variation,
)
from catdog_jax.models.build import build_model

SHAPE = (6, 5, 3)
LABELS = np.array([0, 1, 1, 0])
WIDE = (-1e6 * np.ones(3), 1e6 * np.ones(3))  # bounds that hold nothing back


@pytest.fixture(scope="module")
def given():
    """A linear score, the weights of the true class less those of the other, and two pictures."""
    rng = np.random.default_rng(0)
    images, baseline, weights = (
        jnp.asarray(rng.normal(size=(4, *SHAPE)), jnp.float32) for _ in range(3)
    )
    return lambda x: jnp.sum(x * weights, (1, 2, 3)) + 0.3, images, baseline, np.asarray(weights)


@pytest.fixture(scope="module")
def network():
    """A small network of kinks, away from its start, and its pictures of 8 pixels a side."""
    model = build_model("cnn:widths=4:head=flatten", (8, 8, 3), 2)
    start, shifts = model.init(jax.random.key(0)), iter(jax.random.split(jax.random.key(3), 9))
    params = jax.tree.map(
        lambda leaf: leaf + 0.1 * jax.random.normal(next(shifts), leaf.shape), start
    )
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    contrast = jnp.asarray(against_others(LABELS, 2))
    return jax.jit(lambda x: jnp.sum(model.apply(params, x) * contrast, -1)), images


def gap(parts, score, images, baseline):
    """By how much parts miss what they must sum to."""
    return parts.sum((1, 2, 3)) - (score(images) - score(baseline))


def test_a_class_against_the_others():
    expected = [[1, -0.5, -0.5], [-0.5, -0.5, 1]]
    np.testing.assert_array_equal(against_others(np.array([0, 2]), 3), expected)
    np.testing.assert_array_equal(against_others(np.array([1]), 2), [[-1, 1]])


def test_the_gradient_of_a_linear_score_is_its_weights(given):
    score, images, _, weights = given
    np.testing.assert_allclose(saliency(score, images), weights, rtol=1e-6)


def test_the_gradient_of_a_network_is_what_a_small_step_changes(network):
    score, images = network
    way = jax.random.normal(jax.random.key(5), images.shape)
    slope = np.asarray(score(images + 1e-3 * way) - score(images - 1e-3 * way)) / 2e-3
    found = (saliency(score, images) * way).sum((1, 2, 3))
    np.testing.assert_allclose(found, slope, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 7])
def test_integrated_gradients_of_a_linear_score_are_weight_times_way(given, steps):
    score, images, baseline, weights = given
    found = integrated_gradients(score, images, baseline, steps=steps)
    expected = (np.asarray(images) - np.asarray(baseline)) * weights
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("steps", "error"), [(1, -0.25), (2, 0.0)])
def test_a_cubic_score_is_exact_from_two_points_on(steps, error):
    def cubic(images):
        return (images**3).sum((1, 2, 3))

    ones = jnp.ones((1, 1, 1, 1))
    found = integrated_gradients(cubic, ones, jnp.zeros_like(ones), steps=steps)
    np.testing.assert_allclose(gap(found, cubic, ones, jnp.zeros_like(ones)), error, atol=1e-6)


def test_the_parts_of_a_network_sum_to_its_change_better_with_more_points(network):
    score, images = network
    baseline, gaps = jnp.zeros_like(images), []
    for steps in (4, 512):
        found = integrated_gradients(score, images, baseline, steps=steps)
        gaps.append(float(np.sqrt((gap(found, score, images, baseline) ** 2).mean())))
    typical = float(np.sqrt(((score(images) - score(baseline)) ** 2).mean()))
    assert gaps[1] < 0.3 * gaps[0]
    assert gaps[1] < 5e-3 * typical
    assert gaps[0] > 1e-4 * typical  # a relu net is not exact: the gap is worth reporting


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (3, 2), (5, 1)])
def test_occlusion_of_a_linear_score_is_the_sum_under_the_window(given, window, stride):
    score, images, baseline, weights = given
    found = occlusion(score, images, baseline, window=window, stride=stride)
    each = ((np.asarray(images) - np.asarray(baseline)) * weights).sum(-1)
    rows = range(0, SHAPE[0] - window + 1, stride)
    columns = range(0, SHAPE[1] - window + 1, stride)
    expected = np.stack(
        [[each[:, r : r + window, c : c + window].sum((1, 2)) for c in columns] for r in rows]
    ).transpose(2, 0, 1)
    assert found.shape == (4, len(rows), len(columns))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def climbed(score, begin, variation=0.0, rms=0.5, bounds=WIDE, steps=300):
    low, high = bounds
    return maximising_input(
        score, begin, steps=steps, variation=variation, rms=rms, low=low, high=high
    )


def test_with_a_length_alone_a_linear_score_wants_its_weights(given):
    score, images, _, weights = given
    found, scores, start_scores = climbed(score, 0.1 * images, steps=600)
    flat, weights = np.asarray(found).reshape(4, -1), weights.reshape(4, -1)
    np.testing.assert_allclose(np.sqrt((flat**2).mean(1)), 0.5, rtol=1e-5)
    cosine = (
        (flat * weights).sum(1) / np.linalg.norm(flat, axis=1) / np.linalg.norm(weights, axis=1)
    )
    np.testing.assert_allclose(cosine, 1.0, atol=0.02)
    np.testing.assert_allclose(scores, score(found), rtol=1e-5)
    scaled = images * 0.5 / jnp.sqrt(jnp.mean(images**2, (1, 2, 3), keepdims=True))
    np.testing.assert_allclose(start_scores, score(scaled), rtol=1e-4, atol=1e-4)


def test_a_great_length_reaches_the_bounds(given):
    score, images, _, weights = given
    low, high = np.array([-1.0, -2.0, -0.5]), np.array([1.0, 0.5, 2.0])
    found, _, _ = climbed(score, 0.1 * images, rms=50.0, bounds=(low, high))
    strong = np.abs(weights) > 0.3
    wanted = np.where(weights > 0, high, low)
    np.testing.assert_allclose(np.asarray(found)[strong], wanted[strong], atol=1e-6)
    assert (found >= low).all()
    assert (found <= high).all()


def test_total_variation_by_hand():
    image = np.zeros((1, 3, 3, 1), np.float32)
    image[0, 1, 1, 0] = 1.0
    # The pixel itself sees −1 right and −1 below; the one above it and the one left of it see 1.
    assert float(total_variation(jnp.asarray(image))[0]) == pytest.approx(2 + 2**0.5, abs=1e-3)
    corner = np.zeros((1, 3, 3, 1), np.float32)
    corner[0, 2, 2, 0] = 1.0  # seen by the pixels above and left of it, and by itself no more
    assert float(total_variation(jnp.asarray(corner))[0]) == pytest.approx(2, abs=1e-3)
    gradient = jax.grad(lambda x: total_variation(x).sum())(jnp.full((1, 4, 4, 3), 7.0))
    assert np.isfinite(gradient).all()


def test_a_price_on_variation_makes_smoother_inputs(given):
    score, images, *_ = given
    rough, smooth = (climbed(score, 0.1 * images, price, 1.0)[:2] for price in (0.0, 0.5))
    assert (total_variation(smooth[0]) < 0.8 * total_variation(rough[0])).all()
    assert (smooth[1] < rough[1]).all()


def test_a_network_says_what_it_was_asked_for_and_twice_the_same():
    model = build_model("cnn:widths=4:norm=group", (8, 8, 3), 2)
    params, contrast = model.init(jax.random.key(0)), jnp.asarray(against_others(LABELS[:2], 2))
    begin = 0.1 * jax.random.normal(jax.random.key(1), (2, 8, 8, 3))

    @jax.jit
    def climb(noise):
        score = lambda x: jnp.sum(model.apply(params, x) * contrast, -1)  # noqa: E731
        return climbed(score, noise, 1e-4, 1.0, steps=60)

    (found, scores, start_scores), again = climb(begin), climb(begin)
    np.testing.assert_array_equal(found, again[0])
    assert np.argmax(model.apply(params, found), axis=1).tolist() == [0, 1]
    assert (scores > start_scores).all()


@pytest.mark.parametrize("rank", [True, False])
def test_correlations_are_those_of_scipy(rank):
    rng = np.random.default_rng(1)
    maps = rng.normal(size=(3, 4, 50)).round(1)  # rounded: ties
    others = rng.normal(size=(2, 4, 50)).round(1)
    reference = scipy.stats.spearmanr if rank else scipy.stats.pearsonr
    found = map_correlations(maps, maps, rank=rank)
    crossed = map_correlations(maps, others, rank=rank)
    assert found.shape == (3, 4, 3, 4)
    assert crossed.shape == (3, 4, 2, 4)
    for m, p, n, q in [(0, 0, 1, 0), (1, 2, 2, 3), (2, 3, 2, 1), (2, 0, 0, 0)]:
        expected = reference(maps[m, p], maps[n, q]).statistic
        np.testing.assert_allclose(found[m, p, n, q], expected, atol=1e-12)
    expected = reference(maps[2, 1], others[1, 3]).statistic
    np.testing.assert_allclose(crossed[2, 1, 1, 3], expected, atol=1e-12)
    np.testing.assert_allclose(np.diagonal(found.reshape(12, 12)), 1.0)


def test_rank_does_not_mind_a_monotone_change_and_a_constant_map_has_none():
    maps = np.random.default_rng(2).uniform(size=(1, 1, 40))
    bent = np.concatenate([maps, np.exp(5 * maps), np.ones_like(maps)])
    ranked = map_correlations(bent, bent, rank=True)[:, 0, :, 0]
    plain = map_correlations(bent, bent)[:, 0, :, 0]
    assert ranked[0, 1] == pytest.approx(1.0)
    assert plain[0, 1] < 0.95
    assert np.isnan(ranked[2]).all()
    assert np.isnan(plain[:, 2]).all()


def test_members_that_see_the_picture_agree_on_it_and_not_on_others():
    rng = np.random.default_rng(3)
    seen = rng.normal(size=(1, 6, 400))  # the same in both members, another in every picture
    places = rng.normal(size=(1, 1, 400))  # the same in every picture
    labels = np.array([0, 0, 0, 1, 1, 1])
    noise = rng.normal(size=(2, 6, 400))
    looking, staring = (map_correlations(x, x) for x in (seen + 0.5 * noise, places + 0.5 * noise))
    assert same_picture(looking)[0, 1] == pytest.approx(0.8, abs=0.05)
    assert other_picture(looking, labels)[0, 1] == pytest.approx(0.0, abs=0.1)
    assert other_picture(staring, labels)[0, 1] == pytest.approx(
        same_picture(staring)[0, 1], abs=0.05
    )
    expected = np.mean([looking[0, p, 1, p] for p in range(6)])
    np.testing.assert_allclose(same_picture(looking)[0, 1], expected)
    pairs = [(p, q) for p in range(6) for q in range(6) if p != q and labels[p] == labels[q]]
    expected = np.mean([looking[0, p, 1, q] for p, q in pairs])
    np.testing.assert_allclose(other_picture(looking, labels)[0, 1], expected)


def test_one_picture_of_a_class_has_no_others_to_compare():
    maps = np.random.default_rng(4).normal(size=(2, 2, 30))
    found = map_correlations(maps, maps)
    assert np.isnan(other_picture(found, np.array([0, 1]))).all()
    assert np.isfinite(same_picture(found)).all()
