"""Refuses settings of a model that are out of range, each in one line."""

import math

from catdog_jax.types import InputError


def whole(model: str, name: str, value: int, low: int, high: int | None = None) -> None:
    """Refuse a whole number outside low..high.

    Args:
      model: name of the model, for the message.
      name: name of the setting.
      value: what was given.
      low: smallest allowed.
      high: largest allowed; None: no limit.

    Raises:
      InputError: the value is not a whole number in the range.
    """
    if not isinstance(value, int) or value < low or (high is not None and value > high):
        span = f"≥ {low}" if high is None else f"in {low}..{high}"
        raise InputError(f"{model}: {name}={value} is not allowed; give a whole number {span}")


def widths(model: str, values: tuple[int, ...]) -> None:
    """Refuse an empty tuple of widths, or a width below 1."""
    if not values or min(values) < 1:
        text = "-".join(map(str, values)) or "(none)"
        raise InputError(
            f"{model}: widths={text} is not allowed; give whole numbers ≥ 1, like 32-64-128"
        )


def positive(model: str, name: str, value: float) -> None:
    """Refuse a number that is not finite and > 0."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{model}: {name}={value} is not allowed; give a finite number > 0")


def task(model: str, input_shape: tuple[int, ...], num_classes: int, fewest: int = 2) -> None:
    """Refuse too few classes, or an input without a single number.

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


def image(model: str, input_shape: tuple[int, ...], smallest: int, stages: int) -> None:
    """Refuse inputs that are not images, or too small for the number of stages.

    Args:
      model: name of the model, for the message.
      input_shape: (H, W, C).
      smallest: smallest height and width that leave a pixel after the last stage.
      stages: number of stages, for the message.

    Raises:
      InputError: as above.
    """
    if len(input_shape) != 3:
        raise InputError(f"{model}: inputs of shape {input_shape}; images must be (H, W, C)")
    height, width, _ = input_shape
    if min(height, width) < smallest:
        raise InputError(
            f"{model}: image size {height}×{width} is too small for {stages} stages, which need at "
            f"least {smallest}×{smallest}; give a larger image size or fewer widths"
        )
