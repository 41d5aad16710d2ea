"""Every figure holds the numbers it was given."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from panels import holds, lines

from catdog_jax.figures import style
from catdog_jax.figures.attribution import FOR_AND_AGAINST
from catdog_jax.figures.parts import normalised
from catdog_jax.figures.pictures import choose, closest


def test_learning_curves_are_the_members_the_medians_and_the_middle_half(make, draw):
    data = make("training")
    data["diverged_step"][1, 2] = 45
    figure = draw("training.learning_curves", data)
    for p, axes in enumerate(figure.axes):
        alive = data["test_accuracy"].values[p, data["diverged_step"].values[p] < 0]
        assert all(holds(axes, row) for row in alive)
        assert holds(axes, np.median(alive, axis=0))
        np.testing.assert_array_equal(axes.lines[0].get_xdata(), data["step"].values[p])
        band = axes.collections[0].get_paths()[0].vertices
        at = band[band[:, 0] == data["step"].values[p, 2], 1]
        np.testing.assert_allclose([at.min(), at.max()], np.percentile(alive[:, 2], [25, 75]))
    (cross,) = lines(figure.axes[1], marker="x")
    np.testing.assert_allclose(cross.get_xydata(), [[40, data["test_accuracy"][1, 2, 2]]])


def test_final_accuracies_are_dots_and_ensembles_are_diamonds(make, draw, said):
    data = make("training")
    data["diverged_step"][0, 1] = 30
    figure = draw("training.final_accuracy", data)
    last = data["test_accuracy"].values[..., -1].astype(float)
    rows = [line.get_xdata() for line in figure.axes[0].lines if line.get_markersize() == 4.0]
    np.testing.assert_array_equal(rows[0], last[0, [0, 2, 3]])
    np.testing.assert_array_equal(rows[1], last[1])
    ensembles = [line.get_xdata()[0] for line in lines(figure.axes[0], marker="D")]
    np.testing.assert_allclose(ensembles, data["ensemble_accuracy"])
    text = f"{last[1].mean():.3f} ± {last[1].std(ddof=1):.3f} ensemble {ensembles[1]:.3f}"
    mean = last[1].mean()
    text += f" test set ± {np.sqrt(mean * (1 - mean) / data.sizes['example']):.3f}"
    assert text in said(figure)
    assert "1 diverged" in said(figure)


def test_heat_maps_are_the_matrices_and_dots_the_pairs_counted_once(make, draw):
    data = make("training")
    data["diverged_step"][1, 2] = 30
    figure = draw("training.weight_distance", data)
    kept = [data["relative_weight_distance"].values[p].astype(float) for p in (0, 1)]
    kept[1][2], kept[1][:, 2] = np.nan, np.nan
    pairs = [matrix[np.triu_indices(4, 1)] for matrix in kept]
    dots = [line.get_xdata() for line in figure.axes[-1].lines if line.get_markersize() == 4.0]
    for axes, matrix, own, row in zip(figure.axes, kept, pairs, dots, strict=False):
        np.fill_diagonal(matrix, np.nan)
        np.testing.assert_array_equal(np.ma.filled(axes.images[0].get_array(), np.nan), matrix)
        assert axes.images[0].get_clim() == (0.0, 2**0.5)
        np.testing.assert_array_equal(row, own[np.isfinite(own)])
    texts = [text.get_text() for text in figure.axes[-1].texts]
    assert texts == [f"mean {np.nanmean(own):.3g}" for own in pairs]


def test_trajectories_are_paths_with_their_starts_and_ends(make, draw):
    data = make("training")
    data["trajectory"][0, 1, 2:] = np.nan
    data["diverged_step"][0, 1] = 60
    axes, paths = draw("training.trajectories", data).axes[0], data["trajectory"].values[0]
    assert axes.get_aspect() == 1.0
    np.testing.assert_allclose(axes.collections[0].get_segments()[1], paths[1, :2])
    marks = {line.get_label(): line.get_xydata() for line in axes.lines}
    np.testing.assert_array_equal(marks["random start"], paths[:, 0])
    np.testing.assert_array_equal(marks["end of training"], paths[[0, 2, 3], -1])
    np.testing.assert_array_equal(marks["diverged"], paths[[1], 1])


def test_first_layers_are_tiles_of_members_and_units(make, draw):
    data = make("training", 2, 9)
    axes = draw("pictures.first_layer", data).axes[1]
    pictures = normalised(data["first_layer_1"].values)
    assert len(axes.images) == 5 * 5
    for n, image in enumerate(axes.images):
        np.testing.assert_array_equal(image.get_array(), pictures[divmod(n, 5)])
        left, right, bottom, top = image.get_extent()
        assert np.isclose((left + right) / 2, axes.get_xticks()[n % 5])
        assert np.isclose((bottom + top) / 2, axes.get_yticks()[n // 5])
    data = make("attribution", 2, 9)
    data["first_layer_0"][1] = 2 * data["first_layer_0"][0]
    images = draw("pictures.first_layer", data).axes[0].images
    # Scaled by itself: twice the weights is the same picture, in the other half.
    np.testing.assert_allclose(images[0].get_array(), images[5 * 5].get_array())
    assert images[5 * 5].get_extent()[0] > images[4].get_extent()[1]


def test_zero_is_grey_and_the_largest_weight_is_full():
    weights = np.zeros((2, 2, 2, 3))
    weights[1, 0, 0] = [-4.0, 2.0, np.nan]
    assert (normalised(weights)[0] == 0.5).all()
    np.testing.assert_allclose(normalised(weights)[1, 0, 0], [0.0, 0.75, 0.5])


def test_votes_and_marks_stand_under_the_right_picture(make, draw):
    data = make("training", 1).isel(shown=slice(5)).assign_coords({"class": ["cat", "dog"]})
    cats = np.array([4, 3, 2, 0, 1])
    votes = np.arange(4)[:, None] >= cats
    data["logits"][0, :, :5] = np.eye(2)[votes.astype(int)]
    data["label"][:5] = [0, 1, 0, 0, 1]
    shown = [axes for axes in draw("pictures.data_sheet", data).axes if axes.images]
    for axes, n in zip(shown, [2, 1, 4, 0, 3], strict=True):  # contested by lead, then unanimous
        np.testing.assert_array_equal(axes.images[0].get_array(), data["picture"][n])
        assert [patch.get_width() for patch in axes.patches] == [cats[n] / 4, 1 - cats[n] / 4]
        assert axes.get_xlabel() == f"cat {cats[n]} : {4 - cats[n]} dog"
    assert [axes.get_title() for axes in shown] == ["cat  =", "dog  ✗", "dog", "cat", "cat  ✗"]
    widths = [axes.spines["left"].get_linewidth() for axes in shown]
    assert widths == [2.5, 3.0, 0.5, 0.5, 3.0]


def test_twins_are_the_two_closest_in_accuracy_and_differ_most(make, draw):
    apart = np.array([[0, 3, 1, 2], [3, 0, 4, 9], [1, 4, 0, 5], [2, 9, 5, 0]]) / 10
    assert closest(np.array([7, 9, 7, 7]), apart) == (2, 3)
    data = make("training", 1).isel(shown=slice(5))
    data["logits"][0] = np.eye(data.sizes["class"])[np.zeros((4, data.sizes["example"]), int)]
    data["label"][:] = 0
    data["disagreement"][0] = apart
    same = draw("pictures.twins", data)
    assert not [axes for axes in same.axes if axes.images]
    data["logits"][0, 3, [1, 4]] = [0.0, 9.0, *[0.0] * (data.sizes["class"] - 2)]
    data["logits"][0, 2, [0, 2]] = [0.0, 9.0, *[0.0] * (data.sizes["class"] - 2)]
    data["logits"][0, :2, 0] = [0.0, 9.0, *[0.0] * (data.sizes["class"] - 2)]
    shown = [axes for axes in draw("pictures.twins", data).axes if axes.images]
    kept = data["picture_example"].values
    differ = [n for n in range(5) if kept[n] in (0, 1, 2, 4)]
    assert len(shown) == len(differ)
    for axes, n in zip(shown, differ, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), data["picture"][n])


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


def test_rungs_lie_at_their_numbers_and_the_best_of_each_origin_on_top(make, draw, said):
    data = make("ladder", 4, 3)
    data["num_parameters"] = "rung", [2, 6146, 9_999_999, 30_720_000, 1, 1, 1]
    data["rung_seconds"] = "rung", [0.0, 0.0312, 0.25, 12.34, 1234.5, np.nan, 1.0]
    figure = draw("ladder.ladder", data)
    names = [text.get_text().replace("\n", " ") for text in figure.axes[0].get_yticklabels()]
    wanted = [name.replace(":", " ", 1).replace(":", ", ") for name in data["rung"].values]
    data = data.isel(rung=[wanted.index(name) for name in names])
    axes, origins, rows = figure.axes[0], data["origin"].values, figure.axes[0].get_yticks()
    test = data["test_accuracy"].astype(float).mean("member").values
    for r, y in enumerate(rows):
        own = [line for line in axes.lines if np.isclose(line.get_ydata(), y).all()]
        marks = {line.get_markersize(): line for line in own if line.get_linestyle() == "None"}
        assert marks[5.4].get_xdata()[0] == pytest.approx(test[r])
        assert marks[4.2].get_xdata()[0] == pytest.approx(float(data["train_accuracy"][r].mean()))
        assert marks[5.4].get_marker() == {"p": "s", "e": "D", "l": "o"}[origins[r][0]]
        (interval,) = (line.get_xdata() for line in own if line.get_linewidth() == 2.0)
        np.testing.assert_allclose(interval, [data["test_low"][r], data["test_high"][r]])
    assert origins.tolist() == ["programmed", *["estimated"] * 2, *["learned"] * 4]
    assert np.diff(test[3:]).min() > 0
    assert np.diff(rows).min() > 0.15  # inches: no rung lies on another
    written = said(figure).split()
    for text in (f"{test[4]:.3f}", "6,146", "9,999,999", "30.7", "0.031", "0.25", "12.3", "1,234"):
        assert text in written, text
    assert written.count("–") == 1


def test_average_animals_are_the_averages_the_weights_and_the_right_share(make, draw, said):
    data = make("ladder", 3).isel(example=slice(8))
    data["projection"] = "example", [-1.0, -2.0, 3.0, 4.0, 0.0, -5.0, 9.0, np.nan]
    data["label"] = "example", [0, 0, 0, 1, 1, 1, 2, 1]
    figure = draw("ladder.average_animals", data)
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    means, weights = data["class_mean"].values, data["weights"].values
    np.testing.assert_allclose(shown[:2], means, rtol=1e-6)
    np.testing.assert_allclose(shown[2], normalised(means[1] - means[0]), rtol=1e-5)
    np.testing.assert_allclose(shown[3], normalised(weights[1, 1] - weights[1, 0]))  # lda alone
    assert len(shown) == 4
    assert f"largest: {np.abs(means[1] - means[0]).max():.2g}" in said(figure)
    assert f"right: {float(data['test_accuracy'][1].mean()):.3f}" in said(figure)
    assert "right: 0.500 of 6" in said(figure)


def test_curves_errors_and_gaps_are_drawn_where_they_belong(make, draw, said):
    data = make("curves")
    expected, train, test = (data[f"curve_{k}_error"].values for k in ("expected", "train", "test"))
    for n, axes in enumerate(draw("curves.curve_fits", data).axes):
        assert all(holds(axes, y) for y in data["curve_fit"].values[divmod(n, 3)])
    figure = draw("curves.curve_errors", data)
    left, right = figure.axes[:2]
    assert holds(left, expected[0, 0, 1, :, 2])
    assert holds(left, train[0, :2, 1].ravel())
    for d in range(2):
        assert holds(right, expected[0, 1, 1, d])
        assert holds(right, test[0, d].ravel())
    assert "0.01) included" in said(figure)
    axes = draw("curves.starts_meet", data).axes[0]
    for d in range(2):
        assert holds(axes, data["curve_gap"].values[0, d].max(axis=-1))
        assert holds(axes, [data["curve_gap_powers"].values[0, d].max()])


def test_every_part_of_every_sweep_is_drawn(make, draw):
    data = make("curves")
    data["diverged_step"][0, 0, 0] = 3
    columns = ([1, 0, 4], [1, 2], [3, 1])  # networks of each sweep, rising
    data["width"][0], data["width"][4] = 16, 64
    figure = draw("bias_variance.bias_variance", data)
    alive = data["test_accuracy"].where(data["diverged_step"] < 0)
    for c, rows in enumerate(columns):
        for row, part in np.ndindex(2, 4):
            assert holds(figure.axes[3 * row + c], data["error_part"].values[rows, row, part, 0])
        assert holds(figure.axes[6 + c], alive[rows].mean(["training_set", "member"]))


def test_curves_over_layers_are_the_medians_of_the_living_members(make, draw):
    data = make("layers", 3, 5)
    for name in ("probe_accuracy", "head_accuracy", "ridge_accuracy"):
        data[name][:, 1, -1] = np.nan
    median = data.median("member")
    for p, axes in enumerate(draw("layers.class_by_layer", data).axes):
        count, one = int(data["num_layers"][p]), median.isel(model=p)
        names = [label.get_text() for label in axes.get_xticklabels()]
        assert names == [*["input", "stage1", "stage2", "logits"][:count], "own answer"]
        for when, (hue, line) in enumerate(((style.GREY, "--"), (style.colour(0), "-"))):
            (bold,) = lines(axes, color=hue, linestyle=line, linewidth=2.0)
            np.testing.assert_array_equal(bold.get_ydata(), one["probe_accuracy"][when, :count])
        (square,), (diamond,) = lines(axes, marker="s", linestyle="None"), lines(axes, marker="D")
        assert square.get_xydata().tolist() == [[count - 2, float(one["ridge_accuracy"][1])]]
        assert diamond.get_xydata().tolist() == [[count, float(one["head_accuracy"][1])]]
    for p, axes in enumerate(draw("layers.neighbours_by_layer", data).axes):
        assert holds(axes, median["neighbour_accuracy"][p, 1, : int(data["num_layers"][p])])


def test_the_maps_of_layers_are_the_numbers(make, draw):
    data = make("layers", 3)
    grid = np.array(draw("layers.factors_by_layer", data).axes).reshape(2, 4)
    labels = [text.get_text() for text in grid[0, 0].get_yticklabels()]
    heads = ["cues of the class", "pose", "light"]
    assert labels == [
        x
        for pair in zip(heads, ["ear hang", "head x", "light angle (cos)"], strict=True)
        for x in pair
    ]
    for when, p in np.ndindex(2, 3):
        count = int(data["num_layers"][p])
        shown = data["factor_r2"].median("member")[p, when, :count].T[[1, 0, 2]]
        texts = [text.get_text() for text in grid[when, p + 1].texts]
        assert texts == [f"{100 * value:.0f}" for value in shown.values.ravel()]
        np.testing.assert_allclose(grid[when, p + 1].images[0].get_array()[1::2], shown)
    figure = draw("layers.alignment", data)
    assert len(figure.axes) == 2 * 3 + 1  # nothing is drawn where nothing is known
    for (r, row), p in ((pair, p) for pair in enumerate((0, 2)) for p in range(3)):
        count = int(data["num_layers"][p])
        image = figure.axes[3 * r + p].images[0].get_array()
        np.testing.assert_allclose(image, data["alignment"][row, p, :count, :count])


def test_the_plane_has_every_word_and_its_colour_and_no_label_covers_another(make, draw, said):
    data = make("words")
    data["diverged_step"][-1, 0], data["word_plane"][0, 0] = 3, np.nan
    points = np.linspace(0.0, 0.1, 26).reshape(13, 2)
    points[-1] = 1.5
    data["word_plane"][0, 1] = points
    figure = draw("words.embeddings", data)
    assert "members 1, 2, 3 (of 4 members) of mlp" in said(figure)
    for axes, wanted in zip(figure.axes, data["word_plane"].values[0, 1:], strict=True):
        drawn = np.concatenate([line.get_xydata() for line in axes.lines])
        np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(wanted, axis=0))
        (cats,) = lines(axes, color=style.colour(0))
        np.testing.assert_allclose(cats.get_xydata(), wanted[:2])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in figure.axes[0].texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_the_table_of_neighbours_has_the_nearest_first(make, draw, said):
    data = make("words")
    data["nearest_word"][0, 1, :, 0] = [1, 2]
    data["neighbour_overlap"][0, 1] = 0.25
    figure = draw("words.neighbours", data)
    assert "cat tabbies dog tabbies dog tabbies dog tabbies" in said(figure)
    assert "Two members have 0.25 of a word's neighbours" in said(figure)
    hues = {text.get_color() for text in figure.axes[0].texts if text.get_text() == "dog"}
    assert style.ink(style.colour(1)) in hues


def test_probes_and_constructions_of_words_hold_the_numbers(make, draw):
    data = make("words", 3)
    for p, axes in enumerate(draw("words.probes", data).axes):
        dots = [line.get_xdata()[0] for line in lines(axes, marker="o")]
        assert dots == data["probe_accuracy"].median("probed")[..., p].values.ravel().tolist()
    values = data["accuracy_by_construction"].copy(data=np.full((3, 4, 2), 0.5))
    values[1, :, 0] = [0.6, 0.7, 0.8, 0.9]
    values[2] = 1.0
    values[2, 1:] = values[0, :, 1] = np.nan
    data["accuracy_by_construction"], data["accuracy_by_modifiers"][:] = values, 0.0
    cells = {text.get_text() for text in draw("words.constructions", data).axes[0].texts}
    assert cells == {"0.50", "–", "0.75\n0.60 to 0.90", "1.00", "0.00"}


def test_maps_lie_beside_their_picture_and_keep_their_sign(make, draw):
    data = make("attribution", 1, 1)
    data["occlusion"] *= np.nan
    # A picture, saliency, integrated gradients, and occlusion on a pale ground; six of each.
    images = draw("attribution.maps", data).axes[0].images
    picture, saliency, parts, ground, covered = images[::6]
    for tile in (saliency, parts, ground, covered):
        assert tile.get_extent()[0] >= picture.get_extent()[1]
    assert np.subtract(*covered.get_extent()[1::-1]) == pytest.approx(1 - 1 / 5)
    assert np.abs(parts.get_array()).max() == 1.0
    assert parts.get_clim() == (-1, 1)
    assert (covered.get_array() == 0).all()
    lightness = FOR_AND_AGAINST(np.linspace(0, 1, 21))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()


def test_maximising_inputs_have_their_scores(make, draw, said):
    data = make("attribution", 3)
    data["maximising_score"][:] = 12.34
    figure = draw("attribution.maximising_inputs", data)
    assert said(figure).count("+12.3") == 3 * 2 * 4
    shown, wanted = figure.axes[1].images[4].get_array(), data["maximising_input"][1, 0, 1]
    np.testing.assert_array_equal(shown, wanted)


def test_agreement_leaves_out_members_with_themselves(make, draw):
    data = make("attribution", 3, 6)
    data["agreement"][0, 2, :, 1] = np.nan  # nothing to compare in one row
    data["agreement"].values[..., np.arange(6), np.arange(6)] = 50.0
    for axes in draw("attribution.map_agreement", data).axes:
        assert max(np.max(line.get_xdata(), initial=0.0) for line in axes.lines) <= 1.0


def test_every_ratio_is_a_bar_that_starts_at_one(make, draw, said):
    data = make("throughput")
    data["ratio"][:] = [[4.0, 0.6, np.nan], [70.0, np.nan, np.nan]]
    data["share"][:] = [0.4, 0.72]
    figure = draw("throughput.throughput", data)
    for text in ("70×", "0.60×", "40 to 72 % of a matrix product's speed", "hopelessly slow"):
        assert text in said(figure)
    assert "scikit-learn" not in said(figure)
    bars = figure.axes[0].patches
    assert [bar.get_x() + bar.get_width() for bar in bars] == pytest.approx([4.0, 0.6, 70.0])
    assert {bar.get_x() for bar in bars} == {1}
    assert [bar.get_hatch() for bar in bars] == ["////", None, "////"]
    figure = draw("throughput.throughput", data.assign(share=data["share"] * np.nan))
    assert "% of a matrix product's speed" not in said(figure)
