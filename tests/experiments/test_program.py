"""Weights written down by hand make no difference: the program says what the model says."""

import ast
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.models.activations import ACTIVATIONS
from catdog_jax.models.build import build_model
from catdog_jax.models.linear import LinearParams
from catdog_jax.train import normaliser
from catdog_jax.types import InputError
from experiments.shared.program import (
    MOST_WEIGHTS,
    check_program_path,
    program_text,
    write_program,
)

SHAPE = (6, 5, 3)
MEAN, STD = (0.49, 0.45, 0.41), (0.25, 0.24, 0.26)
NAMES = ("cat", "dog", "fröhlicher 'Wolf' \\n\"")
COMMAND = r"python -m experiments.ladder --data_dir=C:\users\me --write_program=a.py " * 3

# Imports beside numpy and the standard library fail, as on a machine that has nothing else.
ALONE = """
import sys, runpy
class Nothing:
    def find_spec(name, path, target=None):
        if name.split(".")[0] not in sys.stdlib_module_names | {"numpy"}:
            raise ImportError("there is no " + name)
sys.meta_path.insert(0, Nothing)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def trained(entry, num_classes=2, shape=SHAPE):
    """Params with numbers of every size, biases included, as after training."""
    model = build_model(entry, shape, num_classes)
    leaves, form = jax.tree.flatten(model.init(jax.random.key(0)))
    rng = np.random.default_rng(1)
    grown = [2 * leaf + rng.normal(size=leaf.shape).astype(np.float32) * 0.1 for leaf in leaves]
    return model, jax.tree.unflatten(form, grown)


def text_of(params, entry, names=NAMES[:2], shape=SHAPE, mean=MEAN, std=STD, **others):
    facts = {"title": f'{entry}, "the best" """ of 8 \\', "command": COMMAND, **others}
    return program_text(
        params, entry=entry, input_shape=shape, class_names=names, mean=mean, std=std, **facts
    )


def functions_of(text):
    """The program, imported."""
    space = {"__name__": "written"}
    exec(compile(text, "written.py", "exec"), space)
    return space


def pictures(num=40, shape=SHAPE):
    return np.random.default_rng(2).integers(0, 256, (num, *shape), dtype=np.uint8)


