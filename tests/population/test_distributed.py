"""Processes that find each other, share values and work, and notice each other's end."""

import pytest

from catdog_jax.population import distributed
from catdog_jax.population.distributed import Group, ProcessEnded
from catdog_jax.population.launchers import find_others
from catdog_jax.types import InputError

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}
OMPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}
BY_HAND = ("a:1", 2, 1)


@pytest.mark.parametrize(
    ("flags", "environ", "found"),
    [
        (("", None, None), {}, None),
        (("a:1", 2, 1), {}, BY_HAND),
        (("", 2, 1), {"JAX_COORDINATOR_ADDRESS": "a:1"}, BY_HAND),
        (("", None, None), SLURM, ("node1:61447", 2, 1)),
        (("none", None, None), SLURM, None),
        (("a:1", None, None), SLURM, BY_HAND),
        (("", None, None), SLURM | {"SLURM_NTASKS": "1"}, None),
        # The script around srun, and the shell of an allocation, are no tasks.
        (("", None, None), {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, None),
        (
            ("", None, None),
            OMPI | {"OMPI_MCA_orte_hnp_uri": "0.0;tcp://10.0.0.1:5"},
            ("10.0.0.1:61440", 4, 3),
        ),
        # An indexed Job may be a sweep: without a word of its size each pod is alone.
        (("", None, None), {"JOB_COMPLETION_INDEX": "1", "KUBERNETES_SERVICE_HOST": "k"}, None),
        (("a:1", 2, None), {"JOB_COMPLETION_INDEX": "1"}, BY_HAND),
    ],
)
def test_where_the_others_are(flags, environ, found, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert find_others(*flags, environ) == found


@pytest.mark.parametrize(
    ("flags", "environ", "words"),
    [
        (("", 2, None), {}, "need --coordinator=host:port"),
        (("host", 2, 0), {}, "--coordinator=host is no address"),
        (("host:99999", 2, 0), {}, "--coordinator=host:99999 is no address"),
        (("a:1", None, 0), {}, "--coordinator=a:1 needs --num_processes, the same for every"),
        (("a:1", 2, None), {}, "--process_id, its own from 0 to one less; not 2 and None"),
        (("a:1", 2, 2), {}, "--process_id, its own from 0 to one less; not 2 and 2"),
        (("", None, None), OMPI, "this Open MPI does not tell its tasks where the first one is"),
    ],
)
def test_flags_that_do_not_go_together(flags, environ, words):
    with pytest.raises(InputError) as error:
        find_others(*flags, environ)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


class Store(distributed._Store):
    """A key-value store that several processes share."""

    def get_live_nodes(self, _):
        return {}

    def shutdown(self):
        pass


@pytest.fixture
def three():
    """Three processes in one."""
    store = Store()
    groups = [Group(index, 3, store) for index in range(3)]
    yield groups
    for group in groups:
        group.leave(0)


def test_what_is_told_is_known_to_all(three):
    first, *others = three
    assert [group.name for group in three] == [f"process {i} of 3" for i in range(3)]
    for group in others:
        group.tell(f"x/{group.index}", group.index)
    assert first.gather("x", 7) == {0: 7, 1: 1, 2: 2}
    assert first.told("y") is None
    first.tell("y", [1, "a"])
    first.tell("y", {"a": 1})
    assert [group.wait_for("y") for group in others] == [{"a": 1}] * 2


def test_work_is_taken_once_and_again_when_its_taker_is_gone(three, monkeypatch, capsys):
    first, second, third = three
    assert [group.claim("w") for group in (second, second, first, third)] == [True] + [False] * 3
    second.leave(143, "interrupted by SIGTERM; saved")
    assert third.claim("w")
    assert not first.claim("w")
    said = "process 1 of 3 has ended (interrupted by SIGTERM; saved); the others go on\n"
    assert capsys.readouterr().err == 2 * said  # each says it once
    # Started again, it has the number of the one before, and nothing of its work.
    again = Group(1, 3, first._client)
    assert again.claim("v")
    assert not first.claim("v")
    monkeypatch.setattr(distributed, "SILENCE_SECONDS", -1)
    late = Group(2, 3, first._client)
    assert late.claim("v")
    said = "process 1 of 3 was killed, or its machine is gone; the others go on\n"
    assert capsys.readouterr().err == said
    first.tell("x/0", 7)
    assert late.gather("x", 1) == {0: 7, 2: 1}
    late.leave(0)
    again.leave(0)


def test_a_wrong_input_and_the_end_of_the_first_end_all(three):
    first, second, third = three
    second.check()
    second.leave(2, "unknown model 'x'")
    with pytest.raises(
        ProcessEnded, match=r"process 1 of 3 has ended \(unknown model 'x'\)"
    ) as end:
        first.gather("x", 1)
    assert end.value.status == 1
    first.leave(143, "interrupted by SIGTERM")
    with pytest.raises(ProcessEnded, match="process 0 of 3 has ended") as end:
        third.wait_for("task")
    assert end.value.status == 143
