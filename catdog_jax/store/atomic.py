"""Writes that are whole or absent, whatever kills the process, and say so when the disk is full.

And one process per run folder: a lock of the operating system, so that it dies with its holder.
"""

import contextlib
import errno
import hashlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_LOCKED_BYTE = 1 << 30  # msvcrt locks bar reading, so the byte lies beyond the holder's number


class StoreError(RuntimeError):
    """A run folder cannot be held, written or read; the message is one line for a person."""


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
        except OSError as error:  # a share that syncs no folders has the name all the same
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF):
                raise
        finally:
            os.close(folder)


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a file, in hexadecimal; None where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def hold(path: Path) -> BinaryIO:
    """Lock a file, and write the number of this process into it.

    Args:
      path: the lock file; created if missing, and never removed: removing a lock file would let
        two processes each hold "the" lock.

    Returns:
      The open file; the lock is held until it is closed, or the process ends.

    Raises:
      StoreError: another process, or another call in this one, holds it.
      OSError: the file cannot be written, or the file system has no locks.
    """
    with contextlib.ExitStack() as undo:
        file = undo.enter_context(open(path, "ab+", buffering=0))
        try:
            if sys.platform == "win32":
                file.seek(_LOCKED_BYTE)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            holder = path.read_text(errors="replace").strip() or "unknown"
            raise StoreError(
                f"run folder {path.parent} is in use by process {holder}; wait for it, or choose "
                "another --name"
            ) from None
        undo.pop_all()
    # The number is for the message only: a full disk must not keep a run from its folder.
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode("ascii"))
    return file
