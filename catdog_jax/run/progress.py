"""A bar with rate and time left; where output is piped, a line now and then."""

import contextlib
import sys
import time
from collections.abc import Callable

from tqdm import tqdm

from catdog_jax import interrupt

LINE_SECONDS = 15.0


class Progress(contextlib.AbstractContextManager["Progress"]):
    """Progress over a known amount of work, on standard error."""

    def __init__(self, title: str, total: int, unit: str):
        """Start.

        Args:
          title: what is being done.
          total: units of work in all.
          unit: what is counted.
        """
        self._title, self._total, self._unit = title, total, unit
        self._last_line = time.monotonic()
        self._start: tuple[int, float] | None = None
        # disable=None: where standard error is no terminal.
        looks = {"unit": f" {unit}", "unit_scale": True, "leave": False, "disable": None}
        self._bar = tqdm(total=total, desc=title, **looks)

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def to(self, done: int, note: str = "", stop: bool = True) -> None:
        """Tell how much is done in all, with a word on how it goes.

        Raises:
          Interrupted: a signal has come, and `stop` says that work may end here.
        """
        if stop:
            interrupt.check()
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)
        now = time.monotonic()
        if self._start is None:  # what came before was compilation, which says nothing of the rate
            self._start = done, now
        if self._bar.disable and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            share = 100 * done / max(self._total, 1)
            words = [f"{self._title}: {share:.0f} % of {self._total:,} {self._unit}"]
            since, begin = self._start
            if done > since:
                rate = (done - since) / max(now - begin, 1e-9)
                pace = f"{rate:,.1f} a second" if rate >= 0.1 else f"{duration(1 / rate)} each"
                words += [pace, f"{duration((self._total - done) / rate)} left"]
            print(", ".join([*words, *([note] if note else [])]), file=sys.stderr, flush=True)


def reading_progress() -> Callable[[int, int], None]:
    """Make a function (done, total) that tells how many pictures are read of how many."""
    bars: dict[int, Progress] = {}

    def to(done: int, total: int) -> None:
        if total not in bars:
            bars[total] = Progress("reading pictures", total, "files")
        bars[total].to(done)
        if done >= total:
            bars.pop(total).__exit__()

    return to


def duration(seconds: float | int) -> str:
    """Write seconds for a person: '8 s', '3 min', '2.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
