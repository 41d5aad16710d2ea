"""What a command does, and how long all of it still takes.

On a terminal two bars, of the stage and of the whole command; where output is piped, a line now and
then. The folder of a run that trains keeps the same in `progress.jsonl`, a line of JSON for each
stage, segment and evaluation.
"""

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from catdog_jax import interrupt

LINE_SECONDS = 15.0
FIRST_SHARE = 0.1  # of a command, before which its time is 'about' so much
TRUST = 0.1  # what was expected of a stage counts like so much of it measured

_ahead: dict[str, float] = {}  # title of each stage to come -> seconds, as expected
# 'line': when the last one was printed; 'expected' and 'taken' are of stages that are over.
_of_all = {"begin": 0.0, "line": 0.0, "expected": 0.0, "taken": 0.0}
_blocks: list[Mapping[str, float]] = []
_shown: list[Any] = []  # the bars of the latest stage
_log: list[Path] = []


@contextlib.contextmanager
def expecting(stages: Mapping[str, float], log: Path | None = None) -> Iterator[float]:
    """Say what is to come, stage by stage; used inside another, it adds to what is known.

    Args:
      stages: title of a stage, as `Progress` takes it -> seconds it is expected to take.
      log: folder of the run; its `progress.jsonl` is added to until the outermost block ends.

    Yields:
      The seconds of all that is to come.
    """
    if not _blocks:
        now = time.monotonic()
        _of_all.update(begin=now, line=now, expected=0.0, taken=0.0)
    _blocks.append(stages)
    _ahead.update(stages)
    _log[:] = [log / "progress.jsonl"] if log else _log
    try:
        yield sum(_ahead.values())
    finally:
        for title in stages:
            _ahead.pop(title, None)
        if len(_blocks) == 1:
            _log.clear()
            _hide()
        _blocks.pop()


class Progress(contextlib.AbstractContextManager["Progress"]):
    """Progress over a known amount of work, a stage of a command, on standard error."""

    def __init__(self, title: str, total: int, unit: str, preparing: str = ""):
        """Start.

        Args:
          title: what is being done.
          total: units of work in all.
          unit: what is counted.
          preparing: what is done until `to` is called for the first time.
        """
        self._title, self._total, self._unit = title, max(total, 1), unit
        self._begin = time.monotonic()
        self._expected = _ahead.pop(title, math.nan)
        self._first: tuple[int, float] | None = None
        self._done, self._bars = 0, None
        if sys.stderr.isatty():
            _hide()
            self._bars = _bars()
            _shown[:] = [self._bars]
            self._bars.start()
            for text in (f"{title}: {preparing}" if preparing else title, "all"):
                self._bars.add_task(text, total=1.0, note="")
        elif not _blocks:
            _of_all["line"] = self._begin
        elif self._begin - _of_all["line"] >= LINE_SECONDS:
            self._line(f"{title}: {preparing} …" if preparing else f"{title} …")
        self._tell({"doing": preparing or title})

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()
        if not math.isnan(self._expected):
            _of_all["expected"] += self._expected
            _of_all["taken"] += time.monotonic() - self._begin

    def to(self, done: int, note: str = "", stop: bool = True, **log: Any) -> None:
        """Tell how much is done in all, with a word on how it goes.

        Args:
          done: units of work.
          note: how it goes.
          stop: whether work may end here.
          **log: what else `progress.jsonl` keeps of it.

        Raises:
          Interrupted: a signal has come, and `stop` says that work may end here.
        """
        if stop:
            interrupt.check()
        if self._first is None:  # what came before was compilation, which says nothing of the rate
            self._first = done, time.monotonic()
        self._done = done
        self._tell({"done": round(done / self._total, 4), **log}, note)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if self._bars:
            self._bars.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def _tell(self, entry: dict[str, Any], note: str = "") -> None:
        now = time.monotonic()
        left, share = self._left(now)
        if _log:
            seconds = None if math.isnan(left) else round(left, 1)
            entry = {"time": round(time.time(), 3), "stage": self._title, **entry, "left": seconds}
            # A full disk is told by what matters more.
            with contextlib.suppress(OSError), _log[0].open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        words = [note] if note else []
        if not math.isnan(left):
            about = "" if share > FIRST_SHARE else "about "
            words.append(f"{about}{duration(left)} left{' in all' if _ahead else ''}")
        if self._bars:
            stage, everything = self._bars.task_ids
            title = {"description": self._title} if self._first else {}
            self._bars.update(stage, completed=self._done / self._total, note=note, **title)
            known = 0.0 if math.isnan(share) else share
            self._bars.update(everything, completed=known, note="".join(words[bool(note) :]))
        elif self._first and now - _of_all["line"] >= LINE_SECONDS:
            done = f"{100 * self._done / self._total:.0f} % of {self._total:,} {self._unit}"
            self._line(", ".join([f"{self._title}: {done}", *words]))

    def _line(self, text: str) -> None:
        _of_all["line"] = time.monotonic()
        print(text, file=sys.stderr, flush=True)

    def _left(self, now: float) -> tuple[float, float]:
        """Estimate the seconds that the command still takes, and the share of it that is over."""
        spent, expected = now - self._begin, self._expected
        if self._first is None:
            own = max(expected - spent, 0.0)
        else:
            since, begin = self._first
            trusted = 0.0 if math.isnan(expected) else TRUST
            units = trusted * self._total + self._done - since
            then = max(expected - (begin - self._begin), 0.0) if trusted else 0.0
            seconds = now - begin + trusted * then
            own = (self._total - self._done) * seconds / units if units else math.nan
        known = 0.0 if math.isnan(expected) else expected
        whole = spent + own if known else 0.0
        pace = (_of_all["taken"] + whole) / max(_of_all["expected"] + known, 1e-9)
        left = own + sum(_ahead.values()) * (pace or 1.0)
        over = now - (_of_all["begin"] if _ahead or known else self._begin)
        return left, over / max(over + left, 1e-9)


def _hide() -> None:
    for bars in _shown:
        bars.stop()


def _bars() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    room = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return Bars(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=room),
        BarColumn(14),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True)),
        console=Console(file=sys.__stderr__),
        refresh_per_second=4,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        expand=True,
    )


def reading_progress() -> Callable[[int, int], None]:
    """Make a function (done, total) that tells how many pictures are read of how many."""
    bars: dict[int, Progress] = {}

    def to(done: int, total: int) -> None:
        if total not in bars:
            bars[total] = Progress("preparing pictures", total, "pieces")
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
