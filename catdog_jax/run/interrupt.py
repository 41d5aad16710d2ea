"""Ctrl-C, SIGTERM and SIGHUP: at once where nothing is to be saved, else at the next safe place."""

import contextlib
import signal
from collections.abc import Iterator

GOES_ON = "rerun the same command to resume"  # what most work does after it was interrupted


class Interrupted(BaseException):
    """A signal ended the work; not an Exception, so that nothing swallows it."""

    def __init__(self, number: int, after: str = ""):
        super().__init__(f"interrupted by {signal.Signals(number).name}{after}; {GOES_ON}")
        self.signal = number


class _Pending:
    number: int | None = None
    deferred = False


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into Interrupted while inside; under nohup not the last."""

    def on_signal(number: int, _frame: object) -> None:
        if _Pending.deferred and _Pending.number is None:
            _Pending.number = number
            return
        raise Interrupted(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)  # nohup has it ignored
    previous = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        _Pending.number, _Pending.deferred = None, False
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
    _Pending.deferred = True
    try:
        yield
    finally:
        _Pending.deferred = False
    if _Pending.number is not None:
        raise Interrupted(_Pending.number, saved and f"; {saved}")


def pending() -> int | None:
    """Return the number of a signal that is held back, or None."""
    return _Pending.number
