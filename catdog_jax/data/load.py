"""Opens a data set by what a person typed."""

import dataclasses
import inspect
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from catdog_jax.data.assemble import fingerprint
from catdog_jax.data.pictures import Progress
from catdog_jax.data.tfds_images import spec_for
from catdog_jax.data.tfds_prepare import data_root, find_prepared, import_tfds
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
    name, settings = parse_entry(entry)
    if image_size and not 8 <= image_size <= 1024:
        why = "is out of range; give 8 to 1024 pixels, or 0 for the data set's own"
        raise InputError(f"--image_size={image_size} {why}")
    if isinstance(classes, str):
        classes = [class_name.strip() for class_name in classes.split(",") if class_name.strip()]
    load = _find(name, data_dir).load
    flags: dict[str, Any] = {
        "data_dir": data_dir or None,
        "classes": tuple(classes),
        "image_size": image_size,
        "download": download,
    }
    for flag in flags.keys() & settings.keys():
        raise InputError(f"{entry!r}: {flag} is a flag of its own; write --{flag}=")
    parameters = inspect.signature(load).parameters
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        flags = {flag: value for flag, value in flags.items() if flag in parameters}
    if "progress" in parameters:
        flags["progress"] = progress or (lambda done, total: None)
    own = typed_settings(entry, load, settings, hidden=(*flags, "progress"))
    return _checked(entry, load(**flags, **own))


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
    like, named = dataset.train.inputs, set(range(len(dataset.class_names)))
    for name in ("train", "valid", "test"):
        split = getattr(dataset, name)
        inputs, labels = split.inputs, split.labels
        wrong = ""
        unlike = inputs.dtype != like.dtype or inputs.shape[1:] != like.shape[1:]
        unlike |= (inputs.shape[3:] or (3,)) != (3,)
        if unlike or (inputs.dtype, inputs.ndim) not in _KINDS:
            wrong = (
                f"inputs are {inputs.dtype} {inputs.shape}; uint8 [N, H, W, 3], int32 [N, T] or "
                "float32 [N, D] is wanted (pictures, sentences, vectors), alike in all parts"
            )
        elif not inputs.size and (name != "valid" or len(inputs)):
            wrong = "part is empty"
        elif not len(inputs) == len(labels) == len(split.ids):
            wrong = "part has not one label and id per input"
        elif labels.dtype.kind not in "iu" or not set(labels.tolist()) <= named:
            wrong = "labels are not integers that each have a class name"
        if wrong:
            raise InputError(f"data set {entry!r}: its {name} {wrong}")
    # A folder's name may hold bytes that are no UTF-8, which no terminal and no file takes.
    names = [n.encode("utf-8", "backslashreplace").decode("utf-8") for n in dataset.class_names]
    provenance = dict(dataset.provenance)
    if "fingerprint" not in provenance:
        provenance["fingerprint"] = fingerprint(dataset.train, dataset.valid, dataset.test)
    return dataclasses.replace(
        dataset,
        class_names=tuple(names),
        provenance=provenance,
        constants=dataset.constants or _constants(dataset),
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
    mean = [float(c @ levels / c.sum()) for c in counts]
    std = [
        float(np.sqrt(max(c @ (levels - m) ** 2 / c.sum(), 255.0**-2)))
        for c, m in zip(counts, mean, strict=True)
    ]
    return {"mean": tuple(mean), "std": tuple(std)}
