"""Image sets of TensorFlow Datasets, filtered to the classes that are asked for.

Pictures stay encoded (SkipDecoding) and are decoded by `pictures`, so array_record and tfrecord
give the same pixels. array_record needs no TensorFlow.
"""

import contextlib
import functools
import importlib.util
import itertools
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from catdog_jax.data import assemble, pictures
from catdog_jax.data.cache import cached
from catdog_jax.registry import reason
from catdog_jax.types import Dataset, DatasetSpec, FileNote, InputError

_BATCH = 1024  # pictures that are encoded in memory at a time
_ID_NAMES = ("id", "image_id", "image/filename", "file_name", "filename", "image/id")
_INFO = "dataset_info.json"
_WITH_TENSORFLOW = "pip install 'catdog_jax[tfds-prepare]'"


def load(
    name: str,
    *,
    data_dir: str | None,
    classes: Sequence[str],
    image_size: int,
    download: bool,
    progress: pictures.Progress,
    valid: float = 0.0,
    label: str = "",
) -> Dataset:
    """Load an image set that TFDS has prepared.

    Train and test are used as published, `validation` too where there is one. A set with a single
    split is divided 80/10/10 by content; one with validation but no test is tested on that.

    Args:
      name: builder name, with '/config' where it has configs.
      data_dir: TFDS folder; None: TFDS_DATA_DIR, or ~/tensorflow_datasets.
      classes: in label order; empty: cat and dog, or both classes of a pair.
      image_size: pixels of a side; 0: the set's own where all are square and alike, else 64.
      download: whether a set that is not there may be fetched.
      progress: called with (records read, records).
      valid: fraction of train that becomes valid, 0..0.5.
      label: the label feature; '' for the set's own.

    Raises:
      InputError: not prepared, unknown classes, a format that cannot be read here.
      RuntimeError: the download failed, or the prepared folder is damaged.
    """
    builder = _opened(data_root(data_dir), name, download)
    info, where = builder.info, f"data set {name!r}"
    kinds = import_tfds().features
    supervised = info.supervised_keys or (None, None)
    image_key = _pick(info.features, kinds.Image, supervised[0])
    label_key = _pick(info.features, kinds.ClassLabel, supervised[1], label)
    names = info.features[label_key].names
    wanted, chosen = assemble.choose_classes(classes, names, where)
    labels = [names.index(class_name) for class_name in chosen]
    height, width = info.features[image_key].shape[:2]
    size = image_size or (height if height == width and 8 <= (height or 0) <= 1024 else 64)
    totals = {split: value.num_examples for split, value in info.splits.items()}
    splits = _splits({split for split, total in totals.items() if total}, where)
    fractions = assemble.split_fractions(valid, splits.values(), where)
    files = [Path(path) for split in splits for path in info.splits[split].filepaths]
    key = {
        "source": "tfds",
        "name": name,
        "version": str(info.version),
        "records": [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files],
        "label": [label_key, *labels],
        "classes": wanted,
        "image_size": size,
        "fractions": fractions,
    }

    def build() -> Dataset:
        total, seen = sum(totals[split] for split in splits), 0
        squares: list[np.ndarray] = []
        examples: list[assemble.Example] = []
        notes: list[FileNote] = []
        for split, used_as in splits.items():
            for batch in _batches(builder, split):
                seen += len(batch)
                batch = [row for row in batch if row[label_key] in labels]
                all_of_them = len(labels) == len(names)
                pictures.check_memory(total if all_of_them else len(examples) + len(batch), size)
                images = [row[image_key] for row in batch]
                keys = [assemble.content_key(image) for image in images]
                ids = [_id(row) or key.hex()[:16] for row, key in zip(batch, keys, strict=True)]
                decoded, good, found = pictures.decode_many(images, ids, size)
                squares.append(decoded)
                notes += [note for note in found if note.action == "skipped"]
                for i in good:
                    k = labels.index(batch[i][label_key])
                    examples.append(assemble.Example(keys[i], k, ids[i], used_as))
                progress(seen, total)
        provenance = {
            "source": "tfds",
            "version": str(info.version),
            "label": label_key,
            "parts": {split: used_as or "divided" for split, used_as in splits.items()},
            "unreadable": len(notes),
        }
        return assemble.assemble(
            name, np.concatenate(squares), examples, fractions, wanted, provenance, notes
        )

    return cached(key, build)


