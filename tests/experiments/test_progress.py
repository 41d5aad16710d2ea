"""What a command tells while it works: on a terminal, in a pipe, in progress.jsonl."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from catdog_jax.run import progress
from catdog_jax.run.progress import Progress, expecting

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    return now


def test_time_left_is_that_of_the_whole_command_at_its_own_pace(clock, tmp_path, capsys):
    """Twice as slow as expected is told so of the stages to come, too."""
    with expecting({"drawing": 10.0}), expecting({"a": 20.0, "b": 40.0}, tmp_path) as total:
        assert total == 70
        with Progress("a", 16, "steps", "compiling") as stage:
            clock[0] += 8  # it compiles
            for done in (0, 8, 16):
                stage.to(done, step=done)
                clock[0] += 16
        with Progress("b", 1, "steps"):
            clock[0] += 100
        with Progress("drawing", 1, "figures") as stage:
            stage.to(1)
    assert not progress._ahead
    text = (tmp_path / "progress.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["stage"] for line in lines] == ["a", "a", "a", "a", "b", "drawing", "drawing"]
    assert [line.get("step") for line in lines[1:4]] == [0, 8, 16]
    # Halfway 8 steps took 16 s, and a tenth of what was expected counts like measured; the others
    # then take as many times longer than expected as this one.
    own = 8 * (16 + 1.2) / (8 + 1.6)
    left = [20 + 50, 12 + 50, own + 50 * (24 + own) / 20, 50 * 40 / 20]
    left += [40 + 10 * (56 + 40) / (20 + 40), 10, 0]
    assert [line["left"] for line in lines] == pytest.approx(left, abs=0.06)
    said = capsys.readouterr().err
    assert "a: 50 % of 16 steps, 2 min left in all\n" in said


def test_a_terminal_gets_a_word_before_jax_is_loaded(tmp_path):
    """JAX that cannot be loaded stands in for it."""
    (tmp_path / "jax.py").write_text("raise ValueError('not here')")
    there, here = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "experiments.init_convergence"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        stderr=here,
        cwd=ROOT,
    ) as process:
        assert process.wait() == 2
    assert os.read(there, 4096).decode().startswith("loading JAX …\rerror: JAX does not start")
