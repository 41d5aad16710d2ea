"""Reads the records of a prepared TFDS folder: encoded pictures, labels, names.

Pictures stay encoded (SkipDecoding) and are decoded by `pictures`, so array_record and tfrecord
give the same pixels. array_record needs no TensorFlow.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from catdog_jax.data.tfds_prepare import (
    have_tensorflow,
    import_tfds,
    quiet_tfds,
    tfrecord_without_tensorflow,
)
from catdog_jax.types import InputError

_ID_NAMES = ("id", "image_id", "image/filename", "file_name", "filename", "image/id")
_CHUNK = 256


class ReadError(RuntimeError):
    """A prepared folder is damaged; the message is one line."""


class Record(NamedTuple):
    """One record: the picture as encoded bytes, its label, its name ('' where it has none)."""

    image: bytes
    label: int
    id: str


class Prepared:
    """A prepared folder: its features are known, its records can be read.

    Attributes:
      folder: holds dataset_info.json.
      version: of the data set.
      file_format: 'array_record' or 'tfrecord'.
      class_names: of the chosen label feature.
      side: pixels of a side where all pictures are square and alike, else 0.
      sizes: number of records of each split.
    """

    def __init__(self, folder: Path, label: str = ""):
        """Open the folder.

        Args:
          folder: as `find_prepared` gives it.
          label: the label feature; '' for the supervised one, or the only one.

        Raises:
          InputError: no picture or label in it, or a format that cannot be read here.
          ReadError: its description is damaged, or files are missing.
        """
        self._tfds = import_tfds()
        self.folder = folder
        try:
            with quiet_tfds():
                self._builder = self._tfds.builder_from_directory(folder)
                info = self._builder.info
                self.file_format = info.file_format.value
        # A damaged dataset_info.json makes protobuf, json or TFDS raise, each in its own kind.
        except Exception as error:
            raise ReadError(f"{folder} cannot be read: {_line(error)}; prepare it again") from None
        self.version = str(info.version)
        features = self._tfds.core.features
        # Sorted: the file's own order differs from process to process.
        named = sorted(info.features.items()) if hasattr(info.features, "items") else []
        table: dict[str, Any] = dict(named)
        self._features = table
        keys = info.supervised_keys or ()
        self.image_key = _pick(table, features.Image, keys[:1], "", "picture", folder)
        self.label_key = _pick(table, features.ClassLabel, keys[1:2], label, "class label", folder)
        self._id_key = next((n for n in _ID_NAMES if isinstance(table.get(n), features.Text)), None)
        self.class_names: tuple[str, ...] = tuple(table[self.label_key].names)
        shape = tuple(table[self.image_key].shape)
        self.side = shape[0] if shape[0] is not None and shape[0] == shape[1] else 0
        self.sizes = {name: split.num_examples for name, split in info.splits.items()}
        if self.file_format not in ("array_record", "tfrecord"):
            raise InputError(
                f"{folder} is in {self.file_format} format; read are array_record and tfrecord; "
                "prepare it again with --download --data_dir=NEW_FOLDER"
            )
        if self.file_format == "tfrecord" and not have_tensorflow():
            raise tfrecord_without_tensorflow(folder)
        missing = [path.name for path in self.files(self.sizes) if not path.is_file()]
        if missing:
            raise ReadError(
                f"{folder} is incomplete: {missing[0]} is missing; delete the folder and prepare "
                "it again with --download"
            )

    def files(self, splits: Sequence[str] | dict[str, int]) -> list[Path]:
        """List the record files of some splits."""
        return [Path(p) for s in splits for p in self._builder.info.splits[s].filepaths]

    def records(self, split: str) -> Iterator[Record]:
        """Read a split from its beginning; the order is the file's and means nothing.

        Raises:
          ReadError: a record file is damaged.
        """
        try:
            with quiet_tfds():
                yield from map(self._record, self._rows(split))
        # The readers below raise errors of their own kinds, some with a page of text.
        except Exception as error:
            raise ReadError(
                f"{self.folder}: split {split!r} is damaged ({_line(error)}); delete the folder "
                "and prepare it again with --download"
            ) from None

    def _rows(self, split: str) -> Iterator[dict[str, Any]]:
        skip = self._tfds.decode.SkipDecoding()
        # Masks and other pictures beside the one that is asked for stay encoded too.
        plain = (self._tfds.features.ClassLabel, self._tfds.features.Text)
        decoders = {n: skip for n, f in self._features.items() if not isinstance(f, plain)}
        if self.file_format == "array_record":
            source = self._builder.as_data_source(split=split, decoders=decoders)
            for start in range(0, len(source), _CHUNK):
                yield from source.__getitems__(list(range(start, min(start + _CHUNK, len(source)))))
            return
        import tensorflow as tf

        # TensorFlow only reads files here: the accelerator's memory belongs to JAX.
        for kind in ("GPU", "TPU"):
            tf.config.set_visible_devices([], kind)
        rows = self._builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
        yield from rows.as_numpy_iterator()

    def _record(self, row: dict[str, Any]) -> Record:
        image = row[self.image_key]
        name = row[self._id_key] if self._id_key else b""
        return Record(
            image if isinstance(image, bytes) else np.asarray(image).item(),
            int(row[self.label_key]),
            name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name),
        )


def _pick(
    table: dict[str, Any], kind: type, first: Sequence[Any], asked: str, what: str, folder: Path
) -> str:
    names = [name for name, feature in table.items() if isinstance(feature, kind)]
    if asked:
        if asked not in names:
            raise InputError(f"label={asked}: {folder} has {what} features {', '.join(names)}")
        return asked
    if first and first[0] in names:
        return str(first[0])
    if len(names) == 1:
        return names[0]
    if not names:
        raise InputError(f"{folder} has no {what} feature; an image set with class labels is read")
    raise InputError(f"{folder} has {what} features {', '.join(names)}; choose one with label=")


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
