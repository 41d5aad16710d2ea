"""Processes that find each other, share values, and notice each other's end."""

import json
import os
import socket
import threading
import time

import pytest

from catdog_jax.population import meeting as meetings
from catdog_jax.population import processes
from catdog_jax.population.meeting import meeting
from catdog_jax.population.processes import ALONE, ProcessLost, _Peers
from catdog_jax.types import InputError

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}
OMPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}
BY_HAND = {"coordinator_address": "a:1", "num_processes": 2, "process_id": 1}


@pytest.mark.parametrize(
    ("flags", "environ", "found"),
    [
        (("", None, None), {}, None),
        (("a:1", 2, 1), {}, BY_HAND),
        (("a:1", 1, 0), {}, None),
        (("", 2, 1), {"JAX_COORDINATOR_ADDRESS": "a:1"}, BY_HAND),
        (("", None, None), SLURM, {}),
        (("none", None, None), SLURM, None),
        (("a:1", None, None), SLURM, BY_HAND),
        (("", None, None), SLURM | {"SLURM_NTASKS": "1"}, None),
        # The script around srun, and the shell of an allocation, are no tasks.
        (("", None, None), {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, None),
        (("", None, None), OMPI | {"OMPI_MCA_orte_hnp_uri": "0.0;tcp://10.0.0.1:5"}, {}),
        (("", None, None), {"TPU_WORKER_HOSTNAMES": "a,b"}, {}),
        (("", None, None), {"TPU_WORKER_HOSTNAMES": "localhost"}, None),
        # An indexed Job may be a sweep: without a word of its size each pod is alone.
        (("", None, None), {"JOB_COMPLETION_INDEX": "1"}, None),
        (("a:1", 2, None), {"JOB_COMPLETION_INDEX": "1"}, BY_HAND),
    ],
)
def test_where_the_others_are(flags, environ, found):
    assert meeting(*flags, {"JAX_PLATFORMS": "cpu", **environ}) == found


def test_open_mpi_without_an_address_meets_on_one_machine():
    local = {"OMPI_COMM_WORLD_LOCAL_SIZE": "4", "PMIX_NAMESPACE": "prterun-1@1"}
    if meetings.importlib.util.find_spec("mpi4py") is not None:
        assert meeting("", None, None, OMPI | local) == {"cluster_detection_method": "mpi4py"}
        return
    found = meeting("", None, None, OMPI | local)
    other = meeting("", None, None, OMPI | local | {"OMPI_COMM_WORLD_RANK": "0"})
    assert (found["num_processes"], found["process_id"], other["process_id"]) == (4, 3, 0)
    assert found["coordinator_address"] == other["coordinator_address"]
    with pytest.raises(InputError, match="install mpi4py, or give --coordinator=host:port"):
        meeting("", None, None, OMPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "2"})


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("", 2, None), "need --coordinator=host:port"),
        (("none", None, 0), "need --coordinator=host:port"),
        (("host", 2, 0), "--coordinator=host is no address"),
        (("host:99999", 2, 0), "--coordinator=host:99999 is no address"),
        (("a:1", None, 0), "--coordinator=a:1 needs --num_processes too"),
        (("a:1", 2, None), "--coordinator=a:1 needs --process_id too"),
        (("a:1", 2, 2), "--process_id=2 is out of range; with --num_processes=2 give a number"),
    ],
)
def test_flags_that_do_not_go_together(flags, words):
    with pytest.raises(InputError) as error:
        meeting(*flags, {})
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture
def three():
    """Three processes in one: the first and its connections, as `_meet` makes them."""
    pairs = {index: socket.socketpair() for index in (1, 2)}
    first = _Peers(0, {index: pair[0] for index, pair in pairs.items()}, 3)
    others = [_Peers(index, {0: pair[1]}, 3) for index, pair in pairs.items()]
    yield [first, *others]
    for group in (first, *others):
        group.leave(0)


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def lost(group):
    """The line with which a group ends its process."""
    until(lambda: group._lost is not None)
    with pytest.raises(ProcessLost) as error:
        group.check()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_values_are_shared(three):
    first, one, two = three
    assert two.gather({"b": [1]}) is None
    assert one.gather("a") is None
    assert first.gather(None) == [None, "a", {"b": [1]}]
    assert first.broadcast([3]) == one.broadcast() == two.broadcast() == [3]
    assert (first.name, two.name) == ("process 0 of 3", "process 2 of 3")


def test_a_killed_process_ends_all_others(three):
    first, one, two = three
    two._links[0].shutdown(socket.SHUT_RDWR)  # what the system does for a killed one
    for group in (first, one):
        assert lost(group).startswith("process 2 of 3 was killed, or its machine is gone; the same")
    with pytest.raises(ProcessLost):
        first.gather(0)


