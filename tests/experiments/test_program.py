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
    program_text,
    write_program,
)

SHAPE = (6, 5, 3)
MEAN, STD = (0.49, 0.45, 0.41), (0.25, 0.24, 0.26)
NAMES = ("cat", "dog", "fröhlicher 'Wolf' \\n\"")
COMMAND = r"python -m experiments.ladder --data_dir=C:\users\me --write_program=a.py " * 3

# Imports beside numpy and the standard library fail, as on a machine that has nothing else; what
# follows the program are files to read, all in one process.
ALONE = """
import sys, runpy
class Nothing:
    def find_spec(name, path, target=None):
        if name.split(".")[0] not in sys.stdlib_module_names | {"numpy"}:
            raise ImportError("there is no " + name)
sys.meta_path.insert(0, Nothing)
program, *files = sys.argv[1:]
main = runpy.run_path(program)["main"]
for file in files:
    sys.argv = [program, file]
    print(main())
"""


def trained(model_text, num_classes=2):
    """Params with numbers of every size, biases included, as after training."""
    model = build_model(model_text, SHAPE, num_classes)
    leaves, form = jax.tree.flatten(model.init(jax.random.key(0)))
    rng = np.random.default_rng(1)
    grown = [2 * leaf + rng.normal(size=leaf.shape).astype(np.float32) * 0.1 for leaf in leaves]
    return model, jax.tree.unflatten(form, grown)


def text_of(params, model, names=NAMES[:2]):
    return program_text(
        params, model=model, input_shape=SHAPE, class_names=names, mean=MEAN, std=STD,
        title=f'{model}, "the best" """\nof 8 \\', command=COMMAND,
    )  # fmt: skip


def functions_of(text):
    """The program, imported."""
    space = {"__name__": "written"}
    exec(compile(text, "written.py", "exec"), space)
    return space


def pictures(num=40):
    return np.random.default_rng(2).integers(0, 256, (num, *SHAPE), dtype=np.uint8)


def alone(path, *files):
    command = [sys.executable, "-I", "-c", ALONE, str(path), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


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
    expected = np.asarray(model.apply(params, normaliser(MEAN, STD)(jnp.asarray(images))))
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


def test_alone_with_numpy_it_prints_a_row_for_each_picture_or_one_line(tmp_path):
    model_text = "mlp:depth=2:width=8:activation=gelu"
    model, params = trained(model_text, 3)
    path = write_program(str(tmp_path / "program.py"), text_of(params, model_text, NAMES))
    images = pictures(300)
    np.save(tmp_path / "images.npy", images)
    done = alone(path, tmp_path / "images.npy")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows.pop() == ["0"]
    expected = np.asarray(model.apply(params, normaliser(MEAN, STD)(jnp.asarray(images))))
    found = np.array([row[1:] for row in rows], float)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert [row[0] for row in rows] == [NAMES[k] for k in expected.argmax(1)]
    assert len({row[0] for row in rows}) > 1

    (tmp_path / "words.npy").write_text("these are words")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "images.npy").read_bytes()[:300])
    np.save(tmp_path / "float.npy", pictures(2).astype(np.float32))
    np.save(tmp_path / "flat.npy", pictures(2)[0])
    reasons = {
        "missing.npy": "No such file",
        "words.npy": "magic string",
        "cut.npy": "",
        "float.npy": "give uint8 [N, 6, 5, 3], not float32 [2, 6, 5, 3]",
        "flat.npy": "give uint8 [N, 6, 5, 3], not uint8 [6, 5, 3]",
    }
    done = alone(path, *(tmp_path / name for name in reasons))
    assert done.stdout.split() == ["2"] * len(reasons)
    for line, (name, reason) in zip(done.stderr.splitlines(), reasons.items(), strict=True):
        assert line.startswith(f"error: {tmp_path / name}: ")
        assert reason in line


def test_the_text_names_what_it_is_and_imports_numpy_alone():
    params = trained("mlp:width=4", 3)[1]
    text = text_of(params, "mlp:width=4", NAMES)
    assert text == text_of(jax.tree.map(np.asarray, params), "mlp:width=4", NAMES)
    nodes = list(ast.walk(ast.parse(text)))
    imported = [name.name for node in nodes if isinstance(node, ast.Import) for name in node.names]
    assert imported == ["sys", "numpy"]
    assert not any(isinstance(node, ast.ImportFrom) for node in nodes)
    assert '\n# mlp:width=4, "the best" """ of 8 \\\n' in text
    comments = [line for line in text.splitlines() if line.startswith("#   ")]
    assert "".join(line[1:].strip().rstrip("\\") for line in comments) == COMMAND.strip()


@pytest.mark.parametrize("model", ["cnn:widths=4", "mlp:norm=layer:width=8", "my.own.model"])
def test_what_cannot_be_written_says_what_can(model):
    with pytest.raises(InputError, match=r"cannot be written .* linear .* mlp with norm=none"):
        text_of({}, model)


def test_numbers_that_cannot_be_typed_in_are_one_line():
    many = LinearParams(np.zeros((MOST_WEIGHTS // 2, 2)), np.zeros(2))
    with pytest.raises(InputError, match=r"2,000,002 weights, .* at most 2,000,000; give a small"):
        text_of(many, "linear")
    with pytest.raises(InputError, match="not finite"):
        text_of(LinearParams(np.full((90, 2), np.nan), np.zeros(2)), "linear")


def test_a_file_of_other_content_is_never_replaced(tmp_path):
    path = tmp_path / "program.py"
    assert write_program(str(path), "first = 1\n") == path
    before = path.stat().st_mtime_ns
    assert write_program(str(path), "first = 1\n") == path
    with pytest.raises(InputError, match=r"program.py: this file exists and holds something else"):
        write_program(str(path), "second = 2\n")
    assert (path.read_text(), path.stat().st_mtime_ns) == ("first = 1\n", before)


def test_a_disk_that_is_full_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="cannot be written .No space left on device"):
        write_program(str(tmp_path / "program.py"), "first = 1\n")
    assert list(tmp_path.iterdir()) == []
