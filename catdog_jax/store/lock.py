"""One process per run folder: a lock of the operating system, so that it dies with its holder."""

import contextlib
import errno
import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_BUSY = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_LOCKED_BYTE = 1 << 30  # msvcrt locks bar reading, so the byte lies beyond the holder's number


class FolderInUse(RuntimeError):
    """Another process holds the run folder; the message is one line for a person."""


def hold(path: Path, patience: float = 0.0) -> BinaryIO:
    """Lock a file, and write the number of this process into it.

    Args:
      path: the lock file; created if missing, and never removed: removing a lock file would let
        two processes each hold "the" lock.
      patience: seconds to wait for another holder to let go, ≥ 0.

    Returns:
      The open file; the lock is held until it is closed, or the process ends.

    Raises:
      FolderInUse: another process, or another call in this one, holds it.
      OSError: the file cannot be written, or the file system has no locks.
    """
    end = time.monotonic() + patience
    with contextlib.ExitStack() as undo:
        file = undo.enter_context(open(path, "ab+", buffering=0))
        while not _is_locked(file):
            if time.monotonic() >= end:
                file.seek(0)
                holder = file.read(32).decode("ascii", "replace").strip() or "unknown"
                raise FolderInUse(
                    f"run folder {path.parent} is in use by process {holder}; wait for it, or "
                    "choose another --name"
                )
            time.sleep(0.2)
        undo.pop_all()
    # The number is for the message only: a full disk must not keep a run from its folder.
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode("ascii"))
    return file


def _is_locked(file: BinaryIO) -> bool:
    """Try to lock a file; return whether that succeeded."""
    try:
        if sys.platform == "win32":
            file.seek(_LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _BUSY:
            raise
        return False
    return True
