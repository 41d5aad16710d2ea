"""Never lose a run: faults at every write, real kills, signals, damage, two at once, growth."""

import errno
import os
import signal

import pytest

from catdog_jax.population import waves
from catdog_jax.run import checkpointer, open_run
from catdog_jax.store import manifest

# Two models of two waves each, so that a fault can come between any two of them.
FLAGS = ("--models=linear,mlp:width=4", "--num_members=5", "--wave=4", "--num_steps=4")
FLAGS = (*FLAGS, "--eval_every=2", "--name=x")
SLOW_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, run_here, run_folder, machine):
    """The same run, never interrupted and in segments of any length."""
    out_dir = tmp_path_factory.mktemp("whole")
    assert run_here(out_dir, *FLAGS) == 0
    return run_folder(out_dir)


def assert_same_end(folder, whole):
    """Every bit of the results and of all weights, and nothing left over."""
    here, there = (
        {
            str(path.relative_to(run)): path.read_bytes()
            for suffix in (".nc", ".npz", ".tmp")
            for path in run.rglob(f"*{suffix}")
        }
        for run in (folder, whole)
    )
    assert here == there
    assert len(there) >= 5
    assert list(open_run(folder).params) == list(open_run(whole).params)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


class Fault:
    """Saves after every step, and fails at the n-th time that a file gets its final name."""

    def __init__(self, patch, number=0, error=None):
        self.names = []
        replace = os.replace

        def counted(source, target):
            self.names.append(os.fspath(target))
            if len(self.names) == number:
                raise error
            replace(source, target)

        patch.setattr(os, "replace", counted)
        patch.setattr(checkpointer, "CHECKPOINT_SECONDS", 0)
        patch.setattr(checkpointer, "PATIENCE_SECONDS", 600.0)
        patch.setattr(waves, "SEGMENT_SECONDS", 0)


@pytest.fixture(scope="module")
def writes(tmp_path_factory, run_here, machine):
    """What an uninterrupted run puts in place, in order."""
    with pytest.MonkeyPatch.context() as patch:
        fault = Fault(patch)
        assert run_here(tmp_path_factory.mktemp("counted"), *FLAGS) == 0
    return [name.split("/init_convergence/x/")[-1] for name in fault.names]


@pytest.mark.parametrize("stride", [31, pytest.param(1, marks=pytest.mark.slow)])
def test_a_fault_at_any_write_changes_no_bit(stride, tmp_path, run_here, whole, writes, capsys):
    kinds = [name.split("/")[0] for name in writes]
    order = [kinds.index(kind) for kind in ("checkpoints", "waves", "results.nc")]
    assert order == sorted(order)
    for number in range(1, len(writes) + 1, stride):
        out_dir = tmp_path / str(number)
        error = Killed() if number % 2 else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with pytest.MonkeyPatch.context() as patch:
            Fault(patch, number, error)
            if isinstance(error, Killed):
                with pytest.raises(Killed):
                    run_here(out_dir, *FLAGS)
            else:
                assert run_here(out_dir, *FLAGS) == 1
                *stages, said = capsys.readouterr().err.splitlines()
                assert all(line.endswith(" …") for line in stages)
                assert said.startswith("error: ")
                assert os.strerror(errno.ENOSPC) in said
        assert run_here(out_dir, *FLAGS) == 0
        assert_same_end(out_dir / "init_convergence" / "x", whole)


@pytest.mark.parametrize(
    "number", [*(pytest.param(s, marks=pytest.mark.slow) for s in SLOW_SIGNALS), signal.SIGTERM]
)
def test_a_signal_lets_go_of_the_folder_and_the_run_is_resumed(
    number, tmp_path, start_slowed, wait_for, run_here, whole, capsys
):
    folder = tmp_path / "init_convergence" / "x"
    process = start_slowed(tmp_path, *FLAGS, pause=0.3)
    wait_for(lambda: list(folder.glob("checkpoints/01*/wave_*/[12].npz")), process)
    capsys.readouterr()
    assert run_here(tmp_path, *FLAGS) == 1
    assert capsys.readouterr().err == (
        f"error: run folder {folder} is in use by process {process.pid}; wait for it, or choose "
        "another --name\n"
    )
    process.send_signal(number)
    _, said = process.communicate()
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        at_once, then, end = said.split("\n")
        assert at_once.startswith(f"{number.name}: stops at the next safe place")
        assert then.startswith(f"interrupted by {number.name} at step ")
        assert f"of mlp:width=4; saved in {folder}; " in then
        assert end == ""
    assert list(folder.glob("checkpoints/01*/wave_*/[1234].npz"))
    label, before = "mlp:width=4", manifest.read(folder)
    assert run_here(tmp_path, *FLAGS) == 0
    assert_same_end(folder, whole)
    spent = [found["timings"][label]["seconds"] for found in (before, manifest.read(folder))]
    assert 0.3 < spent[0] < spent[1]  # the time of both sessions counts


def test_more_members_train_only_the_new_ones(tmp_path, run_here, whole, contents, capsys):
    folder = tmp_path / "init_convergence" / "x"
    assert run_here(tmp_path, *FLAGS, "--num_members=2") == 0
    before = contents(folder)
    assert open_run(folder).data.sizes["member"] == 2
    assert run_here(tmp_path, *FLAGS) == 0
    assert_same_end(folder, whole)
    after = contents(folder)
    first = [name for name in before if "wave_00000" in name]
    assert len(first) == 2
    assert all(after[name] == before[name] for name in first)
    capsys.readouterr()
    assert run_here(tmp_path, *FLAGS, "--num_members=2") == 0
    assert "already done" in capsys.readouterr().out
    assert contents(folder) == after


def test_a_finished_run_is_not_touched_by_the_same_config_nor_by_another(
    whole, run_here, contents, capsys
):
    before, out_dir = contents(whole), whole.parents[1]
    capsys.readouterr()
    assert run_here(out_dir, *FLAGS) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith(f"already done: {whole} holds these results; nothing is computed\n")
    assert "mlp:width=4" in said.out
    assert run_here(out_dir, *FLAGS, "--learning_rate=0.5") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "run 'x' was made with learning_rate=unset, not 0.5" in said
    assert contents(whole) == before
