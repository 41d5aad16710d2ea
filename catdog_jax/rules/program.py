"""A classifier of any origin, written down by hand: a program with the numbers typed in.

The program imports numpy only. Nothing of this project, and nothing that learned, is left in it.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from catdog_jax import registry
from catdog_jax.models.linear import LinearParams
from catdog_jax.models.mlp import mlp
from catdog_jax.types import InputError

MOST_WEIGHTS = 2_000_000  # 27 MB of text, which Python reads in some 10 s and 2 GB
LINEAR = (
    *("constant", "template", "centroid", "diagonal_centroid", "lda", "ridge"),
    *("logistic", "linear"),
)
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

reads pictures that numpy.save wrote, uint8 [N, *SHAPE], and prints for each the class, and the
logit of every class in the order of CLASSES.
"""

import sys

import numpy as np

MODEL = {model!r}
FOUND_BY = {command!r}
CLASSES = {class_names!r}
SHAPE = {shape!r}  # rows, columns, and red, green, blue of one picture
MEAN, STD = {mean!r}, {std!r}


def logits(images):
    """Turn pictures, uint8 [N, *SHAPE], into one number per class, [N, len(CLASSES)]."""
    if images.dtype != np.uint8 or images.shape[1:] != SHAPE:
        raise ValueError(f"give uint8 [N, *{{SHAPE}}], not {{images.dtype}} {{images.shape}}")
    x = ((images / 255.0 - MEAN) / STD).reshape(len(images), np.prod(SHAPE))
    for weights, bias in LAYERS[:-1]:
        x = x @ weights.T + bias
        x = {activation}
    weights, bias = LAYERS[-1]
    return x @ weights.T + bias


# Each number is exactly the single precision number that was found. A row of weights says how much
# one unit is moved by each number of a picture (row by row from the top, in a row from the left, of
# each pixel its red, green and blue) or by each unit of the layer before; the bias is added. The
# units of the last layer are the classes.
# fmt: off
LAYERS = [
{layers}]
# fmt: on

if __name__ == "__main__":
    try:
        rows = logits(np.load(sys.argv[1]))
    except (IndexError, OSError, ValueError) as error:
        sys.exit(f"error: {{error}}; say python THIS_FILE images.npy")
    for row in rows:
        print(CLASSES[row.argmax()], *(f"{{x:.6g}}" for x in row), sep="\\t")
'''


def program_text(
    params: Any,
    *,
    model: str,
    input_shape: Sequence[int],
    class_names: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    command: str,
) -> str:
    """Turn a linear classifier or a multilayer perceptron into a stand-alone Python program.

    Its logits are computed in double precision from the float32 weights, so they differ from those
    of the model by the model's own rounding: about 1e-6 of the largest, on a device that
    multiplies in full float32.

    Args:
      params: of one member: `LinearParams`, or the nested dict of `models/mlp.py`.
      model: what the person typed for it, like 'mlp:depth=2:activation=tanh'.
      input_shape: (H, W, 3) of one picture.
      class_names: K names, in label order.
      mean, std: per channel, of pixels in 0..1, as in `build_model`.
      command: the command line that made it.

    Returns:
      The program; the same arguments give the same text.

    Raises:
      InputError: a formula that cannot be written down so, too many weights, or weights that are
        not finite.
    """
    layers, settings = [params], check_writable(model)
    if not isinstance(params, LinearParams):
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
    default = inspect.signature(mlp).parameters["activation"].default
    return TEMPLATE.format(
        model=model,
        command=command,
        class_names=tuple(class_names),
        shape=tuple(input_shape),
        mean=tuple(mean),
        std=tuple(std),
        activation=ACTIVATIONS[settings.get("activation", default)],
        layers="".join(f"({_typed_in(w)}, {_typed_in(b)}),\n" for w, b in layers),
    )


def check_writable(model: str) -> dict[str, Any]:
    """Check that a program can be written of a classifier.

    Returns:
      The settings of a perceptron; none of a linear formula.

    Raises:
      InputError: neither a linear formula nor an MLP without normalisation.
    """
    name, texts = registry.parse_entry(model)
    settings = registry.typed_settings(model, mlp, texts) if name == "mlp" else {}
    if name not in (*LINEAR, "mlp") or settings.get("norm", "none") != "none":
        raise InputError(
            f"{model!r} cannot be written as a program with its numbers typed in; what can: "
            f"linear formulas ({', '.join(LINEAR)}) and mlp with norm=none"
        )
    return settings


def _typed_in(array: np.ndarray) -> str:
    """Write float32 numbers, each as the shortest text that is read back as the same number."""
    rows = ",\n".join(f"[{', '.join(map(str, row))}]" for row in np.atleast_2d(array))
    return f"np.array({rows if array.ndim == 1 else f'[{rows}]'}, np.float32)"
