"""Opens a data set by what a person typed."""

import dataclasses
import inspect
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from catdog_jax import registry
from catdog_jax.data.assemble import fingerprint
from catdog_jax.data.pictures import Progress
from catdog_jax.data.tfds_images import data_root, find_prepared, import_tfds, spec_for
from catdog_jax.registry import find_spec, parse_entry, table, typed_settings, unknown
from catdog_jax.types import Dataset, DatasetSpec, InputError

_KINDS = ((np.uint8, 4), (np.int32, 2), (np.float32, 2))


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
    if image_size and not 8 <= image_size <= 1024:
        raise InputError(f"--image_size={image_size} is out of range; give 8 to 1024 pixels, or 0")
    load, settings = dataset_spec(entry, data_dir).load, parse_entry(entry)[1]
    flags: dict[str, Any] = {
        "data_dir": data_dir or None,
        "classes": tuple(classes),
        "image_size": image_size,
        "download": download,
    }
    for flag in flags.keys() & settings.keys():
        raise InputError(f"{entry!r}: {flag} is a flag of its own; write --{flag}=")
    own = typed_settings(entry, load, settings, hidden=(*flags, "progress"))
    parameters = inspect.signature(load).parameters
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        for flag in [flag for flag, value in flags.items() if value and flag not in parameters]:
            raise InputError(
                f"--{flag}={flags[flag]}: the data set {entry} does not take it; leave it out, or "
                "give another --dataset (folder: pictures of your own)"
            )
        flags = {flag: value for flag, value in flags.items() if flag in parameters}
    if "progress" in parameters:
        flags["progress"] = progress or (lambda done, total: None)
    with registry.own_code(f"data set {entry!r}", "loader", registry.is_code(entry)):
        return _checked(entry, load(**flags, **own))


def dataset_spec(entry: str, data_dir: str | None = None) -> DatasetSpec:
    """Find what is registered for an entry, for instance to see its default models.

    Args:
      entry: as for `load_dataset`.
      data_dir: where a prepared TFDS folder of an unregistered name may be.

    Raises:
      InputError: no such data set.
    """
    name, known = parse_entry(entry)[0], table("catdog_jax.data", "DATASETS")
    if name in known or ("." in name and "/" not in name):
        return find_spec("data set", name, known, DatasetSpec, "(**settings) -> Dataset")
    if re.fullmatch(r"\w+(/[\w.+-]+)?", name):
        builders = import_tfds().list_builders(with_community_datasets=False)
        if name.partition("/")[0] in builders or find_prepared(data_root(data_dir), name):
            return spec_for(name)
    raise unknown(
        "data set", name, known, "or the name of a TFDS image set, or a loader's dotted path"
    )


def _checked(entry: str, dataset: Any) -> Dataset:
    """Check what a loader, a person's own above all, returns: the engine relies on it."""
    if not isinstance(dataset, Dataset):
        raise InputError(f"data set {entry!r}: its loader returns no catdog_jax.types.Dataset")
    like = dataset.train.inputs
    for part in ("train", "valid", "test"):
        split = getattr(dataset, part)
        inputs, labels = split.inputs, split.labels
        if (
            (inputs.dtype, inputs.ndim) not in _KINDS
            or (inputs.dtype, inputs.shape[1:]) != (like.dtype, like.shape[1:])
            or inputs.shape[3:] not in ((), (3,))
            or not np.isfinite(inputs).all()
            or not (inputs.size or (part == "valid" and not len(inputs)))
            or not len(inputs) == len(labels) == len(split.ids)
            or labels.dtype.kind not in "iu"
            or not all(isinstance(name, str) for name in split.ids)
            or not set(labels.tolist()) <= set(range(len(dataset.class_names)))
        ):
            raise InputError(
                f"data set {entry!r}: its {part} part has inputs {inputs.dtype} {inputs.shape} and "
                f"labels {labels.dtype} {labels.shape}; wanted are uint8 [N, H, W, 3] (pictures), "
                "int32 [N, T] (sentences) or float32 [N, D] (finite vectors), alike in all parts, "
                "N > 0 but in valid; and for each input an id (text) and an integer label with a "
                "class name"
            )
    # A folder's name may hold bytes that are no UTF-8, which no terminal and no file takes.
    names = [registry.printable(name) or "''" for name in dataset.class_names]
    try:
        provenance = json.loads(json.dumps(dict(dataset.provenance)))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"data set {entry!r}: its provenance cannot be written as JSON ({error})"
        ) from error
    if "fingerprint" not in provenance:
        provenance["fingerprint"] = fingerprint(dataset.train, dataset.valid, dataset.test)
    constants = dataset.constants or _constants(dataset)
    return dataclasses.replace(
        dataset, class_names=tuple(names), provenance=provenance, constants=constants
    )


def _constants(dataset: Dataset) -> dict[str, Any]:
    """Compute what a builder is told of the inputs, see `Dataset`.

    Exact: sums of integers. A channel that never changes gets the deviation 1/255.
    """
    if dataset.kind != "images":
        return {"vocabulary": len(dataset.vocabulary)} if dataset.vocabulary else {}
    images = dataset.train.inputs
    counts = [np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[-1])]
    levels = np.arange(256) / 255.0
    means = [float(c @ levels / c.sum()) for c in counts]
    squares = [c @ (levels - m) ** 2 / c.sum() for c, m in zip(counts, means, strict=True)]
    stds = [float(np.sqrt(max(square, 255.0**-2))) for square in squares]
    return {"mean": tuple(means), "std": tuple(stds)}
