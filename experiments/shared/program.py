"""Writes a trained formula down by hand: a Python program with the numbers typed in.

The program imports numpy only. Nothing of this project, and nothing that learned, is left in it.
"""

import inspect
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from catdog_jax import registry
from catdog_jax.models.linear import LinearParams
from catdog_jax.models.mlp import mlp
from catdog_jax.store.atomic import replacing
from catdog_jax.types import InputError
from experiments.shared.program_template import ACTIVATIONS, TEMPLATE

MOST_WEIGHTS = 2_000_000  # 27 MB of text, which Python reads in some 10 s and 2 GB
WIDTH = 88


class Layer(NamedTuple):
    """One affine map of the program.

    Attributes:
      name: of its constants, in capitals.
      weights: [units, inputs] float32.
      bias: [units] float32.
    """

    name: str
    weights: np.ndarray
    bias: np.ndarray


def program_text(
    params: Any,
    *,
    entry: str,
    input_shape: Sequence[int],
    class_names: Sequence[str],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    title: str,
    command: str,
) -> str:
    """Turn a linear classifier or a multilayer perceptron into a stand-alone Python program.

    Its logits are computed in double precision from the float32 weights, so they differ from those
    of the model by the model's own rounding: about 1e-6 of the largest, on a device that
    multiplies in full float32.

    Args:
      params: of one member: `LinearParams`, or the nested dict of `models/mlp.py`.
      entry: what the person typed for it, like 'mlp:depth=2:activation=tanh'; for `LinearParams`
        any name.
      input_shape: (H, W, 3) of one picture.
      class_names: K names, in label order.
      mean, std: per channel, of pixels in 0..1, as in `train.normaliser`; None where the formula
        reads pixels in 0..1 themselves.
      title: first line of the program, what it is.
      command: the command line that made it.

    Returns:
      The program; the same arguments give the same text.

    Raises:
      InputError: a formula that cannot be written down so, too many weights, or weights that are
        not finite.
      ValueError: weights of another shape than pictures and classes have.
    """
    if len(input_shape) != 3 or input_shape[2] != 3:
        raise InputError(
            f"{entry!r} reads inputs of shape {tuple(input_shape)}; a program is written for "
            "pictures only; give a data set of pictures"
        )
    layers, activation = _layers(params, entry)
    _check(layers, entry, math.prod(input_shape), len(class_names))
    return TEMPLATE.format(
        title=_paragraph(title),
        classes=_paragraph(
            f"Tells {_listed(class_names)} apart. Nothing is learned here: the numbers below are "
            "typed in."
        ),
        command=_comment(command),
        names=_tuple_of(class_names),
        height=input_shape[0],
        width=input_shape[1],
        num_classes=len(class_names),
        constants=_normalisation(mean, std),
        activation=_activation(activation) if len(layers) > 1 else "",
        formula=_formula(layers, activation, normalised=mean is not None),
        numbers="\n\n".join(_numbers(layer, layers, input_shape, class_names) for layer in layers),
    )


def write_program(path: str | Path, text: str) -> Path:
    """Write a program whole or not at all; a file of other content is never replaced.

    Args:
      path: as a person typed it; its folder must exist.
      text: of `program_text`.

    Returns:
      The file.

    Raises:
      InputError: no such folder, a folder in place of the file, a file of other content, or a
        place that cannot be written to.
    """
    file, content = check_program_path(path), text.encode("utf-8", "backslashreplace")
    try:
        if not file.exists():
            with replacing(file) as out:
                out.write(content)
        elif file.read_bytes() != content:
            raise InputError(
                f"--write_program={path}: this file exists and holds something else; nothing was "
                "changed; move it away or give another path"
            )
    except OSError as error:
        raise _unwritable(path, error) from error
    return file


def check_program_path(path: str | Path) -> Path:
    """Refuse, before any work, a path at which no program can be written.

    Raises:
      InputError: as `write_program`, but for the content of an existing file.
    """
    file = Path(path).expanduser()
    try:
        file = file.resolve()
        if str(path).endswith(("/", "\\")) or file.is_dir():
            raise InputError(f"--write_program={path} is a folder; give the name of a file in it")
        if file.exists() and not file.is_file():
            raise InputError(f"--write_program={path} is no ordinary file; give another path")
        if not file.parent.is_dir():
            raise InputError(
                f"--write_program={path}: there is no folder {file.parent}; make it, or give a "
                "path in one that exists"
            )
    except (OSError, RuntimeError) as error:
        raise _unwritable(path, error) from error
    return file


