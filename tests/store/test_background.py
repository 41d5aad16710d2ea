"""Work in a thread: in order, never lost, its errors raised where they can be answered."""

import threading

import pytest

from catdog_jax.store import background
from catdog_jax.store.background import Background

LONG = 60.0  # seconds; a test that waits so long fails


class Killed(BaseException):
    """Stands for a kill."""


class Gate:
    """A piece of work that waits to be let through."""

    def __init__(self):
        self.begun, self.open, self.done = (threading.Event() for _ in range(3))

    def __call__(self):
        self.begun.set()
        assert self.open.wait(LONG)
        self.done.set()


@pytest.fixture
def gate():
    """Open in the end, so that no thread is left."""
    made = Gate()
    yield made
    made.open.set()


def failing(error):
    def work():
        raise error

    return work


def test_work_is_done_in_order_in_another_thread():
    seen = []
    with Background() as thread:
        for number in range(20):
            thread.submit(lambda n=number: seen.append((n, threading.current_thread())))
    assert [number for number, _ in seen] == list(range(20))
    assert {where for _, where in seen} != {threading.current_thread()}
    assert not any(where.is_alive() for _, where in seen)


def test_nobody_waits_for_work_under_way(gate):
    with Background() as thread:
        assert thread.idle()
        thread.submit(gate)
        assert gate.begun.wait(LONG)
        assert not thread.idle()
        assert not gate.done.is_set()
        gate.open.set()
        thread.finish()
        assert gate.done.is_set()
        assert thread.idle()


def test_no_more_than_a_few_wait_in_memory(gate, monkeypatch):
    monkeypatch.setattr(background, "LONGEST_QUEUE", 1)
    seen = []
    with Background() as thread:
        thread.submit(gate)
        assert gate.begun.wait(LONG)
        thread.submit(lambda: seen.append(1))  # waits in the queue
        threading.Timer(0.05, gate.open.set).start()
        thread.submit(lambda: seen.append(2))  # room only once the gate is open
        assert gate.open.is_set()
    assert seen == [1, 2]


@pytest.mark.parametrize("error", [OSError("full"), Killed()])
@pytest.mark.parametrize("call", ["check", "idle", "finish", "submit", "leave"])
def test_what_fails_is_raised_at_the_next_call_and_ends_all_work(error, call, gate):
    seen = []
    calls = {
        "check": Background.check,
        "idle": Background.idle,
        "finish": Background.finish,
        "submit": lambda thread: thread.submit(lambda: seen.append("submitted")),
        "leave": lambda thread: None,
    }

    def block():
        with Background() as thread:
            thread.submit(gate)
            thread.submit(failing(error))
            assert gate.begun.wait(LONG)
            thread.submit(lambda: seen.append("queued"))
            gate.open.set()
            thread._thread.join(LONG)
            calls[call](thread)
            assert call == "leave"

    with pytest.raises(type(error)) as caught:
        block()
    assert caught.value is error
    assert seen == []


def test_an_error_outside_waits_for_all_that_was_given(gate):
    seen = []

    def block():
        with Background() as thread:
            thread.submit(gate)
            thread.submit(lambda: seen.append("kept"))
            threading.Timer(0.05, gate.open.set).start()
            raise ValueError("outside")

    with pytest.raises(ValueError, match="outside"):
        block()
    assert seen == ["kept"]


def test_a_kill_outside_begins_nothing_more(gate):
    seen = []

    thread = Background()

    def block():
        with thread:
            thread.submit(gate)
            assert gate.begun.wait(LONG)
            thread.submit(lambda: seen.append("never"))
            threading.Timer(0.05, gate.open.set).start()
            raise Killed

    with pytest.raises(Killed):
        block()
    assert gate.done.is_set()
    assert not thread._thread.is_alive()
    assert seen == []


def test_a_kill_does_not_wait_for_a_disk_that_hangs(gate, monkeypatch):
    monkeypatch.setattr(background, "LEAVING_SECONDS", 0.01)

    thread = Background()

    def block():
        with thread:
            thread.submit(gate)
            assert gate.begun.wait(LONG)
            raise Killed

    with pytest.raises(Killed):
        block()
    assert not gate.done.is_set()
    assert thread._thread.daemon


def test_after_the_end_no_work_is_taken():
    with Background() as thread:
        pass
    with pytest.raises(RuntimeError, match="after the end"):
        thread.submit(lambda: None)
