"""Maps and agreement against closed forms, finite differences and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from catdog_jax.analysis import attribution
from catdog_jax.analysis.attribution import (
    against_others,
    completeness_gap,
    integrated_gradients,
    map_correlations,
    occlusion,
    other_picture,
    saliency,
    same_picture,
    scores,
)
from catdog_jax.models.build import build_model

SHAPE = (6, 5, 3)
LABELS = np.array([0, 1, 1, 0])


def linear(params, images):
    return images.reshape(len(images), -1) @ params["w"] + params["b"][None]


@pytest.fixture(scope="module")
def given():
    """Weights, pictures, a baseline and a contrast, all drawn."""
    rng = np.random.default_rng(0)
    size = int(np.prod(SHAPE))
    params = {
        "w": jnp.asarray(rng.normal(size=(size, 2)), jnp.float32),
        "b": jnp.asarray([0.3, -0.2], jnp.float32),
    }
    images = jnp.asarray(rng.normal(size=(4, *SHAPE)), jnp.float32)
    baseline = jnp.asarray(rng.normal(size=(4, *SHAPE)), jnp.float32)
    return params, images, baseline, jnp.asarray(against_others(LABELS, 2))


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
    return jax.jit(model.apply), params, images, jnp.zeros_like(images), contrast


def difference(params):
    """Weights of the true class minus those of the other, as pictures."""
    w = np.asarray(params["w"])
    return np.stack([w[:, k] - w[:, 1 - k] for k in LABELS]).reshape(4, *SHAPE)


def test_a_class_against_the_others():
    expected = [[1, -0.5, -0.5], [-0.5, -0.5, 1]]
    np.testing.assert_array_equal(against_others(np.array([0, 2]), 3), expected)
    np.testing.assert_array_equal(against_others(np.array([1]), 2), [[-1, 1]])


def test_the_gradient_of_a_linear_model_is_its_weights(given):
    params, images, _, contrast = given
    found = saliency(linear, params, images, contrast)
    np.testing.assert_allclose(found, difference(params), rtol=1e-6)


def test_the_gradient_of_a_network_is_what_a_small_step_changes(network):
    apply, params, images, _, contrast = network
    gradient = saliency(apply, params, images, contrast)
    way = jax.random.normal(jax.random.key(5), images.shape)
    ahead, behind = (scores(apply, params, images + s * 1e-3 * way, contrast) for s in (1, -1))
    slope = np.asarray(ahead - behind) / 2e-3
    np.testing.assert_allclose((gradient * way).sum((1, 2, 3)), slope, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("rule", attribution.RULES)
@pytest.mark.parametrize("steps", [1, 7])
def test_integrated_gradients_of_a_linear_model_are_weight_times_way(given, rule, steps):
    params, images, baseline, contrast = given
    found = integrated_gradients(linear, params, images, baseline, contrast, steps=steps, rule=rule)
    expected = (np.asarray(images) - np.asarray(baseline)) * difference(params)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    gap = completeness_gap(found, linear, params, images, baseline, contrast)
    np.testing.assert_allclose(gap, 0.0, atol=1e-4)


def test_a_cubic_score_shows_the_order_of_each_rule():
    def cubic(params, images):
        total = (params * images**3).sum((1, 2, 3))
        return jnp.stack([-total, total], axis=1) / 2

    images, weights = jnp.ones((1, 1, 1, 1)), jnp.ones((1, 1, 1, 1))
    contrast = jnp.asarray([[-1.0, 1.0]])
    for steps, rule, error in (
        (1, "midpoint", -0.25),
        (2, "midpoint", -0.25 / 4),
        (4, "midpoint", -0.25 / 16),
        (1, "gauss-legendre", -0.25),
        (2, "gauss-legendre", 0.0),
    ):
        found = integrated_gradients(
            cubic, weights, images, jnp.zeros_like(images), contrast, steps=steps, rule=rule
        )
        gap = completeness_gap(found, cubic, weights, images, jnp.zeros_like(images), contrast)
        np.testing.assert_allclose(gap, error, atol=1e-6)


@pytest.mark.parametrize("rule", attribution.RULES)
def test_the_parts_of_a_network_sum_to_its_change_better_with_more_points(network, rule):
    apply, params, images, baseline, contrast = network
    gaps = []
    for steps in (4, 512):
        found = integrated_gradients(
            apply, params, images, baseline, contrast, steps=steps, rule=rule
        )
        gap = completeness_gap(found, apply, params, images, baseline, contrast)
        gaps.append(float(np.sqrt((np.asarray(gap) ** 2).mean())))
    change = scores(apply, params, images, contrast) - scores(apply, params, baseline, contrast)
    typical = float(np.sqrt((np.asarray(change) ** 2).mean()))
    assert gaps[1] < 0.3 * gaps[0]
    assert gaps[1] < 5e-3 * typical
    assert gaps[0] > 1e-4 * typical  # a relu net is not exact: the gap is worth reporting


def test_a_wrong_number_of_points_or_rule_is_refused(given):
    params, images, baseline, contrast = given
    for wrong in ({"steps": 0}, {"rule": "simpson"}):
        with pytest.raises(ValueError, match="midpoint, gauss-legendre"):
            integrated_gradients(linear, params, images, baseline, contrast, **wrong)


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (2, 1), (3, 2), (5, 1)])
def test_occlusion_of_a_linear_model_is_the_sum_under_the_window(given, window, stride):
    params, images, baseline, contrast = given
    found = occlusion(linear, params, images, baseline, contrast, window=window, stride=stride)
    each = ((np.asarray(images) - np.asarray(baseline)) * difference(params)).sum(-1)
    rows = range(0, SHAPE[0] - window + 1, stride)
    columns = range(0, SHAPE[1] - window + 1, stride)
    expected = np.stack(
        [[each[:, r : r + window, c : c + window].sum((1, 2)) for c in columns] for r in rows]
    ).transpose(2, 0, 1)
    assert found.shape == (4, len(rows), len(columns))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("window", "stride"), [(0, 1), (6, 1), (2, 0)])
def test_a_window_that_does_not_fit_is_refused(given, window, stride):
    params, images, baseline, contrast = given
    with pytest.raises(ValueError, match="on 6×5"):
        occlusion(linear, params, images, baseline, contrast, window=window, stride=stride)


@pytest.mark.parametrize("rank", [True, False])
def test_correlations_are_those_of_scipy(rank):
    rng = np.random.default_rng(1)
    maps = rng.normal(size=(3, 4, 50)).round(1)  # rounded: ties
    others = rng.normal(size=(2, 4, 50)).round(1)
    reference = scipy.stats.spearmanr if rank else scipy.stats.pearsonr
    found = map_correlations(maps, rank=rank)
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
    ranked = map_correlations(bent, rank=True)[:, 0, :, 0]
    plain = map_correlations(bent)[:, 0, :, 0]
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
    looking = map_correlations(seen + 0.5 * noise)
    staring = map_correlations(places + 0.5 * noise)
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
    found = map_correlations(maps)
    assert np.isnan(other_picture(found, np.array([0, 1]))).all()
    assert np.isfinite(same_picture(found)).all()
