"""Every figure is drawn in every size, says what it is, and holds the numbers it was given."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection

from catdog_jax.figures import style
from catdog_jax.figures.data_sheet import choose
from catdog_jax.figures.tiles import normalised


def holds(axes, wanted):
    """Return whether one of the lines has these heights."""
    return any(np.array_equal(line.get_ydata(), wanted) for line in axes.lines)


def boxes_of(figure, artists):
    renderer = FigureCanvasAgg(figure).get_renderer()
    return [artist.get_window_extent(renderer) for artist in artists]


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 40)], ids=str)
def test_every_figure_of_every_size_can_be_read(name, size, made, draw, command):
    figure, data = made(name, *size)
    words = draw(figure)
    assert "".join(words.split()).count("".join(command.split())) == 1
    title, caption, _ = (text.get_text() for text in figure.texts)
    assert title
    assert len(caption) > 50
    assert ("A note." in words) == ("note" in data)
    for model in data.get("models", ()):
        assert model.split(":")[0][:6] in words
    assert any(axes.get_xlabel() or axes.get_ylabel() or axes.texts for axes in figure.axes)
    boxes = boxes_of(figure, (*figure.texts, *figure.legends))
    for i, box in enumerate(boxes):
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])


@pytest.mark.parametrize("name", ["learning_curves", "trajectories"])
def test_a_thousand_members_are_drawn(name, made, draw):
    assert "1,000 members" in draw(made(name, 1, 1000)[0])


def test_members_that_all_diverged_are_said_to(made, draw):
    figure, _ = made("final_accuracy", diverged_step=np.full((2, 4), 110))
    assert draw(figure).count("all diverged") == 2
    nothing = np.full((2, 4, 4), np.nan)
    assert draw(made("disagreement", values=nothing)[0]).count("no pairs") == 2
    figure, _ = made("trajectories", coordinates=np.full((2, 4, 6, 2), np.nan))
    assert not any(axes.lines for axes in figure.axes)
    draw(made("learning_curves", diverged_step=np.full((2, 4), 110))[0])
    assert "mixed" in draw(made("probes", accuracy=np.full((4, 4, 2, 4), np.nan))[0])


def test_learning_curves_are_the_members_the_medians_and_the_middle_half(made):
    steps = np.stack([np.arange(6) * 50, np.arange(6) * 7])
    diverged = np.array([[-1, -1, -1, -1], [-1, -1, 15, -1]])
    figure, data = made("learning_curves", step=steps, diverged_step=diverged)
    for p, axes in enumerate(figure.axes):
        alive = data["test_accuracy"][p, diverged[p] < 0]
        (members,) = (c for c in axes.collections if isinstance(c, LineCollection))
        drawn = np.array(members.get_segments())
        np.testing.assert_allclose(drawn[..., 1], alive)
        np.testing.assert_array_equal(drawn[0, :, 0], steps[p])
        *_, test = (line for line in axes.lines if line.get_label() == "median")
        np.testing.assert_allclose(test.get_ydata(), np.median(alive, axis=0), rtol=1e-6)
        band = axes.collections[-1].get_paths()[0].vertices
        at = band[band[:, 0] == steps[p, 2], 1]
        quartiles = np.percentile(alive[:, 2], [25, 75])
        np.testing.assert_allclose([at.min(), at.max()], quartiles, rtol=1e-6)
    (cross,) = (line for line in figure.axes[1].lines if line.get_marker() == "x")
    assert cross.get_xydata().tolist() == [[14, data["test_accuracy"][1, 2, 2]]]


def test_final_accuracies_are_dots_and_ensembles_are_diamonds(made, draw):
    diverged = np.array([[-1, 30, -1, -1], [-1] * 4])
    figure, data = made("final_accuracy", diverged_step=diverged)
    lines = figure.axes[0].lines
    rows = [line.get_xdata() for line in lines if len(line.get_xdata()) in (3, 4)]
    for row, values, alive in zip(rows, data["test_accuracy"], diverged < 0, strict=True):
        np.testing.assert_array_equal(row, values[alive])
    diamonds = [line.get_xdata()[0] for line in lines if line.get_marker() == "D"]
    assert diamonds == pytest.approx(data["ensemble_accuracy"])
    words, last = draw(figure), data["test_accuracy"][1].astype(np.float64)
    assert f"{last.mean():.3f} ± {last.std(ddof=1):.3f} ensemble {diamonds[1]:.3f}" in words
    assert "1 diverged" in words


def test_heat_maps_are_the_matrices_and_dots_the_pairs_counted_once(made):
    values = made("weight_distance")[1]["values"]
    values[1, 2] = values[1, :, 2] = np.nan
    figure, _ = made("weight_distance", values=values)
    for axes, matrix in zip(figure.axes[:2], values, strict=True):
        shown = axes.images[0].get_array()
        hidden = np.eye(4, dtype=bool) | np.isnan(matrix)
        np.testing.assert_array_equal(np.ma.getmaskarray(shown), hidden)
        np.testing.assert_array_equal(shown[~hidden].data, matrix[~hidden])
        assert axes.images[0].get_clim() == (0.0, 2**0.5)
    dots = [line.get_xdata() for line in figure.axes[-1].lines if len(line.get_xdata()) in (3, 6)]
    np.testing.assert_array_equal(dots[0], values[0][np.triu_indices(4, 1)])
    np.testing.assert_array_equal(dots[1], [values[1][i] for i in [(0, 1), (0, 3), (1, 3)]])
    means = [text.get_text() for text in figure.axes[-1].texts]
    assert means == [f"mean {d.mean():.3g}" for d in dots]


def test_trajectories_are_paths_with_their_starts_and_ends(made):
    coordinates = made("trajectories")[1]["coordinates"]
    coordinates[0, 1, 2:] = np.nan
    diverged = np.array([[-1, 60, -1, -1], [-1] * 4])
    figure, _ = made("trajectories", coordinates=coordinates, diverged_step=diverged)
    axes = figure.axes[0]
    assert axes.get_aspect() == 1.0
    (paths,) = (c for c in axes.collections if isinstance(c, LineCollection))
    np.testing.assert_array_equal(paths.get_segments()[1], coordinates[0, 1, :2])
    marks = {line.get_label(): line.get_xydata() for line in axes.lines}
    np.testing.assert_array_equal(marks["start"], coordinates[0, :, 0])
    np.testing.assert_array_equal(marks["end"], coordinates[0, [0, 2, 3], -1])
    np.testing.assert_array_equal(marks["diverged"], coordinates[0, [1], 1])


def test_first_layers_are_tiles_of_the_first_members_and_units(made):
    figure, data = made("first_layer", 2, 9)
    for axes, array in zip(figure.axes, data["pictures"].values(), strict=True):
        units = min(5, array.shape[1])
        assert len(axes.images) == 5 * units
        for n, image in enumerate(axes.images):
            m, u = divmod(n, units)
            np.testing.assert_array_equal(image.get_array(), normalised(array[m, u]))
            left, right, bottom, top = image.get_extent()
            assert np.isclose(0.5 * (left + right), axes.get_xticks()[u])
            assert np.isclose(0.5 * (bottom + top), axes.get_yticks()[m])


def test_zero_is_grey_and_the_largest_weight_is_full():
    weights = np.zeros((2, 2, 3))
    np.testing.assert_array_equal(normalised(weights), np.full((2, 2, 3), 0.5))
    weights[0, 0] = [-4.0, 2.0, np.nan]
    np.testing.assert_allclose(normalised(weights)[0, 0], [0.0, 0.75, 0.5])


def test_first_layers_stand_before_and_after(made):
    axes = made("before_after", 2, 9)[0].axes[1]
    assert len(axes.images) == 2 * 4 * 6
    # Scaled by itself: twice the weights is the same picture, in the other half.
    first, second = axes.images[0], axes.images[4 * 6]
    np.testing.assert_allclose(first.get_array(), second.get_array())
    assert second.get_extent()[0] > axes.images[5].get_extent()[1]


def test_votes_and_marks_stand_under_the_right_picture(made):
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    votes = np.array([[1, 0], [0.75, 0.25], [0.5, 0.5], [0, 1], [0.25, 0.75]])
    labels, names = np.array([0, 1, 0, 0, 1]), ("cat", "dog")
    figure, _ = made("data_sheet", images=images, labels=labels, votes=votes, class_names=names)
    shown = [axes for axes in figure.axes if axes.images]
    order = [2, 1, 4, 0, 3]  # contested by their lead, then unanimous
    for axes, n in zip(shown, order, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[n])
        assert [patch.get_width() for patch in axes.patches] == votes[n].tolist()
        cats, dogs = (4 * votes[n]).astype(int)
        assert axes.get_xlabel() == f"cat {cats} : {dogs} dog"
    titles = [axes.get_title() for axes in shown]
    assert titles == ["cat  =", "dog  ✗", "dog", "cat", "cat  ✗"]
    widths = [axes.spines["left"].get_linewidth() for axes in shown]
    assert widths == [2.5, 3.0, 0.5, 0.5, 3.0]


def test_the_sheet_is_half_contested_and_half_spread_evenly():
    share = np.ones(100)
    share[10:30] = np.linspace(0.99, 0.51, 20)
    chosen = choose(np.stack([share, 1 - share], axis=1), 8)
    np.testing.assert_array_equal(chosen, [29, 28, 27, 26, 0, 40, 60, 80])
    # Where one kind is short the other fills up.
    contested = np.tile([0.6, 0.4], (10, 1))
    np.testing.assert_array_equal(choose(contested, 4), [0, 1, 2, 3])
    mixed = np.concatenate([np.tile([1.0, 0.0], (10, 1)), contested[:1]])
    np.testing.assert_array_equal(choose(mixed, 99), [10, *range(10)])


def test_rungs_lie_at_their_numbers_and_the_best_of_each_origin_on_top(made):
    figure, data = made("ladder", 4, 3)
    (axes,) = figure.axes
    rows, test = np.array(axes.get_yticks()), np.nanmean(data["test_accuracy"], axis=1)
    for r, y in enumerate(rows):
        own = [x for x in axes.lines if np.isclose(x.get_ydata(), y).all()]
        marks = {x.get_markersize(): x for x in own if x.get_linestyle() == "None"}
        assert marks[5.4].get_xdata()[0] == pytest.approx(test[r])
        assert marks[4.2].get_xdata()[0] == pytest.approx(test[r] + 0.05)
        assert marks[5.4].get_marker() == {"p": "s", "e": "D", "l": "o"}[data["origins"][r][0]]
        (interval,) = (x.get_xdata() for x in own if x.get_linewidth() == 2.0)
        assert interval == pytest.approx([data["low"][r], data["high"][r]])
    dots = {tuple(x.get_xdata()) for x in axes.lines if x.get_markersize() == 2.2}
    assert dots == {tuple(row) for row in data["test_accuracy"][3:]}
    climbed = np.argsort(rows)
    assert [data["origins"][r] for r in climbed] == data["origins"]
    assert np.diff(test[climbed[3:]]).min() > 0
    assert np.diff(rows[climbed]).min() > 0.15  # inches: no rung lies on another


def test_the_ladders_columns_hold_the_numbers_and_say_where_there_are_none(made, draw):
    _, data = made("ladder", 3)
    test, low = data["test_accuracy"], data["low"]
    test[0] = low[0] = np.nan
    figure, _ = made(
        "ladder", 3, test_accuracy=test, low=low,
        num_params=np.array([2.0, np.nan, 6146.0, 9_999_999.0, 30_720_000.0, 1.0]),
        seconds=np.array([0.0, 0.0312, 0.25, 12.34, 1234.5, np.nan]),
    )  # fmt: skip
    words = draw(figure).split()
    written = f"{np.nanmean(test[1]):.3f}"
    for text in (written, "6,146", "9,999,999", "30.7", "0.031", "0.25", "12.3", "1,234", "0.001"):
        assert text in words, text
    assert words.count("–") == 3


def test_average_animals_are_the_averages_and_the_weights(made, draw):
    figure, data = made("average_animals", 3)
    words = draw(figure)
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    means = data["means"]
    np.testing.assert_array_equal(shown[:2], means)
    difference = means[1].astype(np.float64) - means[0]
    for picture, expected in zip(shown[2:], (difference, *data["weights"]), strict=True):
        np.testing.assert_array_equal(picture, normalised(expected))
    for sign in "−+":
        assert f"{sign}{np.abs(difference).max():.2g}" in words
    assert words.count("right: 0.610") == 2


def test_the_accuracy_of_the_hyperplane_is_that_of_two_classes_at_zero(made, draw):
    projections = np.array([-1.0, -2.0, 3.0, 4.0, 0.0, -5.0, 9.0, np.nan])
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 1])
    words = draw(made("average_animals", 1, projections=projections, labels=labels)[0])
    assert "right: 0.500 of 6" in words
    assert "A share of 0.500 of the test pictures lies on the side of its class" in words


def test_every_start_of_a_curve_is_drawn(made):
    figure, data = made("curve_fits", 1, 9)
    for index, axes in enumerate(figure.axes):
        for y in data["fit"][index // 3, index % 3]:
            assert holds(axes, y)


def test_errors_are_drawn_where_they_belong(made, draw):
    figure, data = made("curve_errors")
    expected, train, test = (data[k] for k in ("expected", "train_error", "test_error"))
    left, right = figure.axes[:2]
    for wanted in (expected[0, 0, 1, :, 2], expected[0, 1, 1, :, 2], train[0, :, 1].ravel()):
        assert holds(left, wanted)
    for d in range(2):
        assert holds(right, expected[0, 1, 1, d])
        assert holds(right, test[0, d].ravel())
    assert "0.01) included" in draw(figure)


def test_the_worst_start_is_the_one_drawn(made, draw):
    figure, data = made("starts_meet")
    for d in range(2):
        assert holds(figure.axes[0], data["gap"][0, d].max(axis=-1))
        assert holds(figure.axes[0], [data["gap_powers"][0, d].max()])
    assert "1.4" in draw(figure)


def test_every_part_of_every_sweep_is_drawn(made):
    figure, data = made("bias_variance")
    for column, sweep in enumerate(data["sweeps"].values()):
        for row, part in np.ndindex(2, 4):
            assert holds(figure.axes[2 * row + column], sweep.values[:, row, part])
        means = sweep.test_accuracy.mean(axis=1, dtype=np.float64)
        assert holds(figure.axes[4 + column], means)


def bold(axes, colour, line):
    """The median curve of a colour and a line style."""
    curves = [x for x in axes.lines if x.get_linewidth() == 2.0 and x.get_linestyle() == line]
    (found,) = (x.get_ydata() for x in curves if x.get_color() == colour)
    return found


def test_curves_over_layers_are_the_medians_of_the_living_members(made):
    changed = {k: made("class_by_layer", 3, 5)[1][k] for k in ("probe", "head", "ridge")}
    for values in changed.values():
        values[:, 1, -1] = np.nan
    figure, data = made("class_by_layer", 3, 5, **changed)
    for p, axes in enumerate(figure.axes):
        names = data["layers"][p]
        ticks = [label.get_text() for label in axes.get_xticklabels()]
        assert ticks == [*names, "own answer"]
        medians = np.nanmedian(changed["probe"][p, :, :, : len(names)], axis=1)
        np.testing.assert_array_equal(bold(axes, style.GREY, "--"), medians[0])
        np.testing.assert_array_equal(bold(axes, style.colour(0), "-"), medians[1])
        (square,) = (x for x in axes.lines if x.get_markersize() == 10)
        assert square.get_xdata()[0] == len(names) - 2
        assert square.get_ydata()[0] == np.nanmedian(changed["ridge"][p, 1])
        (diamond,) = (x for x in axes.lines if x.get_marker() == "D")
        assert diamond.get_ydata()[0] == np.nanmedian(changed["head"][p, 1])


def test_the_map_of_factors_writes_every_number(made):
    figure, data = made("factors_by_layer", 3)
    grid = np.array(figure.axes).reshape(2, 4)
    labels = [text.get_text() for text in grid[0, 0].get_yticklabels()]
    assert labels == ["cues", "ear hang", "pose and light", "light angle (cos)", "head x"]
    assert [text.get_text() for text in grid[0, 0].texts] == ["31", "0"]
    for when, p in np.ndindex(2, 3):
        shown = data["scores"][p, when, : len(data["layers"][p])].T[[0, 2, 1]]
        axes = grid[when, p + 1]
        wanted = [f"{100 * max(value, 0):.0f}" for value in shown.ravel()]
        assert [text.get_text() for text in axes.texts] == wanted
        image = axes.images[0].get_array()
        np.testing.assert_allclose(image[[1, 3, 4]], np.clip(shown, 0, 1))
        assert image.mask[[0, 2]].all()


def test_the_maps_of_alignment_are_the_numbers(made):
    figure, data = made("alignment", 3)
    assert len(figure.axes) == 2 * 3 + 1  # nothing is drawn where nothing is known
    for r, name in enumerate(("one network", "start and trained")):
        for p, names in enumerate(data["layers"]):
            image = figure.axes[3 * r + p].images[0].get_array()
            values = data["maps"][name][p, : len(names), : len(names)]
            np.testing.assert_allclose(image, np.clip(values, 0, 1))


def test_the_plane_has_every_word_and_its_colour(made, draw):
    figure, data = made("embeddings")
    words = draw(figure)
    assert words.count("41 % and 7 % of the variance") == 3
    assert "the first 3 of 4 members" in words
    for axes, points in zip(figure.axes, data["coordinates"], strict=True):
        drawn = np.concatenate([line.get_xydata() for line in axes.lines])
        np.testing.assert_array_equal(np.sort(drawn, axis=0), np.sort(points, axis=0))
        cats = next(line for line in axes.lines if line.get_color() == style.colour(0))
        np.testing.assert_array_equal(cats.get_xydata(), points[:2])


def test_labels_of_words_do_not_cover_one_another(made, draw):
    crowded = np.linspace(0.0, 0.1, 18).reshape(1, 9, 2).astype(np.float32)
    crowded[0, -1] = 1.5
    figure, _ = made("embeddings", 1, 1, coordinates=crowded)
    draw(figure)
    boxes = boxes_of(figure, figure.axes[0].texts)
    assert 1 < len(boxes) <= 5
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_the_table_of_neighbours_has_the_nearest_first(made, draw):
    nearest = np.tile(np.array([[1, 2], [0, 2], [3, 0], [2, 0], [5, 0]] + [[0, 1]] * 4), (2, 1, 1))
    figure, _ = made("neighbours", nearest=nearest, members=[1, 3])
    words = draw(figure)
    assert "cat cats, dog cats, dog by cat, cats cat, cats" in words
    assert "in 2 of 4 members of mlp" in words
    (cats,) = {t.get_color() for t in figure.axes[0].texts if t.get_text() == "cats, "}
    assert cats == style.colour(0)


def test_probes_of_words_show_start_and_end_of_every_layer(made):
    figure, data = made("probes")
    for p, axes in enumerate(figure.axes):
        dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
        np.testing.assert_array_equal(dots, np.median(data["accuracy"][..., p], axis=1).ravel())


def test_the_table_of_constructions_has_means_and_ranges(made):
    accuracy = np.full((3, 4, 2), 0.5)
    accuracy[1, :, 0] = [0.6, 0.7, 0.8, 0.9]
    accuracy[2] = 1.0
    accuracy[2, 1:] = accuracy[0, :, 1] = np.nan
    figure, _ = made("constructions", 3, accuracy=accuracy)
    cells = {text.get_text() for text in figure.axes[0].texts}
    assert cells == {"0.50", "–", "0.75\n0.60 to 0.90", "1.00"}
