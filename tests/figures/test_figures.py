"""Every figure is drawn in every size, says what it is, and holds the numbers it was given."""

import importlib
import io
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from catdog_jax import __version__
from catdog_jax.figures.style import drawable
from experiments import init_convergence

KINDS = {  # experiment -> kind of run
    "curve_fitting": "curves",
    "bias_variance": "curves",
    "ladder": "ladder",
    "layers": "layers",
    "words": "words",
    "attribution": "attribution",
    "init_convergence": "training",
    "compare": "comparison",
    "seed_variance": "seeds",
    "ensembles": "ensembles",
    "connectivity": "connectivity",
    "sweep": "sweep",
}
FIGURES = {"throughput.throughput": "throughput"}
for name, kind in KINDS.items():
    module = importlib.import_module(f"experiments.{name}")
    FIGURES |= dict.fromkeys(module.FIGURES.values(), kind)
OF_ALL_MODELS = ("training", "layers")
OF_PAIRS = ("training.disagreement", "training.weight_distance", "pictures.twins",
            "attribution.map_agreement", "ensembles.alternatives", "connectivity.pairs",
            "connectivity.profile", "connectivity.by_size", "connectivity.pictures",
            "sweep.maps")  # fmt: skip
ROOT = Path(__file__).parents[2]
DOCS, EMBEDDED = ROOT / "docs", sorted((ROOT / "notebooks" / "figures").glob("*.png"))
LONG = [path for path in EMBEDDED if path.stem not in init_convergence.FIGURES]
PAGE = 830  # pixels, width at which a picture is read


def contrast(one, other):
    """The contrast ratio of two colours (W3C 2023, WCAG 2.2), 1 to 21."""
    rgb = np.array([one, other])[:, :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    dark, light = np.sort(linear @ [0.2126, 0.7152, 0.0722])
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture
def written(monkeypatch):
    """The texts that are drawn from here on."""
    found, draw = [], Text.draw

    def noted(text, *args, **settings):
        if text.get_visible() and text.get_text().strip():
            found.append(text)
        draw(text, *args, **settings)

    monkeypatch.setattr(Text, "draw", noted)
    return found


@pytest.mark.parametrize("size", [(1, 1), (6, 12)], ids=str)
@pytest.mark.parametrize("path", FIGURES)
def test_every_figure_of_every_size_can_be_read(path, size, make, draw, said, written):
    data = make(FIGURES[path], *size)
    with matplotlib.rc_context({"font.size": 31.0, "axes.facecolor": "black"}):
        before = dict(matplotlib.rcParams)
        figure = draw(path, data)
        if path in OF_PAIRS and size == (1, 1):
            assert figure is None
            return
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        assert dict(matplotlib.rcParams) == before
    renderer = canvas.get_renderer()
    title, caption, command = (text.get_text() for text in figure.texts)
    assert title
    assert "$\\math" not in said(figure)
    assert len(caption) > 50
    assert "".join(command.split()) == "".join(data.attrs["command"].split())
    assert any(axes.get_xlabel() or axes.get_ylabel() or axes.texts for axes in figure.axes)
    if path.split(".")[0] in OF_ALL_MODELS:
        assert all(model.split(":")[0][:6] in said(figure) for model in data["model"].values)
    pixels = np.flipud(np.asarray(canvas.buffer_rgba()))
    for text in written:
        assert text.get_size() / 72 * PAGE / figure.get_figwidth() >= 9, text
        box = text.get_window_extent(renderer).extents.clip(0).astype(int)
        around = pixels[box[1] : box[3], box[0] : box[2]].reshape(-1, 4)
        colours, counts = np.unique(around, axis=0, return_counts=True)
        assert contrast(to_rgba(text.get_color()), colours[counts.argmax()] / 255) >= 4.5, text
    keys = {text for legend in figure.legends for text in legend.get_texts()}
    level = [x for x in written if x.get_rotation() in (0, 90) and x not in keys]
    boxes = [x.get_window_extent(renderer).padded(-0.5) for x in (*level, *figure.legends)]
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])
    whole, canvas = Figure.get_tightbbox(figure, renderer), figure.bbox_inches
    assert whole.x0 >= 0
    assert whole.y0 >= 0
    assert whole.x1 <= canvas.x1
    assert whole.y1 <= canvas.y1


def sentences(text):
    """The sentences of a text, without their numbers."""
    return set(re.split(r"(?<=\.) ", re.sub(r"\d[\d.,]*", "#", " ".join(text.split()))))


@pytest.mark.parametrize("path", LONG, ids=lambda path: path.stem)
def test_a_picture_of_a_long_run_is_of_this_version_and_has_its_caption(path, make, draw):
    with Image.open(path) as image:
        info = image.info
    if info["Software"] != f"catdog_jax {__version__}":  # then its page says so below it
        pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
        assert re.search(rf"(?s)/{path.name}\).{{0,250}}earlier version", pages)
        return
    name = re.sub("^(cifar10|connectivity|seed|sweep|word)_", "", path.stem)
    figure = next(figure for figure in FIGURES if figure.endswith(f".{name}"))
    data = make(FIGURES[figure]).assign_coords({"class": ["cat", "dog"]})
    title, caption, _ = (" ".join(text.get_text().split()) for text in draw(figure, data).texts)
    assert info["Title"] == title
    own = {f"Run: {data.attrs['run']} ({data.attrs['dataset']}).", data.attrs["note"]}
    assert sentences(caption) - own <= sentences(info["Description"])


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
