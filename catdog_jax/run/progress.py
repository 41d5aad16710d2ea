"""A bar with rate and time left; where output is piped, a line now and then."""

import sys
import time
from types import TracebackType

from tqdm import tqdm

LINE_SECONDS = 15.0


class Progress:
    """Progress over a known amount of work, on standard error."""

    def __init__(self, title: str, total: int, unit: str, done: int = 0):
        """Start.

        Args:
          title: what is being done.
          total: units of work in all.
          unit: what is counted.
          done: units that need not be done any more.
        """
        self._title, self._total, self._unit = title, total, unit
        self._done = done
        self._last_line = time.monotonic()
        self._start: tuple[int, float] | None = None
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=total, initial=done, desc=title, unit=f" {unit}", unit_scale=True, leave=False
            )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def to(self, done: int, note: str = "") -> None:
        """Tell how much is done in all, with a word on how it goes."""
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._done)
        self._done = done
        now = time.monotonic()
        if self._start is None:  # what came before was compilation, which says nothing of the rate
            self._start = done, now
        if self._bar is None and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            share = 100 * done / max(self._total, 1)
            words = [f"{self._title}: {share:.0f} % of {self._total:,} {self._unit}"]
            since, begin = self._start
            if done > since:
                rate = (done - since) / max(now - begin, 1e-9)
                pace = f"{rate:,.1f} a second" if rate >= 0.1 else f"{duration(1 / rate)} each"
                words += [pace, f"{duration((self._total - done) / rate)} left"]
            print(", ".join([*words, *([note] if note else [])]), file=sys.stderr, flush=True)


class ReadingProgress:
    """Progress of reading pictures, whose number is known only when it begins."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._total = 0

    def to(self, done: int, total: int) -> None:
        """Tell how many of how many files are done; a new total starts a new bar."""
        if self._bar is None or total != self._total:
            self._bar, self._total = Progress("reading pictures", total, "files"), total
        self._bar.to(done)
        if done >= total:
            self._bar.__exit__(None, None, None)
            self._bar = None


def duration(seconds: float | int) -> str:
    """Write seconds for a person: '8 s', '3 min', '2.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
