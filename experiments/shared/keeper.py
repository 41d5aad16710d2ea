"""Keeps what a model in training has reached: checkpoints, finished waves, times."""

import math
import signal
import time

from catdog_jax.population import Snapshot
from catdog_jax.population.waves import Segment, Wave
from catdog_jax.store import RunFolder
from experiments.shared.interrupt import Interrupted, pending
from experiments.shared.jobs import Job

CHECKPOINT_SECONDS = 30.0


class Keeper:
    """Keeps one model's checkpoints, waves and times in the run folder."""

    def __init__(self, folder: RunFolder, job: Job):
        self._folder, self._job = folder, job
        self._saved_at = time.monotonic()
        self._begin = self._saved_at
        self._first_call = True
        self._timed_steps = 0
        self._timed_seconds = 0.0

    def restore(self, wave: int, like: Snapshot) -> Snapshot | None:
        tree = {"state": like.state, "history": like.history}
        found = self._folder.load_checkpoint(self._job.part, wave, tree)
        if found is None:
            return None
        step, tree = found
        return Snapshot(step, tree["state"], tree["history"])

    def after_segment(self, segment: Segment, wave_size: int) -> None:
        # The first call compiles: it says nothing of the rate.
        if not self._first_call:
            self._timed_steps += segment.steps * wave_size
            self._timed_seconds += segment.seconds
        self._first_call = False
        stop = pending()
        last = segment.step == self._job.schedule.num_steps
        late = time.monotonic() - self._saved_at > CHECKPOINT_SECONDS
        if stop is not None or (late and not last):
            snapshot = segment.snapshot()
            tree = {"state": snapshot.state, "history": snapshot.history}
            self._folder.save_checkpoint(self._job.part, segment.wave, snapshot.step, tree)
            self._saved_at = time.monotonic()
            self._keep_times()
        if stop is not None:
            raise Interrupted(
                stop,
                f"interrupted by {signal.Signals(stop).name} at step {segment.step} of "
                f"{self._job.label}; saved in {self._folder.path}; the same command goes on",
            )

    def keep_wave(self, wave: Wave) -> None:
        arrays = {
            "steps": wave.steps,
            "frozen_step": wave.frozen_step,
            "test_logits": wave.logits["test"],
            **wave.history,
        }
        self._folder.save_wave(self._job.part, wave.number, arrays, wave.params)
        self._keep_times()

    def _keep_times(self) -> None:
        """Add what was spent since the last call, so that a continued run counts all sessions."""
        timings = dict(self._folder.manifest.get("timings", {}))
        spent = dict(timings.get(self._job.label, {"seconds": 0.0, "rate": math.nan}))
        now = time.monotonic()
        spent["seconds"] += now - self._begin
        self._begin = now
        if self._timed_seconds > 0:
            spent["rate"] = self._timed_steps / self._timed_seconds
        timings[self._job.label] = spent
        self._folder.update_manifest(timings=timings)
