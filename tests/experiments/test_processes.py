"""Several processes of one run: the bits of one, whoever dies, however many go on."""

import math
import signal
import socket
import time

import jax
import pytest

import catdog_jax as cj
from catdog_jax.run import Execution
from catdog_jax.run.plans import new_plans
from catdog_jax.run.processes import joined_timings

SMALL = (
    "--dataset=procedural:num_train=64:num_valid=8:num_test=32",
    "--image_size=8",
    "--models=linear,mlp:width=4",
    "--num_members=7",
    "--wave=4",
    "--num_steps=6",
    "--batch_size=16",
    "--eval_every=2",
    "--name=x",
)


@pytest.fixture
def start(tmp_path, launch):
    """A function (index, count, port, *flags, **options) -> one of several processes of a run."""

    def start(index, count, port, *flags, **options):
        where = (f"--coordinator=127.0.0.1:{port}", f"--num_processes={count}")
        where += (f"--process_id={index}", f"--out_dir={tmp_path}")
        return launch(*SMALL, *where, *flags, **options)

    return start


@pytest.fixture
def start_all(start):
    """A function (count, *flags, **options) -> all processes of a run."""

    def start_all(count, *flags, **options):
        port = free_port()
        return [start(index, count, port, *flags, **options) for index in range(count)]

    return start_all


@pytest.fixture(scope="module")
def whole(tmp_path_factory, run_here, machine):
    """The same run by one process."""
    out_dir = tmp_path_factory.mktemp("whole")
    assert run_here(out_dir, *SMALL) == 0
    return out_dir / "init_convergence" / "x"


def free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def ended(processes, seconds=120):
    """(exit status, standard output, standard error) of each, when all have ended."""
    said = [process.communicate(timeout=seconds) for process in processes]
    return [(process.returncode, *words) for process, words in zip(processes, said, strict=True)]


def assert_same_end(folder, whole):
    assert (folder / "results.nc").read_bytes() == (whole / "results.nc").read_bytes()
    names = [
        {str(p.relative_to(f)) for p in f.rglob("*") if p.is_file() and "lock" not in p.name}
        for f in (folder, whole)
    ]
    assert names[0] == names[1]
    for name in names[0]:
        if name.startswith("waves/"):
            assert (folder / name).read_bytes() == (whole / name).read_bytes(), name


def test_two_processes_end_with_the_bytes_of_one(tmp_path, start_all, whole, run_here, capsys):
    first, other = ended(start_all(2))
    folder = tmp_path / "init_convergence" / "x"
    assert (first[0], first[2]) == (0, "")
    assert "\non 2 processes of 4 cpu device(s) each; " in first[1]
    assert f"results, weights and figures: {folder}\n" in first[1]
    assert (other[0], other[2]) == (0, "")
    begin, end = other[1].splitlines()
    assert begin.startswith("process 1 of 2 on ")
    assert begin.endswith(f": trains on 4 cpu device(s); run folder: {folder}")
    assert end == "process 1 of 2: done"
    assert_same_end(folder, whole)
    assert set(cj.open_run(folder).manifest["timings"]) == {"linear", "mlp:width=4"}
    # And alone it is found to be done.
    capsys.readouterr()
    assert run_here(tmp_path, *SMALL) == 0
    assert capsys.readouterr().out.startswith(f"already done: {folder} ")


@pytest.mark.slow  # four processes
def test_four_processes_end_with_the_bytes_of_one(tmp_path, start_all, whole):
    for status, _, said in ended(start_all(4)):
        assert (status, said) == (0, "")
    assert_same_end(tmp_path / "init_convergence" / "x", whole)


@pytest.mark.slow  # each starts three processes
@pytest.mark.parametrize(
    "hold",
    [
        "distributed.Group.gather 1",
        "Program.segment 3",
        "RunFolder.save_wave 1",
        "processes.WaveQueue.unfinished 1",
    ],
)
def test_the_others_go_on_when_one_is_killed(hold, tmp_path, start, whole):
    port = free_port()
    killed = start(1, 3, port, pause=0.3, hold=hold)
    others = [start(index, 3, port, pause=0.3) for index in (0, 2)]
    assert any(line == "holds\n" for line in killed.stdout)
    killed.kill()
    for status, _, said in ended(others):
        assert status == 0
        # Who never waited for it does not know.
        assert said in ("", "process 1 of 3 was killed, or its machine is gone; the others go on\n")
    assert_same_end(tmp_path / "init_convergence" / "x", whole)


@pytest.mark.slow  # each starts four processes
@pytest.mark.parametrize("hold", ["Program.segment 3", "RunFolder.write_results 1"])
def test_the_first_process_ends_all_and_any_number_goes_on(hold, tmp_path, start, start_all, whole):
    port = free_port()
    first = start(0, 2, port, pause=0.3, hold=hold)
    other = start(1, 2, port, pause=0.3)
    assert any(line == "holds\n" for line in first.stdout)
    first.kill()
    ((status, _, _),) = ended([other], 30)
    assert status == (-signal.SIGABRT if "segment" in hold else 0)  # JAX ends it, if it is there
    for status, _, said in ended(start_all(3)):
        assert (status, said) == (0, "")
    assert_same_end(tmp_path / "init_convergence" / "x", whole)


