"""Weights written down by hand make no difference: the program says what the model says."""

import ast
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.models.build import build_model
from catdog_jax.models.linear import LinearParams
from catdog_jax.models.parts import ACTIVATIONS
from catdog_jax.types import InputError
from experiments._program import MOST_WEIGHTS, check_writable, program_text, write_program

SHAPE = (6, 5, 3)
MEAN, STD = (0.49, 0.45, 0.41), (0.25, 0.24, 0.26)
NAMES = ("cat", "dog", "fröhlicher 'Wolf' \\n\"")
COMMAND = r"python -m experiments.ladder --data_dir=C:\users\me --write_program=a.py " * 3


def trained(model_text, num_classes=2):
    """Params with numbers of every size, biases included, as after training."""
    model = build_model(model_text, SHAPE, num_classes, mean=MEAN, std=STD)
    leaves, form = jax.tree.flatten(model.init(jax.random.key(0)))
    rng = np.random.default_rng(1)
    grown = [2 * leaf + rng.normal(size=leaf.shape).astype(np.float32) * 0.1 for leaf in leaves]
    return model, jax.tree.unflatten(form, grown)


def text_of(params, model, names=NAMES[:2]):
    told = {"class_names": names, "mean": MEAN, "std": STD, "command": COMMAND}
    return program_text(params, model, check_writable("p.py", model), shape=SHAPE, **told)


def functions_of(text):
    """The program, imported."""
    space = {"__name__": "written"}
    exec(compile(text, "written.py", "exec"), space)
    return space


def pictures(num=40):
    return np.random.default_rng(2).integers(0, 256, (num, *SHAPE), dtype=np.uint8)


@pytest.mark.parametrize(
    ("model_text", "num_classes"),
    [
        *(("linear", 2), ("linear", 3), ("mlp:depth=1:width=7", 3), ("mlp:depth=3:width=9", 2)),
        *((f"mlp:width=8:activation={name}", 2) for name in sorted(ACTIVATIONS)),
    ],
)
def test_the_logits_are_those_of_the_model(model_text, num_classes):
    model, params = trained(model_text, num_classes)
    written = functions_of(text_of(params, model_text, NAMES[:num_classes]))
    images = pictures()
    expected = np.asarray(model.apply(params, jnp.asarray(images)))
    # The program adds in double precision, the model in single: ε = 6e-8 for each of 90 terms.
    found = written["logits"](images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    spread = np.ptp(expected, axis=0).min()
    assert spread > 1e-3 * np.abs(expected).max()  # it is no constant that is compared
    assert written["logits"](images[:0]).shape == (0, num_classes)


def test_every_number_is_read_back_exactly():
    rng = np.random.default_rng(0)
    wild = np.exp(rng.uniform(-80, 80, size=(90, 3))) * rng.choice([-1, 1], (90, 3))
    wild[:4, 0] = 1e-45, 3.4028235e38, -0.0, 0.1
    weights = wild.astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    written = functions_of(text_of(LinearParams(weights, bias), "logistic", NAMES))
    ((typed, added),) = written["LAYERS"]
    assert typed.dtype == added.dtype == np.float32
    assert typed.T.tobytes() == weights.tobytes()
    assert added.tobytes() == bias.tobytes()
    assert written["CLASSES"] == NAMES


def test_with_numpy_alone_it_prints_a_row_for_each_picture_or_one_line(tmp_path):
    model_text = "mlp:depth=2:width=8:activation=gelu"
    model, params = trained(model_text, 3)
    path = tmp_path / "program.py"
    write_program(path, text_of(params, model_text, NAMES))
    imported = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import)]
    assert [name.name for node in imported for name in node.names] == ["sys", "numpy"]
    assert functions_of(path.read_text())["FOUND_BY"] == COMMAND
    images = pictures()
    for name, array in {"images": images, "floats": images / 255}.items():
        np.save(tmp_path / f"{name}.npy", array)
    done, refused = (
        subprocess.run(
            [sys.executable, "-I", str(path), str(tmp_path / f"{name}.npy")],
            capture_output=True, text=True, encoding="utf-8", check=False,
        )
        for name in ("images", "floats")
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    expected = np.asarray(model.apply(params, jnp.asarray(images)))
    found = np.array([row[1:] for row in rows], float)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert [row[0] for row in rows] == [NAMES[k] for k in expected.argmax(1)]
    assert len({row[0] for row in rows}) > 1
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: give uint8 [N, *(6, 5, 3)], not float64")


@pytest.mark.parametrize("model", ["cnn:widths=4", "mlp:norm=layer:width=8", "my.own.model"])
def test_what_cannot_be_written_says_what_can(model):
    with pytest.raises(InputError, match=r"cannot be written .* linear .* mlp with norm=none"):
        check_writable("p.py", model)


def test_numbers_that_cannot_be_typed_in_are_one_line():
    many = LinearParams(np.zeros((MOST_WEIGHTS // 2, 2)), np.zeros(2))
    with pytest.raises(InputError, match=r"2,000,002 weights, which .* at most 2,000,000"):
        text_of(many, "linear")
    with pytest.raises(InputError, match="some not finite"):
        text_of(LinearParams(np.full((90, 2), np.nan), np.zeros(2)), "linear")


def test_a_file_of_other_content_is_never_replaced(tmp_path):
    path = tmp_path / "program.py"
    for _ in range(2):
        write_program(path, "first = 1\n")
    with pytest.raises(InputError, match=r"program.py: this file exists and holds something else"):
        write_program(path, "second = 2\n")
    assert path.read_text() == "first = 1\n"


def test_a_disk_that_is_full_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="cannot be written .No space left on device"):
        write_program(tmp_path / "program.py", "first = 1\n")
    assert list(tmp_path.iterdir()) == []
