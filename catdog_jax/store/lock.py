"""One process per run folder: a lock of the operating system, so that it dies with its holder."""

import contextlib
import errno
import os
import sys
import weakref
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_BUSY = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_PID_LENGTH = 32
_LOCKED_BYTE = 1 << 30  # msvcrt locks bar reading, so the byte lies beyond the holder's number


class FolderInUse(RuntimeError):
    """Another process holds the run folder; the message is one line for a person."""


class FolderLock:
    """An exclusive lock on a file, held until `release` or the end of the process.

    Args:
      path: the lock file; created if missing, and never removed: removing a lock file would let
        two processes each hold "the" lock.

    Raises:
      FolderInUse: another process, or another `FolderLock` of this one, holds it.
      OSError: the file cannot be written, or the file system has no locks.
    """

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(self._handle)
        except OSError as error:
            holder = os.pread(self._handle, _PID_LENGTH, 0) if hasattr(os, "pread") else b""
            os.close(self._handle)
            if error.errno not in _BUSY:
                raise
            pid = holder.decode("ascii", "replace").strip()
            by = f" by process {pid}" if pid.isdigit() else " by another process"
            raise FolderInUse(
                f"run folder {path.parent} is in use{by}; wait for it, or choose another --name"
            ) from None
        _held.add(self)
        # The number is for the message only: a full disk must not keep a run from its folder.
        with contextlib.suppress(OSError):
            os.ftruncate(self._handle, 0)
            os.write(self._handle, f"{os.getpid()}\n".encode("ascii"))

    def release(self) -> None:
        """Let the next process in; does nothing the second time."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
            _held.discard(self)


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, 0, os.SEEK_SET)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


_held: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _forget_in_child() -> None:
    """Close the child's copies: a forked worker that outlives its parent must not hold the run."""
    for lock in list(_held):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
