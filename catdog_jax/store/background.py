"""Writes that nobody waits for: one thread carries them out, in the order they were given."""

import collections
import threading
from collections.abc import Callable
from types import TracebackType

LONGEST_QUEUE = 2  # what is queued stays in memory: more would be a disk that cannot keep up
LEAVING_SECONDS = 5.0


class Background:
    """A thread that carries out one piece of work after another; a context manager.

    After a piece of work has failed nothing more is carried out, and what it raised, BaseException
    included, is raised in the caller at the next call, or at the end of the block, where no other
    error leaves it. Leaving the block waits for all that was given; where a BaseException leaves it
    (a kill, a second Ctrl-C) only for the piece under way, and not for long.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: collections.deque[Callable[[], None]] = collections.deque()
        self._working = False
        self._closed = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def submit(self, work: Callable[[], None]) -> None:
        """Queue a piece of work; waits where LONGEST_QUEUE pieces are queued already."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._queue) < LONGEST_QUEUE)
            self.check()
            if self._closed:
                raise RuntimeError("no work is taken after the end")
            self._queue.append(work)
            self._changed.notify_all()
            if self._thread is None:
                # A daemon, so that a disk that hangs does not keep the process from its end.
                self._thread = threading.Thread(
                    target=self._work, name="catdog_jax writing", daemon=True
                )
                self._thread.start()

    def check(self) -> None:
        """Raise what a piece of work has raised."""
        if self._error is not None:
            raise self._error

    def idle(self, seconds: float = 0.0) -> bool:
        """Return whether all is carried out, within some seconds; raises as `check`."""
        with self._changed:
            done = self._changed.wait_for(self._is_idle, seconds)
            self.check()
            return done

    def finish(self) -> None:
        """Wait until all is carried out; raises as `check`."""
        with self._changed:
            self._changed.wait_for(self._is_idle)
            self.check()

    def __enter__(self) -> "Background":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        at_once = kind is not None and not issubclass(kind, Exception)
        with self._changed:
            if at_once:
                self._queue.clear()
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(LEAVING_SECONDS if at_once else None)
        if kind is None:
            self.check()

    def _is_idle(self) -> bool:
        return not self._queue and not self._working

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return
                work, self._working = self._queue.popleft(), True
                self._changed.notify_all()
            error: BaseException | None = None
            try:
                work()
            except BaseException as raised:
                error = raised
            del work  # and the arrays it holds
            with self._changed:
                self._working = False
                if error is not None:
                    self._error = error
                    self._queue.clear()
                    self._closed = True
                self._changed.notify_all()