def _unwritable(path: str | Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or error
    return InputError(f"--write_program={path} cannot be written ({reason}); give another path")


def check_writable(entry: str) -> dict[str, Any]:
    """Refuse an entry, not of a linear formula, that no program can be written of.

    Returns:
      The settings of the perceptron.

    Raises:
      InputError: anything but an MLP without normalisation.
    """
    name, texts = registry.parse_entry(entry)
    settings = registry.typed_settings(entry, mlp, texts) if name == "mlp" else {}
    if name != "mlp" or settings.get("norm", "none") != "none":
        raise InputError(
            f"{entry!r} cannot be written as a program with its numbers typed in; what can: "
            "linear formulas (linear, logistic, centroid, lda, ridge) and mlp with norm=none"
        )
    return settings


def _layers(params: Any, entry: str) -> tuple[list[Layer], str]:
    """Find the affine maps of a formula, and the activation between them."""
    if isinstance(params, LinearParams):
        return [Layer("", np.asarray(params.weights).T, np.asarray(params.bias))], "identity"
    settings = check_writable(entry)
    hidden = [f"hidden{n}" for n in range(1, len(params))]
    layers = [
        Layer(
            layer.upper() + "_",
            np.asarray(params[layer]["kernel"]).T,
            np.asarray(params[layer]["bias"]),
        )
        for layer in [*hidden, "head"]
    ]
    default = inspect.signature(mlp).parameters["activation"].default
    return layers, settings.get("activation", default)


def _check(layers: Sequence[Layer], entry: str, num_inputs: int, num_classes: int) -> None:
    count = sum(layer.weights.size + layer.bias.size for layer in layers)
    if count > MOST_WEIGHTS:
        raise InputError(
            f"{entry!r} has {count:,} weights, too many to type in; at most {MOST_WEIGHTS:,}; "
            "give a smaller width, smaller pictures, or a linear model"
        )
    for layer in layers:
        if layer.weights.ndim != 2 or layer.weights.shape[1] != num_inputs:
            raise ValueError(f"{layer.name}weights {layer.weights.shape} read no {num_inputs}")
        if not (np.isfinite(layer.weights).all() and np.isfinite(layer.bias).all()):
            raise InputError(
                f"{entry!r} has weights that are not finite, which cannot be typed in; "
                "train it again with a smaller --learning_rate"
            )
        num_inputs = layer.weights.shape[0]
    if num_inputs != num_classes:
        raise ValueError(f"{num_inputs} logits for {num_classes} classes")


def _normalisation(mean: Sequence[float] | None, std: Sequence[float] | None) -> str:
    if mean is None or std is None:
        return ""
    means, stds = (", ".join(repr(float(x)) for x in values) for values in (mean, std))
    return (
        "# Mean and deviation of red, green and blue over the training pictures, in 0 to 1.\n"
        f"MEAN = np.array([{means}])\nSTD = np.array([{stds}])\n"
    )


def _activation(name: str) -> str:
    return f"\ndef {name}(x):\n    return {ACTIVATIONS[name]}\n\n"


def _formula(layers: Sequence[Layer], activation: str, *, normalised: bool) -> str:
    lines = ["x = images / 255.0"]
    if normalised:
        lines.append("x = (x - MEAN) / STD")
    lines.append(f"x = x.reshape(len(x), {layers[0].weights.shape[1]})")
    for layer in layers[:-1]:
        lines.append(f"x = {activation}(x @ {layer.name}WEIGHTS.T + {layer.name}BIAS)")
    lines.append(f"return x @ {layers[-1].name}WEIGHTS.T + {layers[-1].name}BIAS")
    return textwrap.indent("\n".join(lines), "    ") + "\n"


def _numbers(
    layer: Layer, layers: Sequence[Layer], input_shape: Sequence[int], class_names: Sequence[str]
) -> str:
    """Type the weights of a layer in, unit by unit."""
    first, last = layer is layers[0], layer is layers[-1]
    units = "class" if last else "unit"
    if first:
        parts = [f"row {row}" for row in range(input_shape[0])]
        order = f"how much each {units} is moved by each number of a picture,\n"
        order += "# row by row from the top, in a row from the left, and for each pixel its\n"
        order += "# red, green and blue."
    else:
        parts, order = [""], f"how much each {units} is moved by each unit of the layer before."
    lines = [f"# {layer.name}WEIGHTS: {order}", f"{layer.name}WEIGHTS = np.array(["]
    for number, row in enumerate(layer.weights):
        what = f"for {_quoted(class_names[number])}" if last else f"unit {number}"
        lines.append(f"    [  # {what}")
        for part, values in zip(parts, row.reshape(len(parts), -1), strict=True):
            lines += [f"        # {part}"] * bool(part) + [_wrapped(values, 8)]
        lines.append("    ],")
    lines += [
        "], np.float32)",
        f"# {layer.name}BIAS: what is added for each {units}.",
        f"{layer.name}BIAS = np.array([",
        _wrapped(layer.bias, 4),
        "], np.float32)",
    ]
    return "\n".join(lines)


def _wrapped(values: np.ndarray, indent: int) -> str:
    """Write float32 numbers, each as the shortest text that is read back as the same number."""
    lines, line = [], ""
    for value in values.astype(np.float32):
        text = f"{value!s},"
        if line and indent + len(line) + 1 + len(text) > WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {text}" if line else text
    return textwrap.indent("\n".join([*lines, line]), " " * indent)


def _tuple_of(class_names: Sequence[str]) -> str:
    quoted = [_quoted(name) for name in class_names]
    line = f"({', '.join(quoted)})"
    return line if len(line) <= WIDTH - 10 else "(\n    " + ",\n    ".join(quoted) + ",\n)"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _paragraph(text: str) -> str:
    """Break any text into lines, none of which ends the docstring."""
    line = _quoted(" ".join(text.split()))[1:-1]
    return textwrap.fill(line, WIDTH - 3, break_long_words=False, break_on_hyphens=False)


def _quoted(text: str) -> str:
    """Write any text as a literal of Python, on one line."""
    return '"' + _printable(text.replace("\\", r"\\").replace('"', r"\"")) + '"'


def _comment(text: str) -> str:
    """Break a command into lines of comment that a shell joins again."""
    line = _printable(" ".join(text.split()))
    lines = textwrap.wrap(line, WIDTH - 8, break_long_words=False, break_on_hyphens=False) or [""]
    return " \\\n".join([f"#   {lines[0]}", *(f"#     {line}" for line in lines[1:])])


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