def alone(path, *arguments):
    command = [sys.executable, "-I", "-c", ALONE, str(path), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


ENTRIES = ["linear", "mlp:depth=1:width=7", "mlp:depth=3:width=9"]
CASES = [
    *((entry, classes, normal) for entry in ENTRIES for classes, normal in ((2, True), (3, False))),
    *((f"mlp:width=8:activation={name}", 2, True) for name in sorted(ACTIVATIONS)),
]


@pytest.mark.parametrize(("entry", "num_classes", "normalised"), CASES)
def test_the_logits_are_those_of_the_model(entry, num_classes, normalised):
    model, params = trained(entry, num_classes)
    mean, std = (MEAN, STD) if normalised else (None, None)
    written = functions_of(text_of(params, entry, NAMES[:num_classes], mean=mean, std=std))
    images = pictures()
    inputs = normaliser(*((MEAN, STD) if normalised else ((0.0,) * 3, (1.0,) * 3)))(
        jnp.asarray(images)
    )
    expected = np.asarray(model.apply(params, inputs))
    found = written["logits"](images)
    assert found.shape == (40, num_classes)
    # The program adds in double precision, the model in single: ε = 6e-8 for each of 90 terms.
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
    assert written["WEIGHTS"].dtype == written["BIAS"].dtype == np.float32
    assert written["WEIGHTS"].T.tobytes() == weights.tobytes()
    assert written["BIAS"].tobytes() == bias.tobytes()
    assert written["CLASSES"] == NAMES


def test_alone_with_numpy_it_prints_a_row_for_each_picture(tmp_path):
    entry = "mlp:depth=2:width=8:activation=gelu"
    model, params = trained(entry, 3)
    path = write_program(tmp_path / "program.py", text_of(params, entry, NAMES))
    images = pictures(300)
    np.save(tmp_path / "images.npy", images)
    done = alone(path, tmp_path / "images.npy")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    expected = np.asarray(model.apply(params, normaliser(MEAN, STD)(jnp.asarray(images))))
    found = np.array([row[1:] for row in rows], float)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert [row[0] for row in rows] == [NAMES[k] for k in expected.argmax(1)]
    assert len({row[0] for row in rows}) > 1


def test_what_it_cannot_read_is_one_line_and_status_2(tmp_path):
    path = write_program(tmp_path / "program.py", text_of(trained("linear")[1], "linear"))
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "words.npy").write_text("these are words")
    (tmp_path / "zip.npy").write_bytes(b"PK\x03\x04 and then nothing")
    (tmp_path / "folder.npy").mkdir()
    np.save(tmp_path / "whole.npy", pictures(9))
    whole = (tmp_path / "whole.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:300])
    (tmp_path / "vast.npy").write_bytes(whole.replace(b"(9, 6, 5, 3), }", b"(9999999999999)}"))
    np.save(tmp_path / "float.npy", pictures(2).astype(np.float32))
    np.save(tmp_path / "flat.npy", pictures(2)[0])
    np.save(tmp_path / "large.npy", pictures(2, (6, 6, 3)))
    np.save(tmp_path / "objects.npy", np.array([None, "x"]), allow_pickle=True)
    np.savez(tmp_path / "many.npz", pictures(2))
    reasons = {
        "missing.npy": "No such file",
        "folder.npy": "Is a directory",
        "empty.npy": "EOF",
        "words.npy": "magic string",
        "zip.npy": "magic string",
        "cut.npy": "",
        "vast.npy": "",
        "float.npy": "give uint8 [N, 6, 5, 3], not float32 [2, 6, 5, 3]",
        "flat.npy": "give uint8 [N, 6, 5, 3], not uint8 [6, 5, 3]",
        "large.npy": "give uint8 [N, 6, 5, 3], not uint8 [2, 6, 6, 3]",
        "objects.npy": "allow_pickle",
        "many.npz": "magic string",
    }
    # All in one process, for the time that each would take to start.
    script = tmp_path / "all.py"
    script.write_text(
        f"import runpy, sys\nmain = runpy.run_path({str(path)!r})['main']\n"
        "for name in sys.argv[1:]:\n    sys.argv = ['program.py', name]\n    print(main())\n"
        "sys.argv = ['program.py']\nprint(main())\n"
    )
    done = alone(script, *(tmp_path / name for name in reasons))
    assert done.stdout.split() == ["2"] * (len(reasons) + 1), done.stderr
    *lines, usage = done.stderr.splitlines()
    for line, (name, reason) in zip(lines, reasons.items(), strict=True):
        assert line.startswith(f"error: {tmp_path / name}: "), line
        assert reason in line
        assert len(line) > len(f"error: {tmp_path / name}: ")
    assert usage == "error: give one file: python THIS_FILE images.npy"
    assert alone(path, tmp_path / "missing.npy").returncode == 2


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_text_is_plain_and_always_the_same(entry, tmp_path):
    params = trained(entry, 3)[1]
    text = text_of(params, entry, NAMES)
    assert text == text_of(jax.tree.map(np.asarray, params), entry, NAMES)
    imported = {
        name.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert imported == {"numpy", "sys"}
    doc = ast.get_docstring(ast.parse(text))
    assert doc.startswith(f'{entry}, "the best" """ of 8 \\\n')
    assert f"Tells cat, dog and {NAMES[2]} apart." in " ".join(doc.split())
    comments = [line for line in text.splitlines() if line.startswith("#   ")]
    assert "".join(line[1:].strip().rstrip("\\") for line in comments) == COMMAND.strip()
    assert max(len(line) for line in text.splitlines()) <= 88
    path = write_program(tmp_path / "program.py", text)
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache"]
    ruff += ["--select=B,C4,E,F,I,SIM,UP,W", "--line-length=88", str(path)]
    done = subprocess.run(ruff, capture_output=True, text=True, check=False)
    if "No module named ruff" not in done.stderr:
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "entry", ["cnn:widths=4", "resnet:widths=4", "mlp:norm=layer:width=8", "my.own.model", "knn"]
)
def test_what_cannot_be_written_says_what_can(entry):
    params = {"hidden1": {"kernel": np.zeros((90, 2)), "bias": np.zeros(2)}, "norm1": {}}
    with pytest.raises(InputError, match=r"cannot be written .* linear .* mlp with norm=none"):
        text_of(params, entry)


def test_numbers_that_cannot_be_typed_in_are_refused():
    shape = (100, 100, 3)
    width = MOST_WEIGHTS // 30_000 + 1
    entry = f"mlp:depth=1:width={width}"
    params = {
        "hidden1": {"kernel": np.zeros((30_000, width), np.float32), "bias": np.zeros(width)},
        "head": {"kernel": np.zeros((width, 2), np.float32), "bias": np.zeros(2)},
    }
    with pytest.raises(InputError, match=r"2,010,203 weights, .* at most 2,000,000; give a small"):
        text_of(params, entry, shape=shape)
    lost = LinearParams(np.full((90, 2), np.nan, np.float32), np.zeros(2, np.float32))
    with pytest.raises(InputError, match="not finite"):
        text_of(lost, "linear")
    with pytest.raises(InputError, match="pictures only"):
        text_of(lost, "linear", shape=(90,))
    with pytest.raises(ValueError, match="read no 90"):
        text_of(LinearParams(np.zeros((91, 2)), np.zeros(2)), "linear")
    with pytest.raises(ValueError, match="2 logits for 3 classes"):
        text_of(LinearParams(np.zeros((90, 2)), np.zeros(2)), "linear", NAMES)


def test_a_file_of_other_content_is_never_replaced(tmp_path):
    path = tmp_path / "program.py"
    assert write_program(path, "first = 1\n") == path
    before = path.stat().st_mtime_ns
    assert write_program(str(path), "first = 1\n") == path
    with pytest.raises(InputError, match=r"program.py: this file exists and holds something else"):
        write_program(path, "second = 2\n")
    assert (path.read_text(), path.stat().st_mtime_ns) == ("first = 1\n", before)
    assert [file.name for file in tmp_path.iterdir()] == ["program.py"]


@pytest.mark.parametrize("place", ["", "folder", "new/", "none/program.py", "file/program.py"])
def test_a_place_where_no_program_fits_is_one_line(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for act in (check_program_path, lambda path: write_program(path, "first = 1\n")):
        with pytest.raises(InputError, match=f"^--write_program={place}") as caught:
            act(place)
        assert "\n" not in str(caught.value)
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_disk_that_refuses_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(InputError, match="cannot be written .No space left on device"):
        write_program(tmp_path / "program.py", "first = 1\n")
    assert list(tmp_path.iterdir()) == []
