"""Finds, fetches and opens a prepared TFDS folder; speaks plainly where there is none."""

import importlib.util
import logging
import os
import re
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from catdog_jax.types import InputError

_INFO = "dataset_info.json"
_WITH_TENSORFLOW = "pip install 'catdog_jax[tfds-prepare]'"


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


def require_prepared(root: Path, name: str, download: bool) -> Path:
    """Find a prepared version, or download it and write array_record where that is allowed.

    Raises:
      InputError: it is not there and `download` is False, or there is no such data set.
      RuntimeError: the download or the preparing failed.
    """
    found = find_prepared(root, name)
    if found is not None:
        return found
    if not download:
        raise InputError(
            f"data set {name!r} is not prepared in {root}"
            f"{'' if root.is_dir() else ' (no such folder)'}; give its folder with --data_dir=, or "
            "fetch it with --download"
        )
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # a line for each retry
    try:
        with warnings.catch_warnings(action="ignore"):
            builder = import_tfds().builder(name, data_dir=root, file_format="array_record")
            builder.download_and_prepare()
    # TFDS, its network layers and each builder raise errors of their own kinds.
    except Exception as error:
        raise RuntimeError(
            f"download of {name!r} into {root} failed: {one_line(error)}; nothing was trained; "
            f"try again (most sets need TensorFlow for it: {_WITH_TENSORFLOW}), or give a prepared "
            "folder with --data_dir="
        ) from None
    return Path(builder.data_dir)


def open_prepared(folder: Path, name: str) -> Any:
    """Open a prepared folder: a TFDS builder whose records can be read here.

    Raises:
      InputError: it holds another data set, or has a format that cannot be read here.
      RuntimeError: its description is damaged.
    """
    again = "prepare it again with --download --data_dir=NEW_FOLDER"
    try:
        with warnings.catch_warnings(action="ignore"):
            builder = import_tfds().builder_from_directory(folder)
            file_format = builder.info.file_format.value
    # A damaged dataset_info.json makes protobuf, json or TFDS raise, each in its own kind.
    except Exception as error:
        raise RuntimeError(f"{folder} cannot be read: {one_line(error)}; {again}") from None
    if builder.name != name.partition("/")[0]:
        raise InputError(f"{folder} holds {builder.name!r}, not {name!r}; give another --data_dir")
    if file_format not in ("array_record", "tfrecord" if have_tensorflow() else ""):
        raise InputError(
            f"{folder} is in {file_format} format; array_record is read, and tfrecord where "
            f"TensorFlow is installed ({_WITH_TENSORFLOW}); install it, or {again}"
        )
    return builder


def have_tensorflow() -> bool:
    """Return whether TensorFlow can be imported, without importing it."""
    return importlib.util.find_spec("tensorflow") is not None


def import_tfds() -> ModuleType:
    """Import TFDS, late: it takes seconds and nothing else needs it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up chatter
    with warnings.catch_warnings(action="ignore"):
        import tensorflow_datasets as tfds
    return tfds


def one_line(error: BaseException) -> str:
    """Return an error's message in one line of at most 300 letters, else its kind."""
    return " ".join(str(error).split())[:300] or type(error).__name__
