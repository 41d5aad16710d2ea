"""The figures on barriers hold the numbers they were given."""

import numpy as np
from panels import holds, lines


def test_a_matrix_has_the_barrier_of_every_pair_on_both_sides(make, draw, said):
    data = make("connectivity", 1, 3)
    figure = draw("connectivity.pairs", data)
    values = data["loss_barrier"].sel(split="test")[0]
    for axes, kind in zip(figure.axes, ("none", "weights", "repair"), strict=False):
        (image,) = axes.images
        found, expected = image.get_array(), values.sel(alignment=kind).values
        np.testing.assert_allclose(found.filled(-1)[[0, 0, 1], [1, 2, 2]], expected)
        np.testing.assert_allclose(found.filled(-1)[[1, 2, 2], [0, 0, 1]], expected)
        assert all(f"{x:.2f}" in said(figure) for x in expected)


def test_a_profile_has_every_pair_and_their_median(make, draw):
    data = make("connectivity", 2, 4)
    axes = draw("connectivity.profile", data).axes[1]
    one = data["line_loss"].sel(split="test")[1]
    for kind in ("none", "weights", "repair"):
        values = one.sel(alignment=kind).values
        assert all(holds(axes, row) for row in values)
        (bold,) = (
            x
            for x in lines(axes, linewidth=2.2)
            if np.allclose(x.get_ydata(), np.median(values, axis=0))
        )
        np.testing.assert_allclose(bold.get_xdata(), data["mixing"])


def test_sizes_are_joined_in_order_and_errors_are_in_points(make, draw):
    data = make("connectivity", 3, 9)
    loss, error = draw("connectivity.by_size", data).axes
    for axes, name, scale in ((loss, "loss", 1), (error, "error", 100)):
        for kind in ("none", "temperature"):
            values = scale * data[f"{name}_mean"].sel(alignment=kind, split="test").values
            assert holds(axes, values)
    np.testing.assert_allclose(loss.lines[0].get_xdata(), [4, 8, 16])


def test_pictures_say_how_much_each_carries(make, draw, said):
    data = make("connectivity", 2, 3)
    text = said(draw("connectivity.pictures", data))
    gap = data["picture_gap"][-1].mean("pair")
    before, after = (gap.sel(alignment=x).values for x in ("none", "weights"))
    assert f"{before[3]:+.1f} → {after[3]:+.1f}" in text
    half = int((np.cumsum(np.sort(before)[::-1]) < before.sum() / 2).sum()) + 1
    assert f"The {half} pictures whose loss rises most add up to half" in text
