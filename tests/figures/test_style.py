"""The look: text that fits, a caption that is there, settings left as they were."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from catdog_jax.figures import style


def test_wrapped_lines_fit_and_lose_no_word():
    text = "every member thin, the median and the interquartile range bold " * 5
    lines = style.wrap(text, 3.0)
    assert " ".join(lines) == text.strip()
    assert max(style.text_width(line) for line in lines) <= 3.0
    assert len(lines) > 5


def test_a_word_longer_than_a_line_is_broken_at_a_joint():
    word = "--models=linear,mlp:width=256:depth=3,cnn:widths=32-64-128"
    lines = style.wrap(word, 1.5)
    assert "".join(lines) == word
    assert all(line[-1] in ".-_/=,:" for line in lines[:-1])
    assert "".join(style.wrap("x" * 200, 0.5)) == "x" * 200


@pytest.mark.parametrize("dpi", [50, 72, 100, 200])
def test_the_width_of_text_is_not_less_than_that_drawn(dpi):
    figure = Figure(dpi=dpi)
    for text in (
        "caption " * 10,
        "Learning curves of every member",
        "WWW $TFDS_DATA_DIR",
        "√2 ≤ ½",
    ):
        with style.look():
            drawn = figure.text(0, 0, text.strip(), size=style.SIZE)
        width = drawn.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width / dpi
        assert width <= style.text_width(text) + 1.5 / dpi
        assert width >= 0.75 * style.text_width(text)


def test_an_entry_is_written_as_name_and_settings():
    assert style.entry_title("mlp:width=256:depth=3", 3.0) == "mlp\nwidth=256, depth=3"
    assert style.entry_title("linear", 3.0) == "linear"
    long = style.entry_title("mlp:" + ":".join(f"setting{i}={i}" for i in range(20)), 1.0)
    assert long.count("\n") == 3
    assert long.endswith("…")


def test_settings_are_left_as_they_were():
    with matplotlib.rc_context({"font.size": 31.0, "axes.facecolor": "black"}):
        before = dict(matplotlib.rcParams)
        with style.look():
            assert matplotlib.rcParams["font.size"] == style.SIZE
            assert matplotlib.rcParams["axes.facecolor"] == "white"
        assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("count", [1, 2, 4, 5, 6, 9])
def test_panels_hold_every_model(count):
    figure, axes = style.panels(count, width=2.0, height=2.0)
    assert len(axes) == len(figure.axes) == count
    assert style.num_columns(count) <= 4


def test_finish_makes_room_for_all_its_text():
    figure, _ = style.panels(1, width=3.0, height=2.0)
    before = figure.get_size_inches()
    style.finish(figure, "Title", "caption " * 60, "python -m x $A $B", [Line2D([], [], label="a")])
    assert figure.get_size_inches()[1] > before[1] + 1.0
    figure.savefig(io.BytesIO(), dpi=figure.dpi)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    boxes.append(figure.legends[0].get_window_extent(renderer))
    boxes.append(figure.axes[0].get_tightbbox(renderer))
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])
    assert figure.texts[-1].get_text() == "python -m x $A $B"


def test_members_are_counted_in_words():
    assert [style.members(n) for n in (1, 2, 1000)] == ["1 member", "2 members", "1,000 members"]
    assert np.all(np.diff([style.thin(n) for n in (1, 32, 200, 1000)]) < 0)
