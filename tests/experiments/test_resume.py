"""Never lose a run: faults at every write, real kills, signals, damage, two at once, growth."""

import errno
import json
import os
import random
import signal
import subprocess

import jax
import numpy as np
import pytest

from catdog_jax.population import waves
from catdog_jax.store import open_run
from experiments import init_convergence
from experiments.shared import keeper, training

# Two models of two waves each, so that a fault can come between any two of them.
FLAGS = ("--models=linear,mlp:width=4", "--num_members=5", "--wave=4", "--num_steps=4")
FLAGS = (*FLAGS, "--eval_every=2", "--name=x")


@pytest.fixture(scope="module", autouse=True)
def two_figures():
    """Drawing all seven would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        table = init_convergence.FIGURES
        two = {name: table[name] for name in ("final_accuracy", "trajectories")}
        patch.setattr(init_convergence, "FIGURES", two)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory, run_here, run_folder, machine, two_figures):
    """The same run, never interrupted and in segments of any length."""
    out_dir = tmp_path_factory.mktemp("whole")
    assert run_here(out_dir, *FLAGS) == 0
    return run_folder(out_dir)


@pytest.fixture
def eager(monkeypatch):
    """A checkpoint after every step, none left out because the one before is still written."""
    monkeypatch.setattr(keeper, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(keeper, "PATIENCE_SECONDS", 600.0)
    monkeypatch.setattr(waves, "SEGMENT_SECONDS", 0)


def assert_same_end(folder, whole):
    """Every bit of the results and of all weights, and nothing left over."""
    assert (folder / "results.nc").read_bytes() == (whole / "results.nc").read_bytes()
    found, wanted = open_run(folder), open_run(whole)
    assert list(found.params) == list(wanted.params)
    for entry in wanted.params:
        here, there = (jax.tree.leaves_with_path(run.params[entry]) for run in (found, wanted))
        assert len(here) == len(there) > 0
        for (path, a), (other_path, b) in zip(here, there, strict=True):
            assert path == other_path
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)
    assert names(folder) == names(whole)


def names(folder):
    """The files of a run folder, without the figures."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith("figures/") or ".png" not in name}


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


class Fault:
    """Fails at the n-th time that a file or folder gets its final name, and counts them."""

    def __init__(self, monkeypatch, number, error):
        self.calls = 0
        self.names = []
        real = os.replace

        def replace(source, target, **options):
            self.calls += 1
            self.names.append(os.fspath(target))
            if self.calls == number:
                raise error
            return real(source, target, **options)

        monkeypatch.setattr(os, "replace", replace)


