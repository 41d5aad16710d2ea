"""From what a person typed, `mlp:width=64:depth=3`, to a model and its training settings.

A registered formula is written for numbers; here it becomes one on what a data set holds.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from catdog_jax import registry
from catdog_jax.types import First, InputError, Inputs, Model, Params, Recipe

MODEL = registry.Kind(
    "model", "catdog_jax.models", "MODELS", "(input_shape, num_classes, **settings) -> Model"
)
# For a builder of a person's own, which proposes nothing itself.
DEFAULT_RECIPE = Recipe(num_steps=1000, batch_size=64, optimizer="adam", learning_rate=1e-3)


def build_model(
    entry: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    **overrides: Any,
) -> Model:
    """Build the model that an entry of `--models` describes.

    A registered formula normalises pictures itself, in float32, and then computes in the type of
    its params. A builder of a person's own sees pictures as they are, 0..255.

    Args:
      entry: see `MODEL.spec`.
      input_shape: shape of one example, without the batch.
      num_classes: K ≥ 2.
      mean, std: of each channel of the training pictures, pixels in 0..1 (`Dataset.constants`);
        left out: the formula takes numbers as they are.
      **overrides: settings proposed by the caller (conv='patches'); each is passed only where
        the builder takes it and the entry does not set it.

    Raises:
      InputError: an unknown name or setting, a value out of range, an image too small, or a
        builder of one's own that does not return a model.
    """
    overrides |= {"mean": mean, "std": std}
    model = MODEL.build(entry, input_shape, num_classes, **overrides)
    if not MODEL.is_own(entry):
        pictures = bool(mean) and len(input_shape) == 3
        normalise = normaliser(mean, std) if pictures else lambda inputs: inputs
        return model if "tokens" in MODEL.spec(entry).reads else _on_inputs(model, normalise)
    if isinstance(model, Model):
        return model
    if isinstance(model, tuple) and len(model) in (2, 3) and all(callable(f) for f in model):
        return Model(*model)
    raise InputError(
        f"model {entry!r} returned a {type(model).__name__}; return Model(init, apply)"
    )


def normaliser(
    mean: Sequence[float], std: Sequence[float]
) -> Callable[[Num[Array, "B H W C"]], Float[Array, "B H W C"]]:
    """Make the function that turns pictures 0..255 into float32 of mean 0 and deviation 1.

    Args:
      mean: per channel, of pixels in 0..1, over the training pictures.
      std: likewise, > 0.
    """

    def normalise(images: Num[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        # Whole rows with constants as long as they: loops over the few channels do not vectorise,
        # and constants that are tiled in the program bring a division for every number. 128
        # pictures of 32×32, gathered too, on one core: 1,600 µs by channels, 170 by rows.
        rows = images.reshape(*images.shape[:2], -1).astype(jnp.float32)
        scale = np.tile([1.0 / (255.0 * s) for s in std], (1, 1, images.shape[2]))
        offset = np.tile([m / s for m, s in zip(mean, std, strict=True)], (1, 1, images.shape[2]))
        return (rows * np.float32(scale) - np.float32(offset)).reshape(images.shape)

    return normalise


def on_pixels(apply: Callable[[Params, Inputs], Array]) -> Callable[[Params, Inputs], Array]:
    """Make a formula on pixels in 0..1 one on pictures 0..255."""

    def on_pictures(params: Params, images: Inputs) -> Array:
        return apply(params, jnp.asarray(images, jnp.float32) / 255.0)

    return on_pictures


def _on_inputs(model: Model, normalise: Callable[[Array], Array]) -> Model:
    """Make a formula on numbers normalise its inputs, then take them in the type of its params."""

    def on_inputs(function: Callable[[Params, Array], Any]) -> Callable[[Params, Inputs], Any]:
        def of_inputs(params: Params, inputs: Inputs) -> Any:
            # Once for all who read it: XLA:CPU may else fuse it into every window of the first
            # convolution (3 to 6 % of a step of cnn, 8 pictures at a time).
            numbers = jax.lax.optimization_barrier(normalise(inputs))
            return function(params, numbers.astype(jnp.result_type(*jax.tree.leaves(params))))

        return of_inputs

    assert model.features is not None

    def begun(first: First | None) -> First | None:
        return first and first._replace(apply=on_inputs(first.apply))

    units = model.units and model.units._replace(
        outputs=on_inputs(model.units.outputs), first=begun(model.units.first)
    )
    return Model(
        model.init, on_inputs(model.apply), on_inputs(model.features), begun(model.first), units
    )


def check_logits(
    kind: str,
    entry: str,
    apply: Callable[[Params, Inputs], Array],
    params: Params,
    inputs: jax.ShapeDtypeStruct,
    num_classes: int,
) -> None:
    """Check that a formula, a person's own above all, gives one logit per class.

    Args:
      kind, entry: what it is and what was typed, for messages.
      apply: the formula.
      params: arrays, or their shapes.
      inputs: shape [2, ...] and type of two examples.
      num_classes: K.

    Raises:
      InputError: it fails, or gives anything else than [2, K].
    """
    with registry.own_code(f"{kind} {entry!r} on {inputs.dtype} {inputs.shape[1:]}", "apply"):
        logits: Any = jax.eval_shape(apply, params, inputs)
    if getattr(logits, "shape", None) != (2, num_classes):
        raise InputError(
            f"{kind} {entry!r} makes {getattr(logits, 'shape', type(logits).__name__)} of 2 "
            f"examples; apply must return logits [2, {num_classes}], one per class"
        )


def recipe_for(entry: str, dataset: str) -> Recipe:
    """Look up the training settings a model proposes for a data set.

    Args:
      entry: see `MODEL.spec`.
      dataset: name of the data set; one without its own recipe gets the model's 'default'.

    Raises:
      InputError: an unknown model.
    """
    recipes = MODEL.spec(entry).recipes
    return recipes.get(dataset, recipes.get("default", DEFAULT_RECIPE))
