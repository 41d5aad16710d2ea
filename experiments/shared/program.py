"""Writes a rung of a finished ladder down by hand: a program with the numbers typed in.

The program imports numpy only. Nothing of this project, and nothing that learned, is left in it.
"""

import inspect
import math
import os
import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from catdog_jax import Dataset, InputError, build_model, normaliser, registry
from catdog_jax.models.linear import LinearParams
from catdog_jax.models.mlp import mlp
from catdog_jax.store import Run
from catdog_jax.store.atomic import replacing

COMPARED = 200  # test pictures
MOST_WEIGHTS = 2_000_000  # 27 MB of text, which Python reads in some 10 s and 2 GB
WIDTH = 88
# In float64, with nothing that overflows.
ACTIVATIONS = {
    "elu": "np.where(x > 0, x, np.expm1(np.minimum(x, 0)))",
    "gelu": "0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))",
    "identity": "x",
    "leaky_relu": "np.where(x > 0, x, 0.01 * x)",
    "relu": "np.maximum(x, 0)",
    "sigmoid": "0.5 * (1 + np.tanh(x / 2))",
    "silu": "x * 0.5 * (1 + np.tanh(x / 2))",
    "tanh": "np.tanh(x)",
}
TEMPLATE = '''\
"""Tells pictures apart by a formula with its numbers typed in. Nothing is learned here.

    python THIS_FILE images.npy

reads pictures that numpy.save wrote, uint8 [N, {height}, {width}, 3] (red, green, blue), and
prints for each the class, and the logit of every class in the order of CLASSES.
"""
{title}
# Its numbers were found by
{command}
import sys

import numpy as np

CLASSES = {class_names}
SHAPE = ({height}, {width}, 3)  # rows, columns, and red, green, blue of one picture
MEAN, STD = np.array({mean}), np.array({std})


def check(images):
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != SHAPE:
        wanted = "uint8 [N, {height}, {width}, 3]"
        raise ValueError(f"give {{wanted}}, not {{images.dtype}} {{list(images.shape)}}")


def logits(images):
    """Turn pictures, uint8 [N, *SHAPE], into one number per class, [N, {num_classes}]."""
    check(images)
    x = ((images / 255.0 - MEAN) / STD).reshape(len(images), {num_inputs})
    for weights, bias in LAYERS[:-1]:
        x = x @ weights.T + bias
        x = {activation}
    weights, bias = LAYERS[-1]
    return x @ weights.T + bias


def main():
    sys.stdout.reconfigure(errors="backslashreplace")  # names hold any letter
    if len(sys.argv) != 2:
        print("error: give one file: python THIS_FILE images.npy", file=sys.stderr)
        return 2
    try:
        with open(sys.argv[1], "rb") as file:
            images = np.lib.format.read_array(file, allow_pickle=False)
        check(images)
    except (OSError, ValueError, MemoryError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        print(f"error: {{sys.argv[1]}}: {{reason}}", file=sys.stderr)
        return 2
    for start in range(0, len(images), 256):
        for row in logits(images[start : start + 256]):
            print(CLASSES[row.argmax()], *(f"{{x:.6g}}" for x in row), sep="\\t")
    return 0


# The numbers, each exactly the single precision number that was found. The weights of a
# layer say how much each unit is moved by each number of a picture (row by row from the
# top, in a row from the left, for each pixel its red, green and blue) or by each unit of
# the layer before; the bias is what is added. The units of the last layer are the classes.
# fmt: off
LAYERS = [
{layers}]
# fmt: on

if __name__ == "__main__":
    sys.exit(main())
'''


def program_text(
    params: Any,
    *,
    model: str,
    input_shape: Sequence[int],
    class_names: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    title: str,
    command: str,
) -> str:
    """Turn a linear classifier or a multilayer perceptron into a stand-alone Python program.

    Its logits are computed in double precision from the float32 weights, so they differ from those
    of the model by the model's own rounding: about 1e-6 of the largest, on a device that
    multiplies in full float32.

    Args:
      params: of one member: `LinearParams`, or the nested dict of `models/mlp.py`.
      model: what the person typed for it, like 'mlp:depth=2:activation=tanh'; for `LinearParams`
        any name.
      input_shape: (H, W, 3) of one picture.
      class_names: K names, in label order.
      mean, std: per channel, of pixels in 0..1, as in `train.normaliser`.
      title: what it is, in one line.
      command: the command line that made it.

    Returns:
      The program; the same arguments give the same text.

    Raises:
      InputError: a formula that cannot be written down so, too many weights, or weights that are
        not finite.
    """
    layers, activation = [params], "identity"
    if not isinstance(params, LinearParams):
        default = inspect.signature(mlp).parameters["activation"].default
        activation = check_writable(model).get("activation", default)
        names = [*(f"hidden{n}" for n in range(1, len(params))), "head"]
        layers = [(params[name]["kernel"], params[name]["bias"]) for name in names]
    layers = [tuple(np.asarray(x, np.float32).T for x in layer) for layer in layers]
    count = sum(array.size for layer in layers for array in layer)
    if count > MOST_WEIGHTS:
        raise InputError(
            f"{model!r} has {count:,} weights, too many to type in; at most {MOST_WEIGHTS:,}; "
            "give a smaller width, smaller pictures, or a linear model"
        )
    if not all(np.isfinite(array).all() for layer in layers for array in layer):
        raise InputError(
            f"{model!r} has weights that are not finite, which cannot be typed in; "
            "train it again with a smaller --learning_rate"
        )
    return TEMPLATE.format(
        title=_comment(title, "# ", ""),
        command=_comment(command, "#   ", " \\"),
        class_names=repr(tuple(class_names)),
        height=input_shape[0],
        width=input_shape[1],
        num_inputs=math.prod(input_shape),
        num_classes=len(class_names),
        mean=list(mean),
        std=list(std),
        activation=ACTIVATIONS[activation],
        layers="".join(f"({_typed_in(w)}, {_typed_in(b)}),\n" for w, b in layers),
    )


