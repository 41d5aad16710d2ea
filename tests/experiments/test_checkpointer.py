"""Checkpoints and waves go to the disk while training goes on, and never in a wrong order."""

import signal
import threading

import numpy as np
import pytest

from catdog_jax import interrupt
from catdog_jax.population.waves import Segment, Snapshot, Wave
from catdog_jax.run import checkpointer
from catdog_jax.run.checkpointer import Checkpointer
from catdog_jax.run.task import Task
from catdog_jax.store import RunFolder, StoreError
from catdog_jax.types import Recipe

LONG = 60.0
NUM_STEPS = 9
TASK = object.__new__(Task)
vars(TASK).update(label="linear", recipe=Recipe(NUM_STEPS, 1, "sgd", 0.1, eval_every=3))


class Folder(RunFolder):
    """Stands for a run folder whose disk writes only when it is let."""

    path = "folder"
    error = None

    def __init__(self):
        self.manifest = {}
        self.saved = []
        self.begun, self.open = threading.Event(), threading.Event()

    def save_checkpoint(self, model, wave, step, tree):
        self.begun.set()
        assert self.open.wait(LONG)
        if self.error is not None:
            raise self.error
        self.saved.append((wave, step))

    def save_wave(self, model, wave, observed, params):
        self.save_checkpoint(model, wave, "end", None)

    def update_manifest(self, timings):
        self.manifest = {"timings": timings}


@pytest.fixture
def folder(monkeypatch):
    monkeypatch.setattr(checkpointer, "CHECKPOINT_SECONDS", -1)  # each segment is due
    made = Folder()
    yield made
    made.open.set()


def segment(step, wave=0):
    return Segment(wave, step, 1, 0.5, 0.25, lambda: Snapshot(np.full(2, step), {}))


def wave(number=0):
    none = np.zeros(0)
    return Wave(number, none, {}, {"test": none}, none, {})


def test_training_goes_on_while_the_disk_is_written_and_order_is_kept(folder, monkeypatch):
    with Checkpointer(folder, "00_linear", TASK) as keep:
        keep.after_segment(segment(1), 4)
        assert folder.begun.wait(LONG)
        for step in (2, 3, NUM_STEPS):  # left out while one is written; the last has none
            keep.after_segment(segment(step), 4)
        keep.keep_wave(wave())
        keep.after_segment(segment(1, wave=1), 4)  # the next wave trains on
        assert folder.saved == []
        folder.open.set()
        monkeypatch.setattr(checkpointer, "PATIENCE_SECONDS", LONG)
        keep.after_segment(segment(2, wave=1), 4)
        keep.save(segment(2, wave=1))  # is saved already
    assert folder.saved == [(0, 1), (0, "end"), (1, 2)]


def test_no_more_than_a_few_writes_wait_in_memory(folder, monkeypatch):
    monkeypatch.setattr(checkpointer, "LONGEST_QUEUE", 1)
    with Checkpointer(folder, "00_linear", TASK) as keep:
        for number in range(2):
            keep.keep_wave(wave(number))
        threading.Timer(0.05, folder.open.set).start()
        keep.keep_wave(wave(2))
    assert folder.saved == [(0, "end"), (1, "end"), (2, "end")]


def test_times_of_all_sessions_are_added(folder):
    folder.open.set()
    folder.manifest = {"timings": {"linear": {"seconds": 100.0, "rate": 1.0}, "mlp": "untouched"}}
    with Checkpointer(folder, "00_linear", TASK) as keep:
        for step in (1, 2, 3):
            keep.after_segment(segment(step), 4)
        keep.keep_wave(wave())
    timings = folder.manifest["timings"]
    assert timings["mlp"] == "untouched"
    assert timings["linear"]["rate"] == pytest.approx(4 / 0.25)
    assert 100 < timings["linear"]["seconds"] < 100 + LONG


@pytest.mark.parametrize("steps", [(1,), (1, 2, 3)])
def test_a_refused_write_is_raised_in_the_main_thread(folder, monkeypatch, steps):
    monkeypatch.setattr(checkpointer, "PATIENCE_SECONDS", LONG)
    folder.error = StoreError("disk full")
    folder.open.set()
    done = []

    def block():
        with Checkpointer(folder, "00_linear", TASK) as keep:
            for step in steps:
                keep.after_segment(segment(step), 4)
                done.append(step)

    with pytest.raises(StoreError, match="disk full"):
        block()
    assert done == [1]
    assert folder.manifest == {}


def test_an_interrupt_waits_until_the_last_state_is_saved(folder, monkeypatch):
    monkeypatch.setattr(interrupt, "arrived", [signal.SIGTERM])
    threading.Timer(0.05, folder.open.set).start()
    words = "interrupted by SIGTERM at step 2 of linear; saved in folder"
    with (
        pytest.raises(interrupt.Interrupted, match=words),
        Checkpointer(folder, "00_linear", TASK) as keep,
    ):
        keep.after_segment(segment(2), 4)
    assert folder.saved == [(0, 2)]


def test_an_interrupt_elsewhere_waits_for_all_that_is_to_be_written(folder):
    def block():
        with Checkpointer(folder, "00_linear", TASK) as keep:
            keep.after_segment(segment(1), 4)
            assert folder.begun.wait(LONG)
            keep.keep_wave(wave())
            threading.Timer(0.05, folder.open.set).start()
            raise interrupt.Interrupted(signal.SIGINT, "elsewhere")

    with pytest.raises(interrupt.Interrupted, match="elsewhere"):
        block()
    assert folder.saved == [(0, 1), (0, "end")]
