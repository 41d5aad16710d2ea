"""The sheet: its rule of choice, its votes, its marks."""

import numpy as np
import pytest

from catdog_jax.figures.data_sheet import choose, data_sheet


def _sheet(votes, labels, names=("cat", "dog"), num_members=4, **settings):
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8, 3), dtype=np.uint8)
    figure = data_sheet(
        images,
        np.asarray(labels),
        np.asarray(votes, float),
        names,
        model="cnn",
        num_members=num_members,
        command="python -m x",
        **settings,
    )
    return figure, images


def test_votes_and_marks_are_written_under_the_right_picture(draw):
    votes = [[1, 0], [0.75, 0.25], [0.5, 0.5], [0, 1], [0.25, 0.75]]
    figure, images = _sheet(votes, [0, 1, 0, 0, 1])
    draw(figure)
    shown = [axes for axes in figure.axes if axes.images]
    order = [2, 1, 4, 0, 3]  # contested by their lead, then unanimous
    for axes, n in zip(shown, order, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[n])
    assert [axes.get_xlabel() for axes in shown] == [
        "cat 2 : 2 dog",
        "cat 3 : 1 dog",
        "cat 1 : 3 dog",
        "cat 4 : 0 dog",
        "cat 0 : 4 dog",
    ]
    titles = [axes.get_title() for axes in shown]
    assert titles == ["cat  =", "dog  ✗", "dog", "cat", "cat  ✗"]
    widths = [axes.spines["left"].get_linewidth() for axes in shown]
    assert widths[1] == widths[4] == 3.0
    bars = [[patch.get_width() for patch in axes.patches] for axes in shown]
    assert bars == [[0.5, 0.5], [0.75, 0.25], [0.25, 0.75], [1, 0], [0, 1]]


def test_the_caption_tells_numbers_rule_and_command(draw):
    figure, _ = _sheet([[1, 0], [0.75, 0.25]], [0, 1], note="A note.")
    words = draw(figure)
    for part in ("2 of 2 test pictures", "4 members of cnn", "first the 1 most contested"):
        assert part in words
    assert "A note." in words
    assert words.endswith("python -m x") or "python -m x" in words


@pytest.mark.parametrize(("num_members", "num_examples"), [(1, 50), (32, 3), (1000, 200), (32, 0)])
def test_every_size_is_drawn(num_members, num_examples, draw):
    rng = np.random.default_rng(0)
    counts = rng.multinomial(num_members, [0.2, 0.5, 0.3], size=num_examples)
    names = ("a class with a very long name", "line\nbreak", "$x$")
    figure, _ = _sheet(
        counts / num_members, rng.integers(0, 3, num_examples), names, num_members, count=16
    )
    words = draw(figure)
    assert f"{num_members:,} member" in words
    assert len([axes for axes in figure.axes if axes.images]) == min(16, num_examples)


def test_many_classes_show_the_two_that_lead(draw):
    figure, _ = _sheet([[0.25, 0, 0.5, 0.25]], [1], ("a", "b", "c", "d"))
    draw(figure)
    assert figure.axes[0].get_xlabel() == "c 2 : 1 a"
    assert figure.axes[0].get_title() == "b  ✗"


def test_half_is_contested_and_half_is_spread_evenly():
    share = np.ones(100)
    share[10:30] = np.linspace(0.99, 0.51, 20)
    chosen = choose(np.stack([share, 1 - share], axis=1), 8)
    np.testing.assert_array_equal(chosen[:4], [29, 28, 27, 26])
    np.testing.assert_array_equal(chosen[4:], [0, 40, 60, 80])


def test_where_one_kind_is_short_the_other_fills_up():
    unanimous = np.tile([1.0, 0.0], (10, 1))
    assert choose(unanimous, 4).size == 4
    contested = np.tile([0.6, 0.4], (10, 1))
    np.testing.assert_array_equal(choose(contested, 4), [0, 1, 2, 3])
    mixed = np.concatenate([unanimous, contested[:1]])
    np.testing.assert_array_equal(choose(mixed, 4)[:1], [10])
    assert sorted(choose(mixed, 99)) == list(range(11))
    assert choose(mixed, 0).size == 0