@pytest.fixture(scope="module")
def writes(tmp_path_factory, run_here, machine, two_figures):
    """What an uninterrupted run puts in place, in order."""
    out_dir = tmp_path_factory.mktemp("counted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeper, "CHECKPOINT_SECONDS", 0)
        patch.setattr(keeper, "PATIENCE_SECONDS", 600.0)
        patch.setattr(waves, "SEGMENT_SECONDS", 0)
        fault = Fault(patch, 0, None)
        assert run_here(out_dir, *FLAGS) == 0
    return fault.names


def disk_full():
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def survive(number, error, out_dir, run_here, whole, capsys):
    """Fail at one write, then go on with the same command."""
    with pytest.MonkeyPatch.context() as patch:
        fault = Fault(patch, number, error)
        if isinstance(error, Killed):
            with pytest.raises(Killed):
                run_here(out_dir, *FLAGS)
        else:
            assert run_here(out_dir, *FLAGS) == 1
            said = capsys.readouterr().err
            assert said.startswith("error: ")
            assert said.count("\n") == 1
            assert os.strerror(errno.ENOSPC) in said or "disk full" in said
        assert fault.calls >= number
    assert run_here(out_dir, *FLAGS) == 0
    assert_same_end(out_dir / "init_convergence" / "x", whole)


def place(writes, what):
    """The number (from 1) of the first write whose target contains a text."""
    return next(i for i, name in enumerate(writes, 1) if what in name)


def test_a_run_writes_in_the_order_that_makes_it_safe(writes):
    ends = [name.split("/init_convergence/x/")[-1] for name in writes]
    first = {what: place(ends, what) for what in ("checkpoints/", "waves/", "results", "figures/")}
    assert ends[0] == "manifest.json"
    assert list(first.values()) == sorted(first.values())
    assert sum("checkpoints/00_linear/wave_00000" in e and e.endswith("/1") for e in ends) == 1
    assert place(ends, "wave_00000.params.npz") < place(ends, "wave_00000.npz")


@pytest.mark.parametrize(
    ("what", "error"),
    [
        pytest.param("manifest.json", Killed(), marks=pytest.mark.slow),
        ("checkpoints/00_linear/wave_00000/1", disk_full()),
        ("waves/00_linear/wave_00001.npz", Killed()),
        pytest.param("results.nc", disk_full(), marks=pytest.mark.slow),
        ("figures/trajectories", Killed()),
    ],
)
def test_a_fault_at_a_write_changes_no_bit(
    what, error, tmp_path, eager, run_here, whole, writes, capsys
):
    survive(place(writes, what), error, tmp_path, run_here, whole, capsys)


@pytest.mark.slow  # some forty faults, two runs each
@pytest.mark.parametrize("error", [Killed(), disk_full()], ids=["kill", "full"])
def test_a_fault_at_every_write_changes_no_bit(
    error, tmp_path, eager, run_here, whole, writes, capsys
):
    assert len(writes) >= 40
    for number in range(1, len(writes) + 1):
        survive(number, error, tmp_path / str(number), run_here, whole, capsys)


def test_a_killed_run_lets_go_of_its_folder_and_goes_on(
    tmp_path, start_slowed, wait_for, run_here, whole, capsys
):
    folder = tmp_path / "init_convergence" / "x"
    process = start_slowed(tmp_path, *FLAGS, pause=0.3)
    wait_for(lambda: list(folder.glob("checkpoints/01*/wave_*/[12]")), process)
    capsys.readouterr()
    assert run_here(tmp_path, *FLAGS) == 1
    said = capsys.readouterr().err
    assert said == (
        f"error: run folder {folder} is in use by process {process.pid}; wait for it, or choose "
        "another --name\n"
    )
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert run_here(tmp_path, *FLAGS) == 0
    assert_same_end(folder, whole)


@pytest.mark.slow  # twenty processes that are killed, and those that come to their end
def test_twenty_kills_at_random_moments(tmp_path, start_slowed, run_here, run_folder):
    flags = ("--models=linear,mlp:width=4", "--num_members=5", "--wave=4", "--name=x")
    flags = (*flags, "--num_steps=60", "--eval_every=20")
    assert run_here(tmp_path / "whole", *flags) == 0
    whole = run_folder(tmp_path / "whole")
    moments, kills, rounds = random.Random(0), 0, 0
    while kills < 20:
        rounds += 1
        out_dir, finished = tmp_path / f"round_{rounds}", False
        while not finished:
            process = start_slowed(out_dir, *flags, pause=0.02, patience=0.0)
            try:
                # After twenty kills the last round comes to its end.
                process.communicate(timeout=moments.uniform(0, 4) if kills < 20 else None)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += process.returncode == -signal.SIGKILL
            else:
                assert process.returncode == 0
                finished = True
        assert_same_end(run_folder(out_dir), whole)


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_a_signal_saves_and_says_how_to_go_on(
    number, tmp_path, start_slowed, wait_for, run_here, whole
):
    folder = tmp_path / "init_convergence" / "x"
    process = start_slowed(tmp_path, *FLAGS, pause=0.3)
    wait_for(lambda: list(folder.glob("checkpoints/01*/wave_*/1")), process)
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == 128 + number
    assert said.count("\n") == 1
    assert said.startswith(f"interrupted by {number.name} at step ")
    assert f"of mlp:width=4; saved in {folder}; the same command goes on" in said
    assert list(folder.glob("checkpoints/01*/wave_*/[1234]"))
    spent = json.loads((folder / "manifest.json").read_text())["timings"]["mlp:width=4"]["seconds"]
    assert spent > 0.3
    assert run_here(tmp_path, *FLAGS) == 0
    assert_same_end(folder, whole)
    # The time of both sessions counts.
    assert open_run(folder).manifest["timings"]["mlp:width=4"]["seconds"] > spent


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    tmp_path, eager, run_here, whole, writes, caplog
):
    with pytest.MonkeyPatch.context() as patch:
        Fault(patch, place(writes, "checkpoints/01_mlp_width=4/wave_00000/3"), Killed())
        with pytest.raises(Killed):
            run_here(tmp_path, *FLAGS)
    folder = tmp_path / "init_convergence" / "x"
    (wave,) = folder.glob("checkpoints/01*/wave_00000")
    assert {place.name for place in wave.iterdir()} == {"1", "2"}
    largest = max((p for p in wave.glob("2/arrays/**/*") if p.is_file()), key=os.path.getsize)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.write_bytes(content)
    used = []
    load = training.RunFolder.load_checkpoint
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            training.RunFolder,
            "load_checkpoint",
            lambda *a: used.append(found := load(*a)) or found,
        )
        assert run_here(tmp_path, *FLAGS) == 0
    warnings = [record.getMessage() for record in caplog.records if record.name.startswith("catd")]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"checkpoint {wave / '2'} is damaged (")
    assert [found and found[0] for found in used] == [1, None]
    assert_same_end(folder, whole)


