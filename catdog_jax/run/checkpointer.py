"""Keeps what a model in training has reached: checkpoints, finished waves, times.

The disk is written to by a thread of its own, in order, so that training goes on meanwhile.
"""

import collections
import concurrent.futures
import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

from catdog_jax import interrupt
from catdog_jax.population.waves import Segment, Snapshot, Wave
from catdog_jax.run.task import Task
from catdog_jax.store import RunFolder

CHECKPOINT_SECONDS = 30.0
PATIENCE_SECONDS = 0.0  # how long a checkpoint that is due waits for older writes; then it is left
LONGEST_QUEUE = 2  # what waits is held in memory: more would be a disk that cannot keep up


class Checkpointer(contextlib.AbstractContextManager["Checkpointer"]):
    """Writes one model's checkpoints, waves and times into the run folder; a context manager.

    What fails in its thread is raised by a later call, at the latest at the end of the block;
    after the block nothing is left to be written.

    The manifest's timings of the model then hold:
      seconds: that all sessions spent on it.
      rate: member-steps a second of the training calls alone, without the first, which compiles.
      latest: of the latest session, where one process trains: Unix times in seconds of when its
        first training call, of one step, was back ('first_step'; on the disk at once), and when
        all was kept ('kept'); between these two it did 'steps' (summed over waves). The first
        evaluation, which compiles, comes before.
    """

    def __init__(self, folder: RunFolder, name: str, task: Task):
        """Begin; `name` is what the model is called in the folder."""
        self._folder, self._name, self._task = folder, name, task
        self._thread = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self._writes: collections.deque[concurrent.futures.Future[None]] = collections.deque()
        self._saved_at = time.monotonic()
        self._saved: tuple[int, int] | None = None  # wave and step
        self._begin = self._saved_at
        self._timed_steps = 0
        self._timed_seconds = 0.0
        self._clock = time.time() - self._begin  # so that no one who sets it changes a duration
        self._latest: dict[str, float] = {}

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown()
        if kind is None:
            self._is_written()
            if "first_step" in self._latest:
                self._latest["kept"] = self._clock + time.monotonic()
                self._keep_times()

    def restore(self, wave: int, like: Snapshot) -> Snapshot | None:
        """Return the last checkpoint of a wave, in the structure of another; None where none is."""
        found = self._folder.load_checkpoint(self._name, wave, like._asdict())
        return found and Snapshot(**found[1])

    def after_segment(self, segment: Segment, wave_size: int) -> None:
        """Save a checkpoint where one is due or a signal has come.

        Raises:
          Interrupted: a signal came; the state is on the disk.
        """
        # The first call compiles: it says nothing of the rate.
        first = "first_step" not in self._latest
        if first:
            self._latest |= {"first_step": self._clock + time.monotonic(), "steps": 0}
        else:
            self._timed_steps += segment.steps * wave_size
            self._timed_seconds += segment.seconds
            self._latest["steps"] += segment.steps
        self._is_written(0.0)
        late = time.monotonic() - self._saved_at > CHECKPOINT_SECONDS
        more = segment.step < self._task.schedule.num_steps
        if interrupt.arrived:
            self.save(segment)
            self._is_written()
            where = f" at step {segment.step} of {self._task.label}"
            interrupt.check(f"{where}; saved in {self._folder.path}")
        if late and more and self._is_written(PATIENCE_SECONDS):
            self.save(segment)
        elif first:
            self._write(lambda: None)  # the times alone

    def save(self, segment: Segment) -> None:
        """Save a checkpoint, where the state after this segment is not saved yet."""
        if self._saved == (segment.wave, segment.step):
            return
        self._saved = segment.wave, segment.step
        tree = segment.snapshot()._asdict()
        self._write(self._folder.save_checkpoint, self._name, *self._saved, tree)
        self._saved_at = time.monotonic()

    def keep_wave(self, wave: Wave) -> None:
        """Save a finished wave."""
        arrays = {
            "steps": wave.steps,
            "diverged_step": wave.diverged_step,
            "test_logits": wave.logits["test"],
            **wave.history,
        }
        self._write(self._folder.save_wave, self._name, wave.number, arrays, wave.params)

    def _is_written(self, seconds: float | None = None) -> bool:
        """Return whether all is on the disk within some seconds; raise what a write raised."""
        concurrent.futures.wait(self._writes, seconds)
        while self._writes and self._writes[0].done():
            self._writes.popleft().result()
        return not self._writes

    def _write(self, save: Callable[..., None], *args: Any) -> None:
        """Let the thread save something, then what was spent until now."""

        def write() -> None:
            save(*args)
            self._keep_times()

        if len(self._writes) > LONGEST_QUEUE:
            self._is_written()
        self._writes.append(self._thread.submit(write))

    def _keep_times(self) -> None:
        """Add what was spent, so that a continued run counts all sessions."""
        timings = self._folder.manifest.get("timings", {})
        spent = {"seconds": 0.0, "rate": math.nan, **timings.get(self._task.label, {})}
        now = time.monotonic()
        spent |= {"seconds": spent["seconds"] + now - self._begin, "latest": dict(self._latest)}
        self._begin = now
        if self._timed_seconds > 0:
            spent["rate"] = self._timed_steps / self._timed_seconds
        self._folder.update_manifest(timings={**timings, self._task.label: spent})
