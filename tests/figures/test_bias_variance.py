"""The figure of bias and variance holds the numbers it was given."""

import numpy as np
import pytest

from catdog_jax.figures.bias_variance import Sweep, bias_variance


@pytest.mark.parametrize("disjoint", [True, False])
def test_every_part_of_every_sweep_is_drawn(disjoint, command, draw):
    rng = np.random.default_rng(0)
    sweeps = {}
    for name, x in (("width", [4, 16, 64]), ("depth", [1])):
        shape = (len(x), 2, 4)
        errors = np.full(shape, np.nan) if name == "depth" else rng.uniform(0, 0.01, shape)
        accuracy = rng.uniform(0.5, 1.0, (2, len(x), 6))
        accuracy[0, 0, 0] = np.nan
        sweeps[name] = Sweep(
            np.array(x), f"the {name}", f"same but {name}", name == "width",
            rng.uniform(0, 0.5, shape), errors, *accuracy,
        )  # fmt: skip
    figure = bias_variance(sweeps, num_starts=3, num_sets=2, disjoint=disjoint, command=command)
    for column, sweep in enumerate(sweeps.values()):
        for row in (0, 1):
            lines = [line.get_ydata() for line in figure.axes[2 * row + column].lines]
            for part in range(4):
                assert any(np.array_equal(sweep.values[:, row, part], line) for line in lines)
        lines = [line.get_ydata() for line in figure.axes[4 + column].lines]
        assert any(np.allclose(np.nanmean(sweep.test_accuracy, 1), y) for y in lines if len(y) < 4)
    words = draw(figure)
    assert "3 random starts, the same on each of 2 training sets" in words
    assert ("share no example" in words) == disjoint
    assert "the depth" in words
