"""What a formula may be asked to read, and to answer: the types of a builder's first arguments."""

from typing import Annotated

from catdog_jax.registry import Range
from catdog_jax.types import InputError

Shape = Annotated[tuple[int, ...], Range(1)]
ImageShape = Annotated[tuple[int, int, int], Range(1)]  # (H, W, C)
SentenceShape = Annotated[tuple[int], Range(1)]  # (T,), the longest sentence
Classes = Annotated[int, Range(2)]
Outputs = Annotated[int, Range(1)]  # of a formula whose one output may be a regression's number
Vocabulary = Annotated[int, Range(2)]  # number of token ids, padding included


def check_size(model: str, input_shape: tuple[int, int, int], halvings: int) -> None:
    """Check that an image can be halved so often.

    Raises:
      InputError: no pixel would be left.
    """
    height, width, _ = input_shape
    smallest = 2**halvings
    if min(height, width) < smallest:
        raise InputError(
            f"{model}: image size {height}×{width} is too small to be halved {halvings} times, "
            f"which needs {smallest}×{smallest}; give a larger image size or fewer widths"
        )
