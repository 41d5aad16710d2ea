"""Opens a data set by the entry that a person typed."""

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from catdog_jax.data.decoding import Progress
from catdog_jax.data.fingerprint import fingerprint
from catdog_jax.data.tfds_prepare import data_root, find_prepared, import_tfds
from catdog_jax.registry import dotted, parse_entry, table, typed_settings, unknown
from catdog_jax.types import Dataset, DatasetSpec, InputError

_FLAGS = ("data_dir", "classes", "image_size", "download")
SMALLEST, LARGEST = 8, 1024


def load_dataset(
    entry: str = "procedural",
    *,
    data_dir: str | None = None,
    classes: Sequence[str] = (),
    image_size: int = 0,
    download: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Load a data set into memory.

    Args:
      entry: `name` or `name:setting=value`; a registered name, a TFDS builder (with '/config'),
        or the dotted path of a loader or a DatasetSpec of one's own.
      data_dir: where its files are; None: the data set's default.
      classes: names in label order; empty: the data set's default.
      image_size: pixels of a side, 8..1024; 0: the data set's default.
      download: whether missing files may be fetched.
      progress: called with (done, total) during long work.

    Raises:
      InputError: anything in the arguments that cannot be used.
    """
    name, settings = parse_entry(entry)
    if image_size and not SMALLEST <= image_size <= LARGEST:
        raise InputError(
            f"--image_size={image_size} is out of range; give {SMALLEST} to {LARGEST} pixels, or "
            "0 for the data set's own"
        )
    if isinstance(classes, str):
        classes = [part.strip() for part in classes.split(",") if part.strip()]
    spec = _find(name, data_dir)
    flag = next((key for key in settings if key in _FLAGS), None)
    if flag:
        raise InputError(f"{entry!r}: {flag} is a flag of its own; write --{flag}=")
    given: dict[str, Any] = {
        "data_dir": data_dir or None,
        "classes": tuple(classes),
        "image_size": image_size,
        "download": download,
        "progress": progress,
    }
    parameters = inspect.signature(spec.load).parameters
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    if "progress" not in parameters:
        del given["progress"]
    if not takes_all:
        given = {key: value for key, value in given.items() if key in parameters}
    return _checked(
        entry, spec.load(**given, **typed_settings(entry, _settings_of(spec.load), settings))
    )


def dataset_spec(entry: str, data_dir: str | None = None) -> DatasetSpec:
    """Find what is registered for an entry, for instance to see its default models.

    Args:
      entry: as for `load_dataset`.
      data_dir: where a prepared TFDS folder of an unregistered name may be.

    Raises:
      InputError: no such data set.
    """
    return _find(parse_entry(entry)[0], data_dir)


def _find(name: str, data_dir: str | None) -> DatasetSpec:
    known = table("catdog_jax.data", "DATASETS")
    if name in known:
        return known[name]
    if "." in name and "/" not in name:
        found = dotted(name, "data set")
        if isinstance(found, DatasetSpec):
            return found
        if callable(found):
            return DatasetSpec(load=found, summary="")
        raise InputError(f"data set {name!r} is a {type(found).__name__}, not a loader")
    from catdog_jax.data.tfds_images import spec_for

    if re.fullmatch(r"\w+(/[\w.+-]+)?", name) and (
        find_prepared(data_root(data_dir), name) is not None or _is_builder(name.partition("/")[0])
    ):
        return spec_for(name)
    raise unknown(
        "data set", name, known, "or the name of a TFDS image set, or a loader's dotted path"
    )


def _is_builder(name: str) -> bool:
    return name in import_tfds().list_builders(with_community_datasets=False)


def _settings_of(load: Callable[..., Any]) -> Callable[..., Any]:
    """Show `typed_settings` a loader's own settings only, without the flags."""

    def settings(**_: Any) -> None:
        """Stand for the loader's signature."""

    signature = inspect.signature(load)
    hidden = (*_FLAGS, "progress")
    own = [
        p
        for p in signature.parameters.values()
        if p.name not in hidden and p.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    # mypy knows no __signature__ on functions; inspect.signature reads it.
    settings.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]
    function = getattr(load, "func", load)
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):  # a person's own loader may have hints for readers only
        hints = {}
    settings.__annotations__ = {p.name: hints[p.name] for p in own if p.name in hints}
    return settings


def _checked(entry: str, dataset: Any) -> Dataset:
    """Hold a loader, a person's own above all, to what the engine relies on."""
    if not isinstance(dataset, Dataset):
        raise InputError(f"data set {entry!r}: its loader returns no catdog_jax.types.Dataset")
    for part in ("train", "valid", "test"):
        split = getattr(dataset, part)
        inputs, labels = split.inputs, split.labels
        _check_inputs(entry, part, inputs, dataset.train.inputs)
        if len(labels) != len(inputs) or len(split.ids) != len(inputs):
            raise InputError(f"data set {entry!r}: {part} has not one label and id per input")
        if not len(inputs) and part != "valid":
            raise InputError(f"data set {entry!r}: its {part} part is empty")
        if labels.dtype.kind not in "iu":
            raise InputError(f"data set {entry!r}: {part} labels are {labels.dtype}, not integers")
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(dataset.class_names):
            raise InputError(f"data set {entry!r}: {part} has labels without a class name")
    # A folder's name may hold bytes that are no UTF-8, which no terminal and no file takes.
    names = [n.encode("utf-8", "backslashreplace").decode("utf-8") for n in dataset.class_names]
    dataset = dataclasses.replace(dataset, class_names=tuple(names))
    if "fingerprint" in dataset.provenance:
        return dataset
    digest = fingerprint(dataset.train, dataset.valid, dataset.test)
    return dataclasses.replace(dataset, provenance={**dataset.provenance, "fingerprint": digest})


def _check_inputs(entry: str, part: str, inputs: np.ndarray, like: np.ndarray) -> None:
    """Hold the inputs of one part to one of the three kinds, alike in all parts."""
    picture = inputs.dtype == np.uint8 and inputs.ndim == 4
    sentence = inputs.dtype == np.int32 and inputs.ndim == 2
    vector = inputs.dtype == np.float32 and inputs.ndim == 2
    alike = inputs.dtype == like.dtype and inputs.shape[1:] == like.shape[1:]
    if not alike or not (picture or sentence or vector):
        raise InputError(
            f"data set {entry!r}: {part} inputs are {inputs.dtype} {inputs.shape}; they must be "
            "uint8 [N, H, W, 3] (pictures), int32 [N, T] (sentences) or float32 [N, D] (vectors), "
            "alike in all parts"
        )
    if not min(inputs.shape[1:]) or (picture and inputs.shape[3] != 3):
        raise InputError(
            f"data set {entry!r}: {part} inputs are {inputs.shape}; pictures must have three "
            "channels and at least one pixel, sentences and vectors at least one number"
        )
