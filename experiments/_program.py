"""A classifier of any origin, written down by hand: a program with the numbers typed in.

The program imports numpy only. Nothing of this project, and nothing that learned, is left in it.
"""

import inspect
import os
import runpy
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from catdog_jax import registry
from catdog_jax.models.linear import LinearParams
from catdog_jax.models.mlp import mlp
from catdog_jax.run import Population, Run
from catdog_jax.store.atomic import replacing
from catdog_jax.types import Dataset, InputError, Params

TEMPLATE = Path(__file__).with_name("_program_template.txt")
COMPARED = 200  # test pictures
MOST_WEIGHTS = 2_000_000  # 27 MB of text, which Python reads in some 10 s and 2 GB
LINEAR = ("constant", "template", "centroid", "diagonal_centroid", "lda", "ridge", "logistic")
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


def check_writable(path: str, model: str) -> dict[str, Any]:
    """Check, before any work, that a classifier can be written as a program to a path.

    Args:
      path: of the program.
      model: what the person typed for the classifier, like 'mlp:depth=2:activation=tanh'.

    Returns:
      The settings of a perceptron; none of a linear formula.

    Raises:
      InputError: no place for a file; neither a linear formula nor an MLP without normalisation.
    """
    folder, file = os.path.split(os.path.expanduser(path))
    if not file or not os.path.isdir(folder or ".") or os.path.isdir(os.path.join(folder, file)):
        raise InputError(f"--write_program={path}: give the name of a file in a folder that exists")
    name, texts = registry.parse_entry(model)
    settings = registry.typed_settings(model, mlp, texts) if name == "mlp" else {}
    if name not in (*LINEAR, "linear", "mlp") or settings.get("norm", "none") != "none":
        raise InputError(
            f"{model!r} cannot be written as a program with its numbers typed in; what can: "
            f"linear formulas ({', '.join(LINEAR)}, linear) and mlp with norm=none"
        )
    return settings


def program_text(params: Params, model: str, settings: Mapping[str, Any], **told: Any) -> str:
    """Turn a linear classifier or a multilayer perceptron into a stand-alone Python program.

    Its logits are computed in double precision from the float32 weights, so they differ from those
    of the model by the model's own rounding: about 1e-6 of the largest, on a device that
    multiplies in full float32.

    Args:
      params: of one member: `LinearParams`, or the nested dict of `models/mlp.py`.
      model, settings: see `check_writable`.
      **told: what else `TEMPLATE` asks for: `shape`, (H, W, 3) of one picture; `class_names`, in
        label order; `mean` and `std` per channel, of pixels in 0..1, as in `build_model`; and the
        command line that made it.

    Returns:
      The program; the same arguments give the same text.

    Raises:
      InputError: too many weights, or weights that are not finite.
    """
    layers = [params]
    if not isinstance(params, LinearParams):
        names = [*(f"hidden{n}" for n in range(1, len(params))), "head"]
        layers = [(params[name]["kernel"], params[name]["bias"]) for name in names]
    layers = [tuple(np.asarray(x, np.float32).T for x in layer) for layer in layers]
    count = sum(array.size for layer in layers for array in layer)
    finite = all(np.isfinite(array).all() for layer in layers for array in layer)
    if count > MOST_WEIGHTS or not finite:
        raise InputError(
            f"{model!r} has {count:,} weights{'' if finite else ', some not finite'}, which cannot "
            f"be typed in; give one of at most {MOST_WEIGHTS:,} (a smaller width, smaller "
            "pictures, a linear model), trained with a small --learning_rate"
        )
    default = inspect.signature(mlp).parameters["activation"].default
    return TEMPLATE.read_text("utf-8").format(
        model=model,
        activation=ACTIVATIONS[settings.get("activation", default)],
        layers="".join(f"({_typed_in(w)}, {_typed_in(b)}),\n" for w, b in layers),
        **told,
    )


def _typed_in(array: np.ndarray) -> str:
    """Write float32 numbers, each as the shortest text that is read back as the same number."""
    rows = ",\n".join(f"[{', '.join(map(str, row))}]" for row in np.atleast_2d(array))
    return f"np.array({rows if array.ndim == 1 else f'[{rows}]'}, np.float32)"


def write_program(file: Path, text: str) -> None:
    """Write a program whole or not at all.

    Raises:
      InputError: a file of other content, which is never replaced; or it cannot be written.
    """
    content = text.encode()
    try:
        if file.exists() and file.read_bytes() != content:
            raise InputError(
                f"--write_program={file}: this file exists and holds something else; nothing was "
                "changed; move it away or give another path"
            )
        with replacing(file) as out:
            out.write(content)
    except OSError as error:
        raise InputError(
            f"--write_program={file} cannot be written ({error.strerror}); give another path"
        ) from error


def save_program(
    path: str, name: str, run: Run, populations: Mapping[str, Population], data: Dataset
) -> str:
    """Write one classifier down and compare it with the formula it came from.

    Args:
      path: of the program.
      name: the classifier; of a population, its first living member is written.
      run: a finished ladder.
      populations: label -> its learned classifiers.
      data: its pictures.

    Returns:
      One line: where it is, and how far its logits are from the formula's.

    Raises:
      InputError: see `check_writable`, `program_text` and `write_program`.
    """
    settings = check_writable(path, name)
    images, constants = data.test.inputs[:COMPARED], {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    if name in run.data.get("linear_rung", ()):
        found = run.data.sel(linear_rung=name)
        weights = found["weights"].values.reshape(len(data.class_names), -1)
        params: Params = LinearParams(weights.T, found["bias"].values)
        logits = found["linear_logits"].values[: len(images)]
    else:
        learned = populations[name]
        constants = {key: tuple(learned.entry["inputs"][key]) for key in constants}
        params = learned.member(int(np.argmax(learned.alive)))
        logits = np.asarray(learned.model.apply(params, jnp.asarray(images)))
    file = Path(path).expanduser().absolute()
    flags = f" --write_program={shlex.quote(file.name)} --program_model={shlex.quote(name)}"
    told = {"shape": images.shape[1:], "class_names": data.class_names, **constants}
    command = str(run.manifest["command"]) + flags
    write_program(file, program_text(params, name, settings, command=command, **told))
    typed = runpy.run_path(str(file))["logits"](images)
    same = int((typed.argmax(1) == logits.argmax(1)).sum())
    return (
        f"program: {file}; the same answer as {name} to {same} of {len(images)} test pictures, "
        f"logits at most {np.abs(typed - logits).max():.1e} apart"
    )
