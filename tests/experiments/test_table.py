"""The table that ends a run against NumPy: diverged members are counted and left out."""

import types

import numpy as np
import pytest
import xarray as xr

from experiments._results import mean_over_pairs, number, table


@pytest.mark.parametrize("diverged", [(), (1, 4), (0, 1, 2, 3, 5), range(6)])
def test_a_row_is_of_the_members_that_are_left(diverged):
    rng = np.random.default_rng(0)
    alive = np.setdiff1d(np.arange(6), diverged)
    accuracy, balanced, apart = rng.random((6, 3)), rng.random(6), 100 * rng.random((3, 6, 6))
    moved = rng.random(6)
    members, pairs = ("model", "member"), ("model", "member", "other_member")
    names = ("disagreement", "relative_weight_distance", "relative_start_distance")
    data = xr.Dataset(
        {
            "test_accuracy": ((*members, "eval"), accuracy[None]),
            "test_balanced_accuracy": (members, balanced[None]),
            "ensemble_accuracy": ("model", [0.5]),
            "diverged_step": (members, [[-1 if m in alive else 12 for m in range(6)]]),
            "num_parameters": ("model", [1234]),
            "way_moved": (members, moved[None]),
            "label": ("example", np.arange(60) % 3 // 2),
            **{name: (pairs, x[None]) for name, x in zip(names, apart, strict=True)},
        },
        {"model": ["mlp"], "class": ["cat", "dog"]},
    )
    text = table(types.SimpleNamespace(data=data, manifest={}))
    assert max(map(len, text.splitlines())) <= 80
    answers, weights, notes = text.split("\n\n")
    head, row = answers.splitlines()
    assert head.split()[-1] == "balanced"
    lost = [line for line in notes.splitlines() if line.startswith("mlp: ")]
    assert len(lost) == bool(diverged)
    if lost:
        assert lost[0].startswith(f"mlp: {len(diverged)} of 6 members diverged")
    off = ~np.eye(len(alive), dtype=bool)
    apart, ended, began = (x[np.ix_(alive, alive)][off] for x in apart)
    mean, low, high, spread, recall, way = np.full(6, np.nan)
    if alive.size:
        last = accuracy[alive, -1]
        mean, low, high, recall = last.mean(), last.min(), last.max(), balanced[alive].mean()
        spread, way = last.std(ddof=1) if len(alive) > 1 else np.nan, moved[alive].mean()
    error = np.sqrt(mean * (1 - mean) / 60)
    pairs = [x.mean() if x.size else np.nan for x in (apart, ended, began)]
    wanted = ["mlp", *map(number, (mean, spread, error)), f"{number(low)}-{number(high)}"]
    assert row.split() == [*wanted, *map(number, (0.5, pairs[0], recall))]
    wanted = ["mlp", "1,234", *map(number, (pairs[2], pairs[1], way)), "–", "–"]
    assert weights.splitlines()[1].split() == wanted


def test_pairs_are_never_of_a_member_with_itself():
    values = np.array([[9.0, 1.0, 2.0], [1.0, 9.0, 6.0], [2.0, 6.0, 9.0]])
    assert mean_over_pairs(values) == 3.0
    values[1], values[:, 1] = np.nan, np.nan
    assert mean_over_pairs(values) == 2.0
    assert np.isnan(mean_over_pairs(values[:1, :1]))