def test_a_killed_first_process_ends_all_others(three):
    first, one, two = three
    first._left = True  # a killed process sees nothing
    for link in first._links.values():
        link.shutdown(socket.SHUT_RDWR)
    for group in (one, two):
        assert lost(group).startswith("process 0 of 3 was killed")
    with pytest.raises(ProcessLost):
        one.wait_for_first()


def test_a_process_that_fails_says_why(three):
    first, one, two = three
    one.leave(143, "interrupted by SIGTERM at step 4; the same command goes on")
    for group in (first, two):
        assert lost(group) == (
            "process 1 of 3 has ended (interrupted by SIGTERM at step 4); the same command goes "
            "on, also with another number of processes"
        )


@pytest.mark.parametrize("status", [1, 2])
def test_a_fault_is_told_without_a_promise(three, status):
    first, one, two = three
    one.leave(status, "--num_steps=0 is out of range")
    for group in (first, two):
        assert lost(group) == "process 1 of 3 has ended (--num_steps=0 is out of range)"


def test_half_a_line_of_a_killed_process_is_its_end(three):
    first, one, two = three
    one._links[0].sendall(b'{"value": [1, 2]}\n{"value": [3, ')
    one._links[0].shutdown(socket.SHUT_RDWR)
    for group in (first, two):
        assert lost(group).startswith("process 1 of 3 was killed")


def test_what_was_said_before_an_end_still_counts(three):
    first, one, two = three
    for group in (one, two):
        group.gather(group.index)
        group.leave(1, "disk full")
    lost(first)
    assert first.gather(0) == [0, 1, 2]
    with pytest.raises(ProcessLost, match="disk full"):
        first.gather(0)


@pytest.mark.parametrize(("status", "seconds"), [(143, 100), (1, 15)])
def test_who_may_be_told_to_end_as_well_has_time_to_save(three, status, seconds):
    first, one, two = three
    one.leave(status, "interrupted by SIGTERM at step 4")
    for group in (first, two):
        until(lambda group=group: group._timer is not None)
        assert group._timer.interval == seconds
        lost(group)  # its main thread knows, and may save
        assert group._timer.interval == 100


def test_the_others_end_well_with_the_first(three):
    first, one, two = three
    first.release()
    first.leave(0)
    for group in (one, two):
        group.wait_for_first()
        group.check()


def test_a_first_process_that_has_everything_needs_no_other(three):
    first, one, two = three
    first.release()
    one.leave(1, "killed while waiting")
    first.check()
    first.leave(1, "disk full")
    assert lost(two).startswith("process 0 of 3 has ended (disk full)")


def test_a_process_deep_in_something_is_ended(three, monkeypatch, capfd):
    ends = []
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0)
    monkeypatch.setattr(os, "_exit", ends.append)
    three[2]._links[0].shutdown(socket.SHUT_RDWR)
    until(lambda: len(ends) == 3)  # the one that was cut off sees the first as lost
    assert set(ends) == {1}
    assert "error: process 2 of 3 was killed" in capfd.readouterr().err


def test_a_stranger_is_not_let_in():
    server = meetings._server()
    port, found = server.getsockname()[1], []
    thread = threading.Thread(target=lambda: found.append(meetings._accepted(server, "yes", 2)))
    thread.start()
    for said in (b"GET / HTTP/1.1\r\n", json.dumps(["no", 1]).encode(), b"[]"):
        with socket.create_connection(("localhost", port)) as stranger:
            stranger.sendall(said)
            assert stranger.recv(1) == b""
    link = meetings._connected("localhost", port, "yes", 1)
    thread.join()
    assert list(found[0]) == [1]
    found[0][1].close()
    link.close()


def test_a_wait_in_another_language_ends(monkeypatch):
    assert meetings._answering(lambda *x, **y: (x, y), 1, b=2) == ((1,), {"b": 2})
    with pytest.raises(LookupError, match="why"):
        meetings._answering({}.__getitem__, "why")
    monkeypatch.setattr(meetings, "MEETING_SECONDS", 0)
    end = threading.Event()
    with pytest.raises(RuntimeError, match="after 0 s the processes have not met"):
        meetings._answering(end.wait)
    end.set()


def test_alone_is_alone():
    assert processes.join("none") is processes.current() is ALONE
    assert ALONE.gather(3) == [3]
    assert ALONE.broadcast(3) == 3
    assert ALONE.first
    ALONE.check()
    ALONE.release()
    ALONE.leave(1, "x")
    ALONE.wait_for_first()
    processes.leave(0)
    assert processes.current() is ALONE