def check_writable(model: str) -> dict[str, Any]:
    """Check that a program can be written of a model, not of a linear formula.

    Returns:
      The settings of the perceptron.

    Raises:
      InputError: anything but an MLP without normalisation.
    """
    name, texts = registry.parse_entry(model)
    settings = registry.typed_settings(model, mlp, texts) if name == "mlp" else {}
    if name != "mlp" or settings.get("norm", "none") != "none":
        raise InputError(
            f"{model!r} cannot be written as a program with its numbers typed in; what can: "
            "linear formulas (linear, logistic, centroid, lda, ridge) and mlp with norm=none"
        )
    return settings


def check_program_path(path: str) -> Path:
    """Check, before any work, that a program may be written at a path.

    Raises:
      InputError: a folder in place of the file, or no folder to put it in.
    """
    file = os.path.abspath(os.path.expanduser(path))
    if path.endswith(("/", "\\")) or os.path.isdir(file):
        raise InputError(f"--write_program={path} is a folder; give the name of a file in it")
    if not os.path.isdir(os.path.dirname(file)):
        raise InputError(
            f"--write_program={path}: there is no folder {os.path.dirname(file)}; make it, or give "
            "a path in one that exists"
        )
    return Path(file)


def write_program(path: str, text: str) -> Path:
    """Write a program whole or not at all; a file of other content is never replaced.

    Args:
      path: as a person typed it; its folder must exist.
      text: of `program_text`.

    Returns:
      The file.

    Raises:
      InputError: as `check_program_path`, a file of other content, or a place that cannot be
        written to.
    """
    file, content = check_program_path(path), text.encode()
    try:
        if not file.exists():
            with replacing(file) as out:
                out.write(content)
        elif not file.is_file() or file.read_bytes() != content:
            raise InputError(
                f"--write_program={path}: this file exists and holds something else; nothing was "
                "changed; move it away or give another path"
            )
    except OSError as error:
        raise InputError(
            f"--write_program={path} cannot be written ({error.strerror}); give another path"
        ) from error
    return file


def save_program(path: str, name: str, run: Run, dataset: Dataset) -> str:
    """Write one rung down and compare it with the formula it came from.

    Args:
      path: of the program.
      name: the rung; of a population, its first living member is written.
      run: a finished ladder.
      dataset: of the run.

    Returns:
      One line: where it is, and how far its logits are from the formula's.

    Raises:
      InputError: the rung is no linear classifier and no MLP, or the path cannot be written.
    """
    inputs, images = run.manifest["inputs"], dataset.test.inputs[:COMPARED]
    shape, class_names = tuple(inputs["shape"]), inputs["class_names"]
    params: Any
    if name in run.data.get("linear_rung", ()):
        mean, std = [0.0] * 3, [1.0] * 3
        rung = run.data.sel(linear_rung=name)
        params = LinearParams(rung["weights"].values.reshape(len(class_names), -1).T, rung["bias"])
        logits = rung["linear_logits"].values[: len(images)]
    else:
        check_writable(name)
        mean, std = inputs["mean"], inputs["std"]
        member = int(np.argmax(np.isfinite(run.data["test_accuracy"].sel(rung=name).values)))
        params = jax.tree.map(lambda x: x[member], run.params[name])
        normalised = normaliser(tuple(mean), tuple(std))(jnp.asarray(images))
        logits = np.asarray(build_model(name, shape, len(class_names)).apply(params, normalised))
    flags = f" --write_program={shlex.quote(Path(path).name)} --program_model={shlex.quote(name)}"
    text = program_text(
        params,
        model=name,
        input_shape=shape,
        class_names=class_names,
        mean=mean,
        std=std,
        title=f"The rung {name} of a ladder of {run.data.attrs['dataset']}, as a program",
        command=str(run.manifest["command"]) + flags,
    )
    file = write_program(path, text)
    program: dict[str, Any] = {"__name__": "program"}
    exec(compile(text, str(file), "exec"), program)
    typed = program["logits"](images)
    same = int((typed.argmax(1) == logits.argmax(1)).sum())
    return (
        f"program: {file}; the same answer as {name} to {same} of {len(images)} test pictures, "
        f"logits at most {np.abs(typed - logits).max():.1e} apart"
    )


def _typed_in(array: np.ndarray) -> str:
    """Write float32 numbers, each as the shortest text that is read back as the same number."""
    rows = (
        textwrap.fill(", ".join(map(str, row)), WIDTH - 3, break_on_hyphens=False)
        for row in np.atleast_2d(array)
    )
    numbers = ", ".join(f"[\n{row}\n]" for row in rows)
    return f"np.array({numbers if array.ndim == 1 else f'[{numbers}]'}, np.float32)"


def _comment(text: str, start: str, end: str) -> str:
    """Break any text into lines of comment; `end` lets a shell join them again."""
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))
    lines = textwrap.wrap(plain, WIDTH - 8, break_long_words=False, break_on_hyphens=False)
    return f"{end}\n".join(start + line for line in lines)
