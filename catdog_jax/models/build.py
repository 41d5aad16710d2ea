"""From what a person typed, `mlp:width=64:depth=3`, to a model and its training settings."""

import inspect
from collections.abc import Mapping
from typing import Any

from catdog_jax import registry
from catdog_jax.types import InputError, Model, ModelSpec, Recipe

# For a builder of a person's own, which proposes nothing itself.
DEFAULT_RECIPE = Recipe(num_steps=1000, batch_size=64, optimizer="adam", learning_rate=1e-3)


def model_table() -> Mapping[str, ModelSpec]:
    """Give every registered model by its name."""
    return registry.table("catdog_jax.models", "MODELS")


def model_spec(entry: str) -> ModelSpec:
    """Look up what an entry of `--models` names.

    Args:
      entry: 'name' or 'name:setting=value:…'; the name is registered, or the dotted path of a
        builder (input_shape, num_classes, **settings) -> Model, or of a `ModelSpec`.

    Raises:
      InputError: an unknown name, or a path that leads to nothing callable.
    """
    name, _ = registry.parse_entry(entry)
    wanted = "(input_shape, num_classes, **settings) -> Model"
    return registry.find_spec("model", name, model_table(), ModelSpec, wanted)


def build_model(
    entry: str, input_shape: tuple[int, ...], num_classes: int, **overrides: Any
) -> Model:
    """Build the model that an entry of `--models` describes.

    Args:
      entry: see `model_spec`.
      input_shape: shape of one example, without the batch.
      num_classes: K ≥ 2.
      **overrides: settings proposed by the caller (conv='patches'); each is passed only where
        the builder takes it and the entry does not set it.

    Raises:
      InputError: an unknown name or setting, a value out of range, an image too small, or a
        builder of one's own that does not return a model.
    """
    name, texts = registry.parse_entry(entry)
    build = model_spec(entry).build
    try:
        signature = inspect.signature(build)
        signature.bind(input_shape, num_classes)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"model {name!r} cannot be called ({error}); "
            "give a function (input_shape, num_classes, **settings) -> Model"
        ) from error
    settings = registry.typed_settings(entry, build, texts)
    parameters = signature.parameters
    proposed = {
        key: value
        for key, value in overrides.items()
        if key in parameters and parameters[key].kind is inspect.Parameter.KEYWORD_ONLY
    }
    model = build(input_shape, num_classes, **(proposed | settings))
    if isinstance(model, Model):
        return model
    if isinstance(model, tuple) and len(model) in (2, 3) and all(callable(f) for f in model):
        return Model(*model)
    raise InputError(f"model {name!r} returned a {type(model).__name__}; return Model(init, apply)")


def recipe_for(entry: str, dataset: str) -> Recipe:
    """Look up the training settings a model proposes for a data set.

    Args:
      entry: see `model_spec`.
      dataset: name of the data set; one without its own recipe gets the model's 'default'.

    Raises:
      InputError: an unknown model.
    """
    recipes = model_spec(entry).recipes
    return recipes.get(dataset, recipes.get("default", DEFAULT_RECIPE))
