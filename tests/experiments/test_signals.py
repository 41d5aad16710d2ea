"""Signals at random moments, from the import of JAX to the last figure: none is ever lost."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HANDLED = 0.5  # seconds after which the handlers stand
FLAGS = (
    "--dataset=procedural:num_train=256:num_valid=8:num_test=64",
    "--image_size=16",
    "--models=linear,mlp:width=8:depth=1",
    "--num_members=2",
    "--num_steps=400",
    "--batch_size=16",
)


# Under nohup, or behind an &, signals are ignored.
DEFAULTS = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
program = [sys.executable, "-m", "experiments.init_convergence"]
os.execv(sys.executable, [*program, *sys.argv[1:]])
"""


def command(out_dir, cache):
    """The experiment as a person starts it, with the signals as they are by default."""
    return subprocess.Popen(
        [sys.executable, "-c", DEFAULTS, *FLAGS, f"--out_dir={out_dir}"],
        cwd=ROOT,
        env={**os.environ, "CATDOG_CACHE_DIR": str(cache), "JAX_NUM_CPU_DEVICES": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process):
    """Wait for its end; give its exit status and what it said."""
    said, _ = process.communicate(timeout=300)
    return process.returncode, said


def results(out_dir):
    (file,) = out_dir.glob("*/*/results.nc")
    return file.read_bytes()


@pytest.mark.slow  # 300 starts, over half an hour
@pytest.mark.parametrize("cold", [True, False])
def test_no_signal_is_lost_and_the_run_ends_with_the_same_bits(cold, tmp_path):
    cache, count = tmp_path / "cache", int(os.environ.get("CATDOG_SIGNALS", 50 if cold else 100))
    begin = time.monotonic()
    assert ended(command(tmp_path / "whole", cache))[0] == 0
    if not cold:
        begin = time.monotonic()
        assert ended(command(tmp_path / "again", cache))[0] == 0
    lasts, whole = time.monotonic() - begin, results(tmp_path / "whole")
    draw = random.Random(int(cold))
    for index in range(count):
        number, after = SIGNALS[index % 3], draw.uniform(HANDLED, lasts)
        if cold:
            shutil.rmtree(cache, ignore_errors=True)
        out_dir = tmp_path / f"{index}"
        process = command(out_dir, cache)
        time.sleep(after)
        was_done = process.poll() is not None
        process.send_signal(number)
        status, said = ended(process)
        case = f"{number.name} after {after:.2f} of {lasts:.2f} s: {said}"
        assert status == (0 if was_done else 128 + number), case
        assert was_done or f"{number.name}: stops at the next safe place" in said, case
        assert not any(word in said for word in ("Traceback", "ignored", "Error")), case
        assert ended(command(out_dir, cache))[0] == 0, case
        assert results(out_dir) == whole, case
