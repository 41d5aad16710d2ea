"""Image sets of TensorFlow Datasets, filtered to the classes that are asked for.

Pictures stay encoded (SkipDecoding) and are decoded by `pictures`, so array_record and tfrecord
give the same pixels. array_record needs no TensorFlow.
"""

import functools
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catdog_jax.data import assemble, pictures, tfds_prepare
from catdog_jax.data.cache import cached
from catdog_jax.types import Dataset, DatasetSpec, FileNote, InputError

_BATCH = 1024  # pictures that are encoded in memory at a time
_ID_NAMES = ("id", "image_id", "image/filename", "file_name", "filename", "image/id")


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
    folder = tfds_prepare.require_prepared(tfds_prepare.data_root(data_dir), name, download)
    builder = tfds_prepare.open_prepared(folder, name)
    info, where = builder.info, f"data set {name!r}"
    kinds = tfds_prepare.import_tfds().features
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
    tfds = tfds_prepare.import_tfds()
    # Masks and other pictures beside the one that is asked for stay encoded too.
    plain = (tfds.features.ClassLabel, tfds.features.Text)
    skip = tfds.decode.SkipDecoding()
    decoders = {n: skip for n, f in builder.info.features.items() if not isinstance(f, plain)}
    try:
        with warnings.catch_warnings(action="ignore"):
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
    # The readers raise errors of their own kinds, some with a page of text.
    except Exception as error:
        reason = tfds_prepare.one_line(error)
        raise RuntimeError(
            f"{builder.data_dir}: split {split!r} is damaged ({reason}); delete the folder and "
            "prepare it again with --download"
        ) from None


def _id(row: Mapping[str, Any]) -> str:
    found = next((row[name] for name in _ID_NAMES if isinstance(row.get(name), bytes)), b"")
    return found.decode("utf-8", "replace")


def spec_for(name: str, label: str = "") -> DatasetSpec:
    """Return the spec of one TFDS image set.

    Args:
      name: builder name, with '/config' where it has configs.
      label: the label feature by default.
    """
    return DatasetSpec(load=functools.partial(load, name, label=label))


DATASETS = {
    "cats_vs_dogs": spec_for("cats_vs_dogs"),
    "cifar10": spec_for("cifar10"),
    "oxford_iiit_pet": spec_for("oxford_iiit_pet", label="species"),
}
