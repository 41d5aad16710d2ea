"""Finds a prepared TFDS folder, or prepares one; speaks plainly where there is none."""

import contextlib
import importlib.util
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from catdog_jax.registry import unknown
from catdog_jax.types import InputError

_log = logging.getLogger(__name__)
INFO = "dataset_info.json"
_WITH_TENSORFLOW = "pip install 'catdog_jax[tfds-prepare]'"


class DownloadError(RuntimeError):
    """A download failed; the message is one line."""


def data_root(data_dir: str | None) -> Path:
    """Tell the TFDS folder: as given, else TFDS_DATA_DIR, else TFDS's own default."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(chosen).expanduser()


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
    builder, _, config = name.partition("/")
    if (root / INFO).is_file() and _name_of(root) == builder:
        return root
    base = root if root.name == builder and not (root / builder).is_dir() else root / builder
    if not base.is_dir():
        return None
    versions = [] if config else _versions(base, "*")
    deeper = _versions(base, f"{config or '*'}/*")
    configs = sorted({p.parent.name for p in deeper})
    if not versions and len(configs) > 1:
        raise InputError(
            f"data set {name!r} is prepared in several configs under {base}; name one: "
            + ", ".join(f"{builder}/{c}" for c in configs)
        )
    return max(versions or deeper, key=lambda p: _version(p.name), default=None)


def require_prepared(root: Path, name: str, download: bool) -> Path:
    """Find a prepared version, or download and prepare one where that is allowed.

    Raises:
      InputError: it is not there and `download` is False, or preparing needs TensorFlow.
      DownloadError: the download or the preparing failed.
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
    prepare(root, name)
    found = find_prepared(root, name)
    if found is None:
        raise DownloadError(f"data set {name!r}: nothing was prepared in {root}")
    return found


def prepare(root: Path, name: str) -> None:
    """Download a data set and write it as array_record, showing TFDS's own progress.

    Raises:
      InputError: the name is no builder, or preparing needs TensorFlow.
      DownloadError: anything else went wrong.
    """
    tfds = import_tfds()
    if not have_tensorflow():
        _log.warning(
            "TensorFlow is not installed; TFDS needs it to prepare most data sets (%s)",
            _WITH_TENSORFLOW,
        )
    try:
        with _one_line_of_retries(), quiet_tfds():
            builder = tfds.builder(name, data_dir=root, file_format="array_record")
            builder.download_and_prepare()
    except tfds.core.DatasetNotFoundError:
        raise unknown("data set", name, tfds.list_builders()) from None
    # TFDS, its network layers and each builder raise errors of their own kinds.
    except Exception as error:
        if needs_tensorflow(error):
            raise InputError(
                f"preparing {name!r} needs TensorFlow, which is not installed here: "
                f"{_WITH_TENSORFLOW}; the prepared folder is then read without it"
            ) from None
        reason = _short(error)
        raise DownloadError(
            f"download of {name!r} into {root} failed: {reason}; nothing was trained; try again, "
            "or give a prepared folder with --data_dir="
        ) from None


def tfrecord_without_tensorflow(folder: Path) -> InputError:
    """Build the error for a folder that only TensorFlow can read, with both ways out."""
    return InputError(
        f"{folder} is in tfrecord format, which is read by TensorFlow only: {_WITH_TENSORFLOW}, or "
        "prepare it again as array_record, in another folder: --download --data_dir=NEW_FOLDER"
    )


def have_tensorflow() -> bool:
    """Return whether TensorFlow can be imported, without importing it."""
    return importlib.util.find_spec("tensorflow") is not None


def needs_tensorflow(error: BaseException | None) -> bool:
    """Return whether an error comes from TensorFlow's absence, looking down its causes."""
    seen = 0
    while error is not None and seen < 10:
        text = str(error).lower()
        if isinstance(error, ImportError) and "tensorflow" in text and not have_tensorflow():
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def import_tfds() -> ModuleType:
    """Import TFDS, late: it takes seconds and nothing else needs it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up chatter
    with quiet_tfds():
        import tensorflow_datasets as tfds
    return tfds


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """Keep back the warnings that TFDS and TensorFlow raise about their own insides."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning, ResourceWarning, UserWarning):
            warnings.filterwarnings("ignore", category=category, module=_INSIDES)
        yield


_INSIDES = r"(tensorflow|tensorflow_datasets|etils|google|array_record|keras|h5py|importlib)\b"


@contextlib.contextmanager
def _one_line_of_retries() -> Iterator[None]:
    """Say once, not ten times, that the network does not answer."""
    logger = logging.getLogger("urllib3.connectionpool")
    told = False

    def first_only(record: logging.LogRecord) -> bool:
        nonlocal told
        if not record.getMessage().startswith("Retrying"):
            return True
        if not told:
            told = True
            _log.warning("the network does not answer; trying again for some minutes")
        return False

    logger.addFilter(first_only)
    try:
        yield
    finally:
        logger.removeFilter(first_only)


def _name_of(folder: Path) -> Any:
    try:
        return json.loads((folder / INFO).read_text()).get("name")
    except (OSError, ValueError):
        return None


def _versions(base: Path, pattern: str) -> list[Path]:
    """List finished versions; a killed preparation leaves 'incomplete.…' folders beside them."""
    folders = [path.parent for path in base.glob(f"{pattern}/{INFO}")]
    return [folder for folder in folders if re.fullmatch(r"\d+\.\d+\.\d+", folder.name)]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
