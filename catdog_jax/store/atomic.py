"""Writes that are whole or absent, whatever kills the process, and say so when the disk is full."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXTS = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))


class StoreError(RuntimeError):
    """A run folder cannot be written or read; the message is one line for a person."""


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error, or what caused it, is a full disk or a full quota.

    Orbax and HDF5 raise ValueError and RuntimeError that only quote the operating system.
    """
    seen: BaseException | None = error
    while seen is not None:
        if getattr(seen, "errno", None) in _FULL or any(t in str(seen) for t in _FULL_TEXTS):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


@contextlib.contextmanager
def writing(what: str, folder: Path) -> Iterator[None]:
    """Turn the errors of a write into one line that says what is safe and how to go on.

    Args:
      what: the thing being written, for the message.
      folder: the run folder.

    Raises:
      StoreError: the operating system refused the write.
    """
    try:
        yield
    except StoreError:
        raise
    # Orbax, HDF5 and zip wrap a full disk in errors of their own kinds; others are raised again.
    except Exception as error:
        if is_disk_full(error):
            raise StoreError(
                f"disk full while writing {what} under {folder}; the last checkpoint is kept: "
                "free space and run the same command again"
            ) from error
        if isinstance(error, OSError):
            raise StoreError(
                f"cannot write {what} under {folder}: {error.strerror or error}; the last "
                "checkpoint is kept: mend this and run the same command again"
            ) from error
        raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of `path` once it is safely on the disk.

    Args:
      path: the file to create or replace; its folder is created.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def make_folder(path: Path) -> None:
    """Create a folder and those above it, so that they survive a loss of power."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)


def sync(path: Path) -> None:
    """Ask the operating system to put a file, or the names in a folder, on the disk."""
    if os.name == "nt":  # Windows opens no folders, and syncs no file that is open for reading
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_folder(path: Path) -> None:
    """Remove a folder so that a kill never leaves half of it under its own name."""
    if path.is_dir():
        doomed = path.with_name(f".{path.name}.tmp")
        shutil.rmtree(doomed, ignore_errors=True)
        os.replace(path, doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders that a killed process left behind."""
    for leftover in sorted(folder.rglob(".*.tmp")):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
