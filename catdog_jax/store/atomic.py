"""Writes that are whole or absent, whatever kills the process, and say so when the disk is full."""

import contextlib
import errno
import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_FULL = (errno.ENOSPC, errno.EDQUOT)


class StoreError(RuntimeError):
    """A run folder cannot be written or read; the message is one line for a person."""


def is_disk_full(error: OSError) -> bool:
    """Return whether an error is a full disk or a full quota."""
    return error.errno in _FULL


@contextlib.contextmanager
def writing(what: str, folder: Path) -> Iterator[None]:
    """Turn the errors of a write into one line that says what is safe and how to resume.

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
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            # zipfile raises ValueError when it is closed after a write that failed.
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        wrong, remedy = (
            f"cannot write {what} under {folder}: {cause.strerror or cause}",
            "mend this",
        )
        if is_disk_full(cause):
            wrong, remedy = f"disk full while writing {what} under {folder}", "free space"
        raise StoreError(
            f"{wrong}; the last checkpoint is kept: {remedy} and rerun the same command to resume"
        ) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of `path` once it is safely on the disk.

    Any number of processes may replace the same file; the last one wins.

    Args:
      path: the file to create or replace; its folder is created.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def make_folder(path: Path) -> None:
    """Create a folder and those above it, so that they survive a loss of power."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _sync(path.parent)


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes left behind."""
    for leftover in folder.rglob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