def _pick(features: Any, kind: type, usual: Any, asked: str = "") -> str:
    """Choose the feature of a kind: the one that is asked for, the usual one, or the only one."""
    names = sorted(name for name, feature in features.items() if isinstance(feature, kind))
    chosen = asked or (usual if usual in names else names[0] if len(names) == 1 else "")
    if chosen not in names:
        found = f"the {kind.__name__} features are {', '.join(names) or '(none)'}"
        raise InputError(f"label={asked} cannot be used: {found}; choose one with label=")
    return chosen


def _splits(names: set[str], where: str) -> dict[str, str]:
    """Choose which published split serves as which; '': it is divided."""
    if len(names) == 1:
        return {names.pop(): ""}
    test = "test" if "test" in names else "validation"
    if not {"train", test} <= names:
        raise InputError(f"{where} has splits {', '.join(sorted(names))}; read are train and test")
    valid = {"validation": "valid"} if "validation" in names - {test} else {}
    return {"train": "train", test: "test", **valid}


def _batches(builder: Any, split: str) -> Iterator[list[dict[str, Any]]]:
    """Read a split from its beginning; the order is the file's and means nothing.

    Raises:
      RuntimeError: a record file is damaged.
    """
    tfds = import_tfds()
    # Masks and other pictures beside the one that is asked for stay encoded too.
    plain = (tfds.features.ClassLabel, tfds.features.Text)
    skip = tfds.decode.SkipDecoding()
    decoders = {n: skip for n, f in builder.info.features.items() if not isinstance(f, plain)}
    damaged = f"{builder.data_dir}: split {split!r} is damaged"
    with _plainly(damaged, "delete the folder and prepare it again with --download"):
        if builder.info.file_format.value == "array_record":
            source = builder.as_data_source(split=split, decoders=decoders)
            for start in range(0, len(source), _BATCH):
                yield source.__getitems__(range(start, min(start + _BATCH, len(source))))
            return
        import tensorflow as tf

        # TensorFlow only reads files here: the accelerator's memory belongs to JAX.
        for kind in ("GPU", "TPU"):
            tf.config.set_visible_devices([], kind)
        rows = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
        records = rows.as_numpy_iterator()
        while batch := list(itertools.islice(records, _BATCH)):
            yield batch


@contextlib.contextmanager
def _plainly(what: str, advice: str) -> Iterator[None]:
    """Keep TFDS quiet, and make one line of whatever it raises."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    # Its readers, builders and network layers raise errors of their own kinds, some of a page.
    except Exception as error:
        raise RuntimeError(f"{what} ({reason(error)[:300]}); {advice}") from None


def _id(row: Mapping[str, Any]) -> str:
    found = next((row[name] for name in _ID_NAMES if isinstance(row.get(name), bytes)), b"")
    return found.decode("utf-8", "replace")


def data_root(data_dir: str | None) -> Path:
    """Return the TFDS folder: as given, else TFDS_DATA_DIR, else TFDS's own default."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(os.path.expanduser(chosen))


def find_prepared(root: Path, name: str) -> Path | None:
    """Find the newest prepared version of a data set.

    Args:
      root: a TFDS folder, or the folder of the data set or of one version of it.
      name: builder name, with '/config' where it has configs.

    Returns:
      The folder that holds dataset_info.json, or None.

    Raises:
      InputError: several configs are there and none was named.
    """
    if (root / _INFO).is_file():
        return root
    builder, _, config = name.partition("/")
    base = root if root.name == builder else root / builder
    patterns = [f"{config}/*"] if config else ["*", "*/*"]
    found = [path.parent for pattern in patterns for path in base.glob(f"{pattern}/{_INFO}")]
    # A killed preparation leaves 'incomplete.…' folders beside the versions.
    found = [folder for folder in found if re.fullmatch(r"\d+\.\d+\.\d+", folder.name)]
    configs = sorted({f"{builder}/{folder.parent.name}" for folder in found})
    if len(configs) > 1:
        raise InputError(
            f"data set {name!r} is prepared in several configs; name one: {', '.join(configs)}"
        )
    return max(found, key=lambda folder: [int(n) for n in folder.name.split(".")], default=None)


