"""Writes that are whole or absent, whatever kills the process, and say so when the disk is full."""

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


class StoreError(RuntimeError):
    """A run folder cannot be written or read; the message is one line for a person."""


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
    except OSError as error:
        raise StoreError(
            f"cannot write {what} under {folder}: {error.strerror or error}; the last checkpoint "
            "is kept: mend this and rerun the same command to resume"
        ) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of `path` once it is safely on the disk.

    Any number of processes may replace the same file; the last one wins.

    Args:
      path: the file to create or replace; its folder is created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
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
    if os.name != "nt":  # Windows opens no folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a file, in hexadecimal; None where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
