"""The look: text that fits, a caption that is there, settings left as they were."""

import pkgutil
import subprocess
import sys

import matplotlib

import catdog_jax.figures
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


def test_no_figure_needs_pyplot():
    names = [name for _, name, _ in pkgutil.iter_modules(catdog_jax.figures.__path__)]
    lines = [f"import catdog_jax.figures.{name}" for name in names]
    lines.append("import sys; sys.exit('matplotlib.pyplot' in sys.modules)")
    assert len(names) >= 8
    assert subprocess.run([sys.executable, "-c", "\n".join(lines)], check=False).returncode == 0
