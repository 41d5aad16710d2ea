"""Ctrl-C, SIGTERM and SIGHUP: at once where nothing is to be saved, else at the next safe place."""

import contextlib
import signal
import threading
from collections.abc import Iterator

GOES_ON = "rerun the same command to resume"  # what most work does after it was interrupted


class Interrupted(BaseException):
    """A signal ended the work; not an Exception, so that nothing swallows it."""

    def __init__(self, signal_number: int, message: str):
        super().__init__(message)
        self.signal = signal_number


class _Pending:
    number: int | None = None
    deferred = False


_pending = _Pending()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into Interrupted while inside; under nohup not the last."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, _frame: object) -> None:
        if _pending.deferred and _pending.number is None:
            _pending.number = number
            return
        raise _interrupted(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)  # nohup has it ignored
    previous = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        _pending.number, _pending.deferred = None, False
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def deferred(saved: str = "") -> Iterator[None]:
    """Hold the first signal back while inside; a second one interrupts at once.

    Args:
      saved: what to say of the work when it is done and a signal is still held back.

    Raises:
      Interrupted: at the end of the block, for a signal that nobody inside has answered.
    """
    _pending.deferred = True
    try:
        yield
    finally:
        _pending.deferred = False
    if _pending.number is not None:
        raise _interrupted(_pending.number, saved)


def pending() -> int | None:
    """Return the number of a signal that is held back, or None."""
    return _pending.number


def _interrupted(number: int, saved: str = "") -> Interrupted:
    words = [f"interrupted by {signal.Signals(number).name}", saved, GOES_ON]
    return Interrupted(number, "; ".join(word for word in words if word))
