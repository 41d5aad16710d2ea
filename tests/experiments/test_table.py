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
    members, pairs = ("model", "member"), ("model", "member", "other_member")
    names = ("disagreement", "weight_distance", "relative_weight_distance")
    data = xr.Dataset(
        {
            "test_accuracy": ((*members, "eval"), accuracy[None]),
            "test_balanced_accuracy": (members, balanced[None]),
            "ensemble_accuracy": ("model", [0.5]),
            "diverged_step": (members, [[-1 if m in alive else 12 for m in range(6)]]),
            "num_parameters": ("model", [1234]),
            "label": ("example", np.arange(60) % 3 // 2),
            **{name: (pairs, x[None]) for name, x in zip(names, apart, strict=True)},
        },
        {"model": ["mlp"], "class": ["cat", "dog"]},
    )
    head, row, note, *lost = table(types.SimpleNamespace(data=data, manifest={})).splitlines()
    assert "balanced" in head
    assert note.startswith("6 members each")
    assert len(lost) == bool(diverged)
    if lost:
        assert lost[0].startswith(f"mlp: {len(diverged)} of 6 members diverged")
    cells = row.split()
    assert cells[:2] == ["mlp", "1,234"]
    off = ~np.eye(len(alive), dtype=bool)
    pairwise = [x[np.ix_(alive, alive)][off] for x in apart]
    last, digits = accuracy[alive, -1], [3, 3, 3, 3, 3, 3, 3, 2, 3, 1, 1]
    spread = last.std(ddof=1) if len(alive) > 1 else np.nan
    single = [x(last) if len(alive) else np.nan for x in (np.mean, np.min, np.max)]
    single += [balanced[alive].mean() if len(alive) else np.nan, 0.5]
    means = [x.mean() if x.size else np.nan for x in pairwise]
    wanted = [single[0], spread, *single[1:], *means, np.nan, np.nan]
    cells.remove("±")
    assert cells[2:] == [number(x, d) for x, d in zip(wanted, digits, strict=True)]


def test_pairs_are_never_of_a_member_with_itself():
    values = np.array([[9.0, 1.0, 2.0], [1.0, 9.0, 6.0], [2.0, 6.0, 9.0]])
    assert mean_over_pairs(values) == 3.0
    values[1], values[:, 1] = np.nan, np.nan
    assert mean_over_pairs(values) == 2.0
    assert np.isnan(mean_over_pairs(values[:1, :1]))
