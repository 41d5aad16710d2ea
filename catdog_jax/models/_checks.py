"""Checks what a model is asked to read, and to answer; each error is one line."""

from catdog_jax.types import InputError


def task(model: str, input_shape: tuple[int, ...], num_classes: int, fewest: int = 2) -> None:
    """Raise for too few classes, or an input without a single number.

    Args:
      model: name of the model, for the message.
      input_shape: shape of one example, without the batch.
      num_classes: what was given.
      fewest: 2, or 1 for a formula whose one output may be the number of a regression.

    Raises:
      InputError: as above.
    """
    if num_classes < fewest:
        also = ", or 1 for a regression" if fewest == 1 else ""
        raise InputError(f"{model}: {num_classes} classes are not allowed; give at least 2{also}")
    if not input_shape or min(input_shape) < 1:
        raise InputError(f"{model}: inputs of shape {input_shape} are empty; give sizes ≥ 1")


def image(
    model: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    widths: tuple[int, ...],
    halvings: int,
) -> None:
    """Raise for inputs that are not images, or too small for the stages.

    Args:
      model: name of the model, for the message.
      input_shape: (H, W, C).
      num_classes: what was given, see `task`.
      widths: of the stages, each ≥ 1.
      halvings: of the image's height and width; a pixel must be left.

    Raises:
      InputError: as above.
    """
    task(model, input_shape, num_classes)
    if not widths or min(widths) < 1:
        text = "-".join(map(str, widths)) or "(none)"
        raise InputError(
            f"{model}: widths={text} is not allowed; give whole numbers ≥ 1, like 32-64-128"
        )
    if len(input_shape) != 3:
        raise InputError(f"{model}: inputs of shape {input_shape}; images must be (H, W, C)")
    height, width, _ = input_shape
    smallest = 2**halvings
    if min(height, width) < smallest:
        raise InputError(
            f"{model}: image size {height}×{width} is too small for {len(widths)} stages, which "
            f"need at least {smallest}×{smallest}; give a larger image size or fewer widths"
        )
