"""Checkpoints and waves go to the disk while training goes on, and never in a wrong order."""

import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from catdog_jax.population import Schedule, Snapshot, Wave
from catdog_jax.population.waves import Segment
from catdog_jax.store import StoreError
from experiments.shared import interrupt, keeper
from experiments.shared.keeper import Keeper

LONG = 60.0
NUM_STEPS = 9
JOB = SimpleNamespace(part="00_linear", label="linear", schedule=Schedule(NUM_STEPS, 3))


class Folder:
    """Stands for a run folder whose disk writes only when it is let."""

    def __init__(self):
        self.manifest = {}
        self.saved = []
        self.begun, self.open = threading.Event(), threading.Event()
        self.path = "folder"
        self.error = None

    def _save(self, *what):
        self.begun.set()
        assert self.open.wait(LONG)
        if self.error is not None:
            raise self.error
        self.saved.append(what)

    def save_checkpoint(self, part, wave, step, tree):
        self._save("checkpoint", wave, step, tree["state"].copy())

    def save_wave(self, part, wave, arrays, params):
        self._save("wave", wave)

    def update_manifest(self, timings):
        self.manifest = {"timings": timings}


@pytest.fixture
def folder(monkeypatch):
    monkeypatch.setattr(keeper, "CHECKPOINT_SECONDS", -1)  # each segment is due
    made = Folder()
    yield made
    made.open.set()


def segment(step, wave=0):
    def snapshot():
        return Snapshot(step, np.full(2, step), {})

    return Segment(wave, step, 1, 0.5, 0.25, snapshot)


def wave(number=0):
    none = np.zeros(0)
    return Wave(number, 0, none, {}, {"test": none}, none, {})


def test_a_checkpoint_is_left_out_while_one_is_written(folder):
    with Keeper(folder, JOB) as keep:
        keep.after_segment(segment(1), 4)
        assert folder.begun.wait(LONG)
        for step in (2, 3):  # these come back although the disk does not move
            keep.after_segment(segment(step), 4)
        assert folder.saved == []
        folder.open.set()
        assert keep._background.idle(LONG)
        keep.after_segment(segment(4), 4)
    assert [what[:3] for what in folder.saved] == [("checkpoint", 0, 1), ("checkpoint", 0, 4)]
    assert [what[3].tolist() for what in folder.saved] == [[1, 1], [4, 4]]


def test_a_wave_comes_after_its_checkpoints_and_its_last_step_has_none(folder):
    with Keeper(folder, JOB) as keep:
        keep.after_segment(segment(1), 4)
        assert folder.begun.wait(LONG)
        keep.after_segment(segment(NUM_STEPS), 4)
        keep.keep_wave(wave())
        keep.after_segment(segment(1, wave=1), 4)  # the next wave trains on
        assert folder.saved == []
        folder.open.set()
    assert [what[:3] for what in folder.saved] == [("checkpoint", 0, 1), ("wave", 0)]


def test_a_state_is_saved_once_also_on_request(folder, monkeypatch):
    folder.open.set()
    with Keeper(folder, JOB) as keep:
        keep.after_segment(segment(1), 4)
        keep.save(segment(1))
        monkeypatch.setattr(keeper, "CHECKPOINT_SECONDS", 1e9)
        keep.after_segment(segment(2), 4)
        keep.save(segment(2))
        keep.save(segment(2, wave=1))
    assert [what[:3] for what in folder.saved] == [
        ("checkpoint", 0, 1), ("checkpoint", 0, 2), ("checkpoint", 1, 2),
    ]  # fmt: skip


def test_times_of_all_sessions_are_added(folder):
    folder.open.set()
    folder.manifest = {"timings": {"linear": {"seconds": 100.0, "rate": 1.0}, "mlp": "untouched"}}
    with Keeper(folder, JOB) as keep:
        for step in (1, 2, 3):
            keep.after_segment(segment(step), 4)
        keep.keep_wave(wave())
    timings = folder.manifest["timings"]
    assert timings["mlp"] == "untouched"
    assert timings["linear"]["rate"] == pytest.approx(4 / 0.25)
    assert 100 < timings["linear"]["seconds"] < 100 + LONG


@pytest.mark.parametrize("call", ["segment", "wave", "end"])
def test_a_refused_write_is_raised_in_the_main_thread(folder, call):
    folder.error = StoreError("disk full while writing")
    folder.open.set()

    def block():
        with Keeper(folder, JOB) as keep:
            keep.after_segment(segment(1), 4)
            keep._background._thread.join(LONG)
            if call == "segment":
                keep.after_segment(segment(2), 4)
            elif call == "wave":
                keep.keep_wave(wave())
            assert call == "end"

    with pytest.raises(StoreError, match="disk full"):
        block()
    assert folder.saved == []
    assert folder.manifest == {}


def test_an_interrupt_waits_until_the_last_state_is_saved(folder, monkeypatch):
    def block():
        with Keeper(folder, JOB) as keep:
            keep.after_segment(segment(1), 4)
            assert folder.begun.wait(LONG)
            monkeypatch.setattr(keeper, "pending", lambda: signal.SIGTERM)
            threading.Timer(0.05, folder.open.set).start()
            keep.after_segment(segment(2), 4)

    with pytest.raises(interrupt.Interrupted) as caught:
        block()
    assert [what[2] for what in folder.saved] == [1, 2]
    assert caught.value.signal == signal.SIGTERM
    assert "at step 2 of linear; saved in folder" in str(caught.value)


def test_a_second_interrupt_does_not_wait(folder, monkeypatch):
    monkeypatch.setattr("catdog_jax.store.background.LEAVING_SECONDS", 0.01)

    def press():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    def block():
        with interrupt.interruptible(), interrupt.deferred(), Keeper(folder, JOB) as keep:
            press()  # this one is held back
            threading.Timer(0.05, press).start()
            keep.after_segment(segment(1), 4)

    with pytest.raises(interrupt.Interrupted) as caught:
        block()
    assert "saved" not in str(caught.value)
    assert folder.saved == []