def test_more_members_train_only_the_new_ones(tmp_path, run_here, whole, contents, capsys):
    folder = tmp_path / "init_convergence" / "x"
    assert run_here(tmp_path, *FLAGS, "--num_members=2") == 0
    before, two = contents(folder), open_run(folder)
    assert two.data.sizes["member"] == 2
    assert run_here(tmp_path, *FLAGS) == 0
    after, five = contents(folder), open_run(folder)
    first = [name for name in before if name.endswith(("wave_00000.npz", "wave_00000.params.npz"))]
    assert len(first) == 4
    for name in first:
        assert after[name] == before[name]
    assert {name for name in after if "wave_00001" in name} == {
        name.replace("wave_00000", "wave_00001") for name in first
    }
    for name, values in two.data.data_vars.items():
        grown = five.data[name]
        for dim in {"member", "other_member"} & set(grown.dims):
            grown = grown.isel({dim: slice(0, 2)})
        if "distance" in name:  # from a product of matrices, whose size changes its rounding
            np.testing.assert_allclose(grown.values, values.values, rtol=1e-6, atol=1e-6)
        else:
            assert np.array_equal(grown.values, values.values), name
    assert_same_end(folder, whole)
    assert after["figures/final_accuracy.png"] != before["figures/final_accuracy.png"]

    capsys.readouterr()
    assert run_here(tmp_path, *FLAGS, "--num_members=2") == 0
    assert "already done" in capsys.readouterr().out
    assert contents(folder) == after


def test_a_finished_run_prints_its_table_and_touches_nothing(whole, run_here, contents, capsys):
    before = contents(whole)
    capsys.readouterr()
    out_dir = whole.parents[1]
    assert run_here(out_dir, *FLAGS) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith(f"already done: {whole} holds these results; nothing is computed\n")
    assert "mlp:width=4" in said.out
    assert contents(whole) == before


def test_another_config_under_the_same_name_is_refused(whole, run_here, contents, capsys):
    before = contents(whole)
    capsys.readouterr()
    assert run_here(whole.parents[1], *FLAGS, "--learning_rate=0.5") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "run 'x' was made with learning_rate=unset, not 0.5" in said
    assert contents(whole) == before


def test_fresh_starts_another_beside_it(tmp_path, run_here, contents):
    flags = ("--models=linear", "--num_steps=1", "--name=x")
    assert run_here(tmp_path, *flags) == 0
    first = tmp_path / "init_convergence" / "x"
    before = contents(first)
    assert run_here(tmp_path, *flags, "--fresh") == 0
    assert contents(first) == before
    second = tmp_path / "init_convergence" / "x-2"
    assert (second / "results.nc").read_bytes() == (first / "results.nc").read_bytes()
