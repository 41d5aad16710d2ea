"""Ctrl-C, SIGTERM and SIGHUP: noted when they come, answered at the next safe place.

Who takes the signals (a command, see `experiments/_signals.py`) adds to `arrived`; all others only
ask. Nothing is raised where the interpreter happens to be: inside an import or a weak reference's
callback an exception is lost.
"""

import signal

GOES_ON = "rerun the same command to resume"  # what most work does after it was interrupted

arrived: list[int] = []  # numbers of the signals that have come


class Interrupted(BaseException):
    """A signal ended the work; not an Exception, so that nothing swallows it."""

    def __init__(self, number: int, after: str = ""):
        super().__init__(f"interrupted by {signal.Signals(number).name}{after}; {GOES_ON}")
        self.signal = number


def check(after: str = "") -> None:
    """End the work here where a signal has come.

    Args:
      after: where the work stands, and what of it is saved.

    Raises:
      Interrupted: see above.
    """
    if arrived:
        raise Interrupted(arrived[0], after)
