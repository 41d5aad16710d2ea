"""Small runs of the main experiment: here, or in a process of their own that can be killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from catdog_jax import open_run
from catdog_jax.run import progress
from experiments import init_convergence

ROOT = Path(__file__).parents[2]
SMALL = (
    "--dataset=procedural:num_train=64:num_valid=8:num_test=32",
    "--image_size=8",
    "--models=linear,mlp:width=8",
    "--num_members=2",
    "--num_steps=12",
    "--batch_size=16",
    "--eval_every=4",
)

# Segments of one step with a checkpoint after each (where it waits for the one before); slowed, so
# that there is time for a kill.
SLOWED = """
import time
from catdog_jax.population import Program, waves
from catdog_jax.run import checkpointer
waves.SEGMENT_SECONDS = checkpointer.CHECKPOINT_SECONDS = 0
checkpointer.PATIENCE_SECONDS = {patience}
quick = Program.segment
def segment(*arguments):
    time.sleep({pause})
    return quick(*arguments)
Program.segment = segment
from experiments import _cli, init_convergence
_cli.command(init_convergence.main)
"""


@pytest.fixture(scope="session", autouse=True)
def machine(tmp_path_factory):
    """Processes that are started have the devices and the compiled programs of this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "LINE_SECONDS", 1e9)  # what is said does not depend on the machine
        patch.setenv("JAX_PLATFORMS", "cpu")
        patch.setenv("JAX_NUM_CPU_DEVICES", "4")
        for name in (
            "jax_compilation_cache_dir",
            "jax_persistent_cache_min_compile_time_secs",
            "jax_persistent_cache_min_entry_size_bytes",
        ):
            patch.setenv(name.upper(), str(jax.config.values[name]))
        patch.setenv("CATDOG_CACHE_DIR", str(tmp_path_factory.mktemp("pictures")))
        yield


@pytest.fixture(scope="session")
def run_here():
    """A function (out_dir, *flags) -> exit status of init_convergence, without figures."""

    def run(out_dir, *flags):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(init_convergence, "FIGURES", {})
            return init_convergence.main([*SMALL, f"--out_dir={out_dir}", *flags])

    return run


@pytest.fixture(scope="session")
def source(tmp_path_factory, run_here, machine):
    """The folder of a finished run: three models, three members, params of two steps kept."""
    out_dir = tmp_path_factory.mktemp("source")
    models = "--models=linear,mlp:width=8,cnn:widths=4"
    assert run_here(out_dir, models, "--num_members=3", "--keep_params=0,8", "--name=source") == 0
    return out_dir / "init_convergence" / "source"


@pytest.fixture(scope="session")
def finished(source):
    """The same run, opened."""
    return open_run(source)


@pytest.fixture
def start_slowed():
    """A function (out_dir, *flags, pause, patience) -> a process that has just begun to train."""
    processes = []

    def start(out_dir, *flags, pause=0.1, patience=600.0):
        command = [sys.executable, "-c", SLOWED.format(pause=pause, patience=patience)]
        process = subprocess.Popen(
            [*command, *SMALL, f"--out_dir={out_dir}", *flags],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        for line in process.stdout:
            if line.startswith("run folder: "):
                return process
        raise AssertionError(f"it never began to train: {process.communicate()[1][-2000:]}")

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def wait_for():
    """A function that waits until a condition holds, as long as a process lives."""

    def wait(condition, process):
        while not condition():
            assert process.poll() is None, process.communicate()[1][-2000:]
            time.sleep(0.01)

    return wait


@pytest.fixture(scope="session")
def contents():
    """A function: run folder -> name -> (bytes, time of change) of every file but the lock."""

    def read(folder):
        return {
            str(path.relative_to(folder)): (path.read_bytes(), os.stat(path).st_mtime_ns)
            for path in Path(folder).rglob("*")
            if path.is_file() and path.name != "lock"
        }

    return read


@pytest.fixture(scope="session")
def run_folder():
    """A function: out_dir -> the only run folder in it."""

    def find(out_dir):
        (folder,) = Path(out_dir).glob("*/*")
        return folder

    return find
