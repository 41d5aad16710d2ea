"""Every figure is drawn in every size, says what it is, and holds the numbers it was given."""

import importlib
import io

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from catdog_jax.figures.style import drawable

KINDS = {  # experiment -> kind of run
    "curve_fitting": "curves",
    "bias_variance": "curves",
    "ladder": "ladder",
    "layers": "layers",
    "words": "words",
    "attribution": "attribution",
    "init_convergence": "training",
    "seed_variance": "seeds",
}
FIGURES = {"throughput.throughput": "throughput"}
for name, kind in KINDS.items():
    module = importlib.import_module(f"experiments.{name}")
    FIGURES |= dict.fromkeys(module.FIGURES.values(), kind)
OF_ALL_MODELS = ("training", "layers")


@pytest.mark.parametrize("size", [(1, 1), (6, 12)], ids=str)
@pytest.mark.parametrize("path", FIGURES)
def test_every_figure_of_every_size_can_be_read(path, size, make, draw, said):
    data = make(FIGURES[path], *size)
    with matplotlib.rc_context({"font.size": 31.0, "axes.facecolor": "black"}):
        before = dict(matplotlib.rcParams)
        figure = draw(path, data)
        if path in ("attribution.map_agreement", "pictures.twins") and size == (1, 1):
            assert figure is None
            return
        FigureCanvasAgg(figure).draw()
        assert dict(matplotlib.rcParams) == before
    renderer = FigureCanvasAgg(figure).get_renderer()
    title, caption, command = (text.get_text() for text in figure.texts)
    assert title
    assert "$\\math" not in said(figure)
    assert len(caption) > 50
    assert "".join(command.split()) == "".join(data.attrs["command"].split())
    assert any(axes.get_xlabel() or axes.get_ylabel() or axes.texts for axes in figure.axes)
    if path.split(".")[0] in OF_ALL_MODELS:
        assert all(model.split(":")[0][:6] in said(figure) for model in data["model"].values)
    boxes = [x.get_window_extent(renderer) for x in (*figure.texts, *figure.legends)]
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])
    whole, canvas = Figure.get_tightbbox(figure, renderer), figure.bbox_inches
    assert whole.x0 >= 0
    assert whole.y0 >= 0
    assert whole.x1 <= canvas.x1
    assert whole.y1 <= canvas.y1


def test_a_notebook_shows_a_figure_with_all_that_is_around_its_panels(make, draw):
    figure, sizes = draw("training.learning_curves", make("training")), []
    for crop in (None, "tight"):  # as a notebook does
        shown = io.BytesIO()
        FigureCanvasAgg(figure).print_figure(shown, format="png", dpi=60, bbox_inches=crop)
        sizes.append(Image.open(shown).size)
    np.testing.assert_allclose(sizes[0], sizes[1], atol=1)


@pytest.mark.parametrize(
    ("path", "gone", "told"),
    [
        ("training.learning_curves", (), ["8 diverged"]),
        ("training.final_accuracy", (), ["all diverged"]),
        ("training.disagreement", (), ["no pairs"]),
        ("training.trajectories", ("trajectory",), ["8 diverged"]),
        ("pictures.data_sheet", (), ["votes of 0 members"]),
        ("words.probes", ("probe_accuracy",), ["mixed"]),
        ("words.constructions", (), ["–"]),
    ],
)
def test_members_that_all_diverged_are_said_to(path, gone, told, make, draw, said):
    data = make(FIGURES[path])
    for name in gone:
        data[name] = data[name] * np.nan
    figure = draw(path, data.assign(diverged_step=data["diverged_step"] + 31))
    assert all(text in said(figure) for text in told)
    assert not {"random start", "end of training"} & {
        line.get_label() for axes in figure.axes for line in axes.lines
    }


def test_a_figure_without_anything_to_show_is_none(make, draw):
    plain, lost = make("training"), make("words")
    bare = plain.drop_vars(["picture", "first_layer_0", "first_layer_1"])
    lost["diverged_step"] += 31
    assert draw("words.neighbours", lost) is None
    lost["word_plane"] *= np.nan
    assert draw("words.embeddings", lost) is None
    for path in ("pictures.data_sheet", "pictures.first_layer", "words.probes"):
        assert draw(path, bare) is None
    assert draw("layers.factors_by_layer", make("layers").isel(factor=slice(0))) is None


def test_letters_that_the_font_lacks_are_code_points(make, draw, said):
    data = make("training")
    names = dict.fromkeys(data["class"].values, "猫") | {data["class"].values[-1]: "Kätzchen 🐱"}
    data = data.assign_coords({"class": ("class", np.array([*names.values()], object))})
    shown, lacking = drawable(data.assign_attrs(command="--classes=猫"))
    assert lacking == "猫🐱"
    assert shown["class"].values[0] == r"\u732b"
    assert shown["class"].values[-1] == r"Kätzchen \U0001f431"
    assert shown.attrs["command"] == r"--classes=\u732b"
