"""One process per run folder: a lock of the operating system, so that it dies with its holder."""

import contextlib
import os
import sys
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_LOCKED_BYTE = 1 << 30  # msvcrt locks bar reading, so the byte lies beyond the holder's number


class FolderInUse(RuntimeError):
    """Another process holds the run folder; the message is one line for a person."""


def hold(path: Path) -> BinaryIO:
    """Lock a file, and write the number of this process into it.

    Args:
      path: the lock file; created if missing, and never removed: removing a lock file would let
        two processes each hold "the" lock.

    Returns:
      The open file; the lock is held until it is closed, or the process ends.

    Raises:
      FolderInUse: another process, or another call in this one, holds it.
      OSError: the file cannot be written, or the file system has no locks.
    """
    with contextlib.ExitStack() as undo:
        file = undo.enter_context(open(path, "ab+", buffering=0))
        if not _is_locked(file):
            holder = path.read_text(errors="replace").strip() or "unknown"
            raise FolderInUse(
                f"run folder {path.parent} is in use by process {holder}; wait for it, or choose "
                "another --name"
            )
        undo.pop_all()
    # The number is for the message only: a full disk must not keep a run from its folder.
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode("ascii"))
    return file


def _is_locked(file: BinaryIO) -> bool:
    """Try to lock a file; return whether that succeeded."""
    with contextlib.suppress(BlockingIOError, PermissionError):
        if sys.platform == "win32":
            file.seek(_LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
