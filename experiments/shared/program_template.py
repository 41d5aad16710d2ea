"""What a written program looks like, before its numbers; see `program.py`."""

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
"""{title}

{classes}

Save pictures of {height} x {width} pixels with numpy.save, as uint8 [N, {height}, {width}, 3]
(red, green, blue), and run

    python THIS_FILE images.npy

It prints one row for each picture: the class, and the logit of every class in the
order of CLASSES.
"""

# These numbers were found by
{command}

import sys

import numpy as np

CLASSES = {names}
SHAPE = ({height}, {width}, 3)  # rows, columns, and red, green, blue of one picture
{constants}

def check(images):
    """Refuse what is not pictures of the right size."""
    wanted = "uint8 [N, {height}, {width}, 3]"
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != SHAPE:
        raise ValueError(f"give {{wanted}}, not {{images.dtype}} {{list(images.shape)}}")

{activation}
def logits(images):
    """Turn pictures, uint8 [N, *SHAPE], into one number per class, [N, {num_classes}]."""
    check(images)
{formula}

def main():
    sys.stdout.reconfigure(errors="backslashreplace")  # names hold any letter
    if len(sys.argv) != 2:
        print("error: give one file: python THIS_FILE images.npy", file=sys.stderr)
        return 2
    path = sys.argv[1]
    try:
        with open(path, "rb") as file:
            images = np.lib.format.read_array(file, allow_pickle=False)
        check(images)
    except (OSError, ValueError, MemoryError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        print(f"error: {{path}}: {{reason}}", file=sys.stderr)
        return 2
    for start in range(0, len(images), 256):
        for row in logits(images[start : start + 256]):
            numbers = [f"{{number:.6g}}" for number in row]
            print(CLASSES[row.argmax()], *numbers, sep="\\t")
    return 0


# The numbers, each exactly the single precision number that was found.

# fmt: off
{numbers}
# fmt: on

if __name__ == "__main__":
    sys.exit(main())
'''
