"""One process per run folder, and the lock dies with its holder."""

import os
import signal
import subprocess
import sys

import pytest

from catdog_jax.store import FolderInUse, RunFolder
from catdog_jax.store.lock import FolderLock

HOLD = """
import os, sys, time
from pathlib import Path
from catdog_jax.store.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
if sys.argv[2] == "fork" and os.fork():
    print(os.getpid(), flush=True)
    time.sleep(60)
elif sys.argv[2] == "fork":
    time.sleep(60)  # a worker that outlives its parent
else:
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path, request):
    """Another process that holds the lock of the run 'x'."""
    (tmp_path / "demo/x").mkdir(parents=True)
    command = [sys.executable, "-c", HOLD, str(tmp_path / "demo/x/lock"), request.param]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout.readline().strip() == str(process.pid)
        yield process
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("holder", ["plain", "fork"], indirect=True)
def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path, holder):
    with pytest.raises(FolderInUse) as caught:
        RunFolder.open(tmp_path, "demo", "x", {"a": 1})
    assert str(caught.value) == (
        f"run folder {tmp_path}/demo/x is in use by process {holder.pid}; "
        "wait for it, or choose another --name"
    )
    assert os.listdir(tmp_path / "demo/x") == ["lock"]
    with RunFolder.open(tmp_path, "demo", "x", {"a": 1}, fresh=True) as folder:
        assert folder.path.name == "x-2"
    holder.kill()
    # Not wait: its forked worker keeps the pipe open.
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    with RunFolder.open(tmp_path, "demo", "x", {"a": 1}) as folder:
        assert (folder.path / "lock").read_text() == f"{os.getpid()}\n"


def test_the_same_process_is_refused_too_and_let_in_after_close(tmp_path):
    with (
        RunFolder.open(tmp_path, "demo", "x", {}),
        pytest.raises(FolderInUse, match=f"{os.getpid()}"),
    ):
        RunFolder.open(tmp_path, "demo", "x", {})
    RunFolder.open(tmp_path, "demo", "x", {}).close()


def test_a_refused_recipe_lets_go_of_the_lock(tmp_path):
    RunFolder.open(tmp_path, "demo", "x", {"a": 1}).close()
    with pytest.raises(ValueError, match="was made with a=1, not 2"):
        RunFolder.open(tmp_path, "demo", "x", {"a": 2})
    RunFolder.open(tmp_path, "demo", "x", {"a": 1}).close()


def test_release_twice_does_nothing(tmp_path):
    lock = FolderLock(tmp_path / "lock")
    lock.release()
    other = os.open(tmp_path / "lock", os.O_RDONLY)  # takes the number that was released
    lock.release()
    assert os.fstat(other).st_size > 0
    os.close(other)


def test_without_locks_the_folder_is_refused(tmp_path, monkeypatch):
    def no_locks(handle, operation):
        raise OSError(37, os.strerror(37))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(ValueError, match="No locks available; choose another --out_dir"):
        RunFolder.open(tmp_path, "demo", "x", {})
