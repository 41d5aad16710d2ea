"""Every figure is drawn in every size, says what it is, and holds the numbers it was given."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection

from catdog_jax.figures import style
from catdog_jax.figures.attribution import FOR_AND_AGAINST
from catdog_jax.figures.data_sheet import choose
from catdog_jax.figures.tiles import normalised


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 40)], ids=str)
def test_every_figure_of_every_size_can_be_read(name, size, made, draw, command):
    figure, data = made(name, *size, note="A note.")
    words = draw(figure)
    assert "".join(words.split()).count("".join(command.split())) == 1
    assert "A note." in words or name in ("curve_fits", "curve_errors", "starts_meet")
    title, caption, _ = (text.get_text() for text in figure.texts)
    assert title
    assert len(caption) > 100
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in (*figure.texts, *figure.legends)]
    for i, box in enumerate(boxes):
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])
    for model in data.get("models", ()):
        assert model.split(":")[0] in words
