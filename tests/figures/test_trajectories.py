"""The paths drawn are the coordinates."""

import numpy as np
from matplotlib.collections import LineCollection

from catdog_jax.figures.trajectories import trajectories


def _figure(r, command):
    return trajectories(r.coordinates, r.explained, r.diverged_step, r.models, command=command)


def test_every_size_is_drawn_and_says_what_it_is(results, command, draw):
    figure = _figure(results, command)
    words = draw(figure)
    assert len(figure.axes) == len(results.models)
    assert f"{results.num_members:,} member" in words
    assert "component 1 (47% of variance)" in words
    assert "component 2 (5%)" in words
    assert "".join(words.split()).count("".join(command.split())) == 1
    assert all(axes.get_aspect() == 1.0 for axes in figure.axes)


def test_paths_starts_and_ends_are_the_arrays(small, command):
    small.diverged_step[0, 1] = 60
    small.coordinates[0, 1, 2:] = np.nan
    axes = _figure(small, command).axes[0]
    (lines,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    for m, path in enumerate(lines.get_segments()):
        np.testing.assert_array_equal(path, small.coordinates[0, m, : 2 if m == 1 else 6])
    marks = {line.get_label(): line.get_xydata() for line in axes.lines}
    np.testing.assert_array_equal(marks["start"], small.coordinates[0, :, 0])
    np.testing.assert_array_equal(marks["end"], small.coordinates[0, [0, 2, 3], -1])
    np.testing.assert_array_equal(marks["diverged"], small.coordinates[0, [1], 1])


def test_a_model_without_one_finite_snapshot_is_an_empty_panel(small, command, draw):
    small.coordinates[0] = np.nan
    figure = _figure(small, command)
    assert "linear" in draw(figure)
    assert not figure.axes[0].lines
