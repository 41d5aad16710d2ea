"""The curves drawn are the arrays."""

import numpy as np
from matplotlib.collections import LineCollection

from catdog_jax.figures.learning_curves import learning_curves


def _figure(r, command, **changes):
    arrays = {
        "step": r.step,
        "train_accuracy": r.train_accuracy,
        "test_accuracy": r.test_accuracy,
        "diverged_step": r.diverged_step,
    } | changes
    return learning_curves(**arrays, models=r.models, chance=0.5, command=command, note="A note.")


def test_every_size_is_drawn_and_says_what_it_is(results, command, draw):
    figure = _figure(results, command)
    words = draw(figure)
    assert len(figure.axes) == len(results.models)
    assert f"{results.num_members:,} member" in words
    assert "".join(words.split()).count("".join(command.split())) == 1
    assert "training step" in words
    assert "accuracy (fraction right)" in words
    assert "A note." in words
    assert ("diverged" in words) == bool((results.diverged_step >= 0).any())


def test_lines_are_the_members_and_the_medians(small, command):
    figure = _figure(small, command)
    for p, axes in enumerate(figure.axes):
        (members,) = [c for c in axes.collections if isinstance(c, LineCollection)]
        drawn = np.array(members.get_segments())
        np.testing.assert_allclose(drawn[..., 1], small.test_accuracy[p])
        np.testing.assert_array_equal(drawn[..., 0], np.tile(small.step, (4, 1)))
        train, test = [line for line in axes.lines if line.get_label() == "median"]
        np.testing.assert_allclose(test.get_ydata(), np.median(small.test_accuracy[p], axis=0))
        np.testing.assert_allclose(train.get_ydata(), np.median(small.train_accuracy[p], axis=0))


def test_the_band_is_the_middle_half(small, command):
    axes = _figure(small, command).axes[1]
    band = axes.collections[-1].get_paths()[0].vertices
    first, third = np.percentile(small.test_accuracy[1], [25, 75], axis=0)
    for step, low, high in zip(small.step, first, third, strict=True):
        at = band[band[:, 0] == step, 1]
        np.testing.assert_allclose([at.min(), at.max()], [low, high])


def test_a_frozen_member_ends_where_it_froze_and_moves_no_median(small, command):
    small.diverged_step[1, 2] = 120
    axes = _figure(small, command).axes[1]
    (cross,) = [line for line in axes.lines if line.get_marker() == "x"]
    assert list(cross.get_xdata()) == [100]
    np.testing.assert_allclose(cross.get_ydata(), small.test_accuracy[1, 2, 2])
    *_, test = [line for line in axes.lines if line.get_label() == "median"]
    expected = np.median(small.test_accuracy[1, [0, 1, 3]], axis=0)
    np.testing.assert_allclose(test.get_ydata(), expected)


def test_models_may_have_steps_of_their_own(small, command):
    step = np.stack([small.step, 7 * small.step])
    axes = _figure(small, command, step=step).axes
    assert axes[0].lines[0].get_xdata()[-1] == 250
    assert axes[1].lines[0].get_xdata()[-1] == 1750
