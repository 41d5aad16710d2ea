"""Image sets of TensorFlow Datasets, filtered to the classes that are asked for."""

import functools
import logging
from collections.abc import Iterator, Sequence

import numpy as np

from catdog_jax.data.assemble import Examples, assemble
from catdog_jax.data.cache import cached, digest_files
from catdog_jax.data.class_names import choose_classes, default_classes
from catdog_jax.data.decoding import Progress, check_memory, decode_many
from catdog_jax.data.pictures import PictureError
from catdog_jax.data.splitting import content_key, split_fractions
from catdog_jax.data.tfds_prepare import DownloadError, data_root, require_prepared
from catdog_jax.data.tfds_records import Prepared, ReadError
from catdog_jax.types import Dataset, DatasetSpec, InputError

__all__ = ["DATASETS", "DownloadError", "ReadError", "load", "spec_for"]

_log = logging.getLogger(__name__)
_BATCH = 1024  # pictures that are encoded in memory at a time


def load(
    name: str,
    *,
    data_dir: str | None,
    classes: Sequence[str],
    image_size: int,
    download: bool = False,
    progress: Progress | None = None,
    valid: float = 0.0,
    label: str = "",
) -> Dataset:
    """Load an image set that TFDS has prepared.

    Train and test are used as published, `validation` too where there is one. A set with a single
    part is divided 80/10/10 by content; one with validation but no test is tested on that.

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
      DownloadError: the download failed.
      ReadError: the prepared folder is damaged.
    """
    folder = require_prepared(data_root(data_dir), name, download)
    prepared = Prepared(folder, label)
    where = f"data set {name!r}"
    wanted = tuple(classes) or default_classes(prepared.class_names, where)
    labels = [
        prepared.class_names.index(n) for n in choose_classes(wanted, prepared.class_names, where)
    ]
    size = image_size or (prepared.side if 8 <= prepared.side <= 1024 else 64)
    parts = _parts(prepared, where)
    if valid and 1 in parts.values():
        raise InputError(f"valid={valid}: {where} has a validation part of its own; leave it out")
    fractions = split_fractions(valid, None not in parts.values())
    key = {
        "source": "tfds",
        "name": name,
        "version": prepared.version,
        "records": digest_files(prepared.files(list(parts))),
        "label": [prepared.label_key, *labels],
        "classes": wanted,
        "image_size": size,
        "fractions": fractions,
    }

    def build() -> Dataset:
        examples, unreadable = _read(prepared, parts, labels, size, progress)
        facts = {
            "source": "tfds",
            "version": prepared.version,
            "label": prepared.label_key,
            "parts": {n: "divided" if p is None else _PART_OF[p] for n, p in parts.items()},
            "unreadable": unreadable,
        }
        return assemble(name, examples, fractions, wanted, facts)

    return cached(key, build)


_PART_OF = ("train", "valid", "test")


def _parts(prepared: Prepared, where: str) -> dict[str, int | None]:
    """Choose which published split serves as which part; None: it is divided."""
    names = {name for name, size in prepared.sizes.items() if size}
    if len(names) == 1:
        return {names.pop(): None}
    if {"train", "test"} <= names:
        parts: dict[str, int | None] = {"train": 0, "test": 2}
        return parts | dict.fromkeys(names & {"validation"}, 1)
    if {"train", "validation"} <= names:
        return {"train": 0, "validation": 2}
    raise InputError(f"{where} has splits {', '.join(sorted(names))}; read are train and test")


def _read(
    prepared: Prepared,
    parts: dict[str, int | None],
    labels: Sequence[int],
    size: int,
    progress: Progress | None,
) -> tuple[Examples, int]:
    """Read and decode the wanted classes; pictures of other classes are never decoded."""
    position = {label: k for k, label in enumerate(labels)}
    total, seen, unreadable = sum(prepared.sizes[s] for s in parts), 0, 0
    if len(labels) == len(prepared.class_names):
        check_memory(total, size)
    chunks: list[np.ndarray] = []
    kept: list[tuple[int, bytes, str, int | None]] = []
    for split, part in parts.items():
        for batch in _batches(prepared, split):
            seen += len(batch)
            batch = [record for record in batch if record.label in position]
            check_memory(len(kept) + len(batch), size)
            images = [record.image for record in batch]
            pixels, outcome = decode_many(images.__getitem__, len(images), size)
            good = [i for i, o in enumerate(outcome) if not isinstance(o, PictureError)]
            unreadable += len(batch) - len(good)
            chunks.append(pixels[good])
            for i in good:
                key = content_key(batch[i].image)
                kept.append((position[batch[i].label], key, batch[i].id or key.hex()[:16], part))
            if progress is not None:
                progress(seen, total)
    if unreadable:
        _log.warning("%s: %d pictures cannot be decoded and are left out", prepared.folder,
                     unreadable)  # fmt: skip
    empty = np.zeros((0, size, size, 3), np.uint8)
    examples = Examples(
        pixels=np.concatenate([empty, *chunks]),
        kept=np.arange(len(kept)),
        labels=np.array([row[0] for row in kept], dtype=np.int32),
        keys=[row[1] for row in kept],
        ids=[row[2] for row in kept],
        parts=[row[3] for row in kept],
    )
    return examples, unreadable


def _batches(prepared: Prepared, split: str) -> Iterator[list]:
    batch = []
    for record in prepared.records(split):
        batch.append(record)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


def spec_for(name: str, summary: str = "an image set of TFDS", label: str = "") -> DatasetSpec:
    """Make the spec of one TFDS image set.

    Args:
      name: builder name, with '/config' where it has configs.
      summary: one line.
      label: the label feature by default.
    """
    bound = functools.partial(load, name, label=label)
    return DatasetSpec(load=bound, summary=summary)


DATASETS = {
    "cats_vs_dogs": spec_for("cats_vs_dogs", "25,000 photographs from Petfinder (TFDS)"),
    "cifar10": spec_for("cifar10", "CIFAR-10's 6,000 cats and 6,000 dogs, 32 x 32 (TFDS)"),
    "oxford_iiit_pet": spec_for(
        "oxford_iiit_pet", "37 breeds, told apart by species (TFDS)", label="species"
    ),
}
