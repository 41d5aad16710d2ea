"""The strip of final accuracies holds every living member."""

import numpy as np
import pytest

from catdog_jax.figures.final_accuracy import final_accuracy


def _figure(r, command):
    return final_accuracy(
        r.test_accuracy[..., -1],
        r.ensemble_accuracy,
        r.diverged_step,
        r.models,
        chance=0.5,
        command=command,
    )


def test_every_size_is_drawn_and_says_what_it_is(results, command, draw):
    words = draw(_figure(results, command))
    assert f"{results.num_members:,} member" in words
    assert "".join(words.split()).count("".join(command.split())) == 1
    assert "test accuracy after the last step (fraction right)" in words
    assert "all diverged" in words or (results.diverged_step < 0).any()
    for entry in results.models[:4]:
        assert entry.split(":")[0] in words


def test_dots_are_the_members_and_diamonds_the_ensembles(small, command, draw):
    small.diverged_step[0, 1] = 30
    figure = _figure(small, command)
    (axes,) = figure.axes
    rows = [line for line in axes.lines if len(line.get_xdata()) in (3, 4)]
    np.testing.assert_allclose(rows[0].get_xdata(), small.test_accuracy[0, [0, 2, 3], -1])
    np.testing.assert_allclose(rows[1].get_xdata(), small.test_accuracy[1, :, -1])
    diamonds = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"]
    assert diamonds == pytest.approx(small.ensemble_accuracy)
    last = small.test_accuracy[1, :, -1].astype(np.float64)
    words = draw(figure)
    assert f"{last.mean():.3f} ± {last.std(ddof=1):.3f} ensemble" in words
    assert f"ensemble {small.ensemble_accuracy[1]:.3f}" in words
    assert "1 diverged" in words