def _opened(root: Path, name: str, download: bool) -> Any:
    """Open a prepared version, downloaded and written as array_record where that is allowed.

    Returns:
      A TFDS builder whose records can be read here.

    Raises:
      InputError: it is not there and `download` is False, it holds another data set, or it has a
        format that cannot be read here.
      RuntimeError: the download or the preparing failed, or its description is damaged.
    """
    folder = find_prepared(root, name)
    if folder is None and not download:
        raise InputError(
            f"data set {name!r} is not prepared in {root}{'' if root.is_dir() else ' (no folder)'}"
            "; give its folder with --data_dir=, or fetch it with --download"
        )
    if folder is None:
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # a line per retry
        again = f"try again (most sets need TensorFlow for it: {_WITH_TENSORFLOW})"
        advice = f"nothing was trained; {again}, or give a prepared folder with --data_dir="
        with _plainly(f"download of {name!r} into {root} failed", advice):
            builder = import_tfds().builder(name, data_dir=root, file_format="array_record")
            builder.download_and_prepare()
            folder = builder.data_dir
    again = "prepare it again with --download --data_dir=NEW_FOLDER"
    with _plainly(f"{folder} cannot be read", again):
        classes = [*_named_classes(Path(folder, "features.json").read_text("utf-8"))]
    for name_of_class in classes:
        if not name_of_class.startswith("tensorflow_datasets."):
            raise InputError(
                f"{folder}/features.json names the code {name_of_class!r}, which reading would "
                "start; only features of tensorflow_datasets are read"
            )
    with _plainly(f"{folder} cannot be read", again):
        builder = import_tfds().builder_from_directory(folder)
        file_format = builder.info.file_format.value
    if builder.name != name.partition("/")[0]:
        raise InputError(f"{folder} holds {builder.name!r}, not {name!r}; give another --data_dir")
    if file_format not in ("array_record", "tfrecord" if have_tensorflow() else ""):
        raise InputError(
            f"{folder} is in {file_format} format; array_record is read, and tfrecord where "
            f"TensorFlow is installed ({_WITH_TENSORFLOW}); install it, or {again}"
        )
    return builder


def _named_classes(told: Any) -> Iterator[str]:
    """List the Python classes that a description of features names: TFDS would import them."""
    if isinstance(told, str) and told.lstrip().startswith("{"):  # JSON, also inside of JSON
        told = json.loads(told)
    if isinstance(told, list):
        told = dict(enumerate(told))
    for key, value in told.items() if isinstance(told, dict) else ():
        is_class = key in ("pythonClassName", "python_class_name", "type")
        if is_class and isinstance(value, str) and "." in value:
            yield value
        yield from _named_classes(value)


def have_tensorflow() -> bool:
    """Return whether TensorFlow can be imported, without importing it."""
    return importlib.util.find_spec("tensorflow") is not None


def import_tfds() -> ModuleType:
    """Import TFDS, late: it takes seconds and nothing else needs it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up chatter
    with warnings.catch_warnings(action="ignore"):
        import tensorflow_datasets as tfds
    return tfds


def spec_for(name: str, label: str = "") -> DatasetSpec:
    """Return the spec of one TFDS image set.

    Args:
      name: builder name, with '/config' where it has configs.
      label: the label feature by default.
    """
    return DatasetSpec(load=functools.partial(load, name, label=label), num_members=8)


DATASETS = {name: spec_for(name) for name in ("cats_vs_dogs", "cifar10")}
DATASETS["oxford_iiit_pet"] = spec_for("oxford_iiit_pet", label="species")