@pytest.mark.slow  # a start beside two that train
def test_a_process_that_is_started_again_trains_again(tmp_path, start, whole):
    port = free_port()
    first = start(0, 2, port, pause=1.0)
    killed = start(1, 2, port, pause=1.0, hold="Program.segment 2")
    assert any(line == "holds\n" for line in killed.stdout)
    killed.kill()
    (status, _, _), again = ended([first, start(1, 2, port)])
    assert (status, again[0]) == (0, 0)
    assert again[1].endswith("process 1 of 2: done\n")
    assert_same_end(tmp_path / "init_convergence" / "x", whole)


@pytest.mark.slow  # six starts
@pytest.mark.parametrize("asked", [(1,), (0,), (0, 1)])
def test_sigterm_to_one_or_all_saves(asked, tmp_path, start_all, whole):
    folder = tmp_path / "init_convergence" / "x"
    running = start_all(2, pause=0.5)
    while len(list(folder.glob("checkpoints/*/wave_*/*"))) < 2:
        assert all(process.poll() is None for process in running)
        time.sleep(0.02)
    for index in asked:
        running[index].terminate()
    for index, (status, _, said) in enumerate(ended(running, 60)):
        if index in asked:
            at_once, _, said = said.partition("\n")
            assert at_once.startswith("SIGTERM: stops at the next safe place")
            assert status == 128 + signal.SIGTERM
            assert said.startswith("interrupted by SIGTERM at step ")
        elif index == 0:  # it takes the other's wave over where that one has saved it
            assert status == 0
            assert said.startswith("process 1 of 2 has ended (interrupted by SIGTERM at step")
        else:
            assert status == 128 + signal.SIGTERM
            assert said.startswith("error: process 0 of 2 has ended (interrupted by SIGTERM at")
        assert said.count("\n") == 1
    for status, _, said in ended(start_all(2)):
        assert (status, said) == (0, "")
    assert_same_end(folder, whole)


def test_processes_with_other_flags_are_told_so_at_once(tmp_path, start):
    port = free_port()
    for status, _, said in ended([start(0, 2, port), start(1, 2, port, "--num_steps=5")]):
        assert status == 2
        assert said == (
            "error: process 0 was started with num_steps=6, process 1 with 5; give all processes "
            "of a run the same flags, data and libraries\n"
        )
    assert not (tmp_path / "init_convergence").exists()


@pytest.mark.slow  # four starts of processes that do not run
def test_processes_that_do_not_belong_together(start):
    port = free_port()
    first, other = ended([start(0, 2, port), start(1, 2, port, "--dataset=nothing")])
    assert (first[0], other[0]) == (1, 2)
    assert other[2].startswith("error: unknown data set 'nothing'")
    assert first[2].startswith("error: process 1 of 2 has ended (unknown data set 'nothing'")
    lonely = start(0, 2, free_port(), meeting=3)
    ((status, _, said),) = ended([lonely], 60)
    assert status == 1
    assert said.startswith("error: after 3 s not all of 2 processes have met at 127.0.0.1:")
    assert said.count("\n") == 1
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ((status, _, said),) = ended([start(0, 2, port)], 60)
    assert status == 1
    assert said.startswith(f"error: process 0 cannot listen at 127.0.0.1:{port} (Address already")
    assert said.count("\n") == 1


def test_the_part_of_a_process_is_planned_as_a_run_of_its_own():
    data = cj.load_dataset("procedural:num_train=64:num_valid=8:num_test=32", image_size=8)
    devices = jax.local_device_count()

    def tasks(num_members, wave=0):
        recipe = cj.Recipe(1, 16, "adam", 1e-3)
        members, how = cj.varied(num_members), Execution(wave=wave)
        models = ("linear", "cnn:widths=4-8")
        return [cj.Task(m, m, recipe, data, members, execution=how) for m in models]

    for wave in (0, devices):
        linear, cnn = new_plans(tasks(4 * devices, wave), 4).plans
        alone = new_plans(tasks(devices, wave), 1).plans
        # But for what decides bits, which is by the members of all processes.
        assert (linear, cnn._replace(joined=alone[1].joined)) == tuple(alone)
        assert (linear.wave, cnn.wave, cnn.joined) == (devices, devices, min(2 * devices, 8))
    few = new_plans(tasks(4), 4)
    assert few.plans[1].wave == 1  # one network for each process,
    assert few.plans[1].share == devices  # on all of its devices


def test_times_of_processes_are_those_of_this_session():
    def spent(seconds, rate):
        return {"linear": {"seconds": seconds, "rate": rate}}

    nan = math.nan
    for before, mine, others, joined in (
        ({}, spent(3.0, 10.0), [spent(5.0, 20.0), {}], (5.0, 30.0)),
        (spent(7.0, 99.0), spent(9.0, 10.0), [spent(1.0, 20.0)], (9.0, 30.0)),
        # The first process had no such wave, or a single call of it, in this session.
        (spent(7.0, 99.0), spent(7.0, 99.0), [spent(1.0, 20.0)], (8.0, 20.0)),
        (spent(7.0, 99.0), spent(8.0, 99.0), [spent(2.0, nan)], (9.0, 99.0)),
        ({}, {}, [spent(2.0, 20.0)], (2.0, 20.0)),
    ):
        assert joined_timings(before, mine, others) == spent(*joined)
