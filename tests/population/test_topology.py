"""Machines by name, and what is read off compiled programs: memory, and who talks to whom."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from catdog_jax.population import topology
from catdog_jax.population.compiled import (
    Memory,
    collectives_of,
    find_collectives,
    groups_text,
    memory_of,
)
from catdog_jax.population.devices import AXIS, SHARED_AXIS, member_mesh
from catdog_jax.population.topology import find_machine, known_topologies
from catdog_jax.types import InputError

HAS_TPU_COMPILER = importlib.util.find_spec("libtpu") is not None


def lines(kind, groups):
    return f"  %x.1 = f32[4,8]{{1,0:T(8,128)}} {kind}(%y), channel_id=1, {groups}, to_apply=%sum"


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ("replica_groups={{0,1},{2,3}}", ((0, 1), (2, 3))),
        ("replica_groups=[2,2]<=[4]", ((0, 1), (2, 3))),
        ("replica_groups=[2,2]<=[2,2]T(1,0)", ((0, 2), (1, 3))),
        ("source_target_pairs={{0,1},{1,0}}", ((0, 1), (1, 0))),
        ("replica_groups={}", ((0, 1, 2, 3),)),
        ("", ((0, 1, 2, 3),)),
    ],
)
def test_groups_are_read_in_every_way_they_are_written(groups, expected):
    (found,) = find_collectives(lines("all-reduce", groups), 2, 2)
    assert found.groups == expected
    # Two devices share each member: 0 and 1 the first, 2 and 3 the second.
    assert found.couples_members == any(len({d // 2 for d in group}) > 1 for group in expected)


def test_collectives_are_counted_by_kind_and_groups():
    text = "\n".join(
        [
            lines("all-gather-start", "replica_groups={{0,1}}"),
            lines("all-gather-done", ""),
            lines("all-reduce", "replica_groups={{0,1}}"),
            "  %t = (f32[2]{0}, f32[]) all-reduce(%a, %b), replica_groups={{0,1}}",
            "  %f = f32[2]{0} fusion(%all-reduce.1), calls=%fused",
        ]
    )
    found = [(c.kind, c.occurrences, c.couples_members) for c in find_collectives(text, 2)]
    assert found == [("all-gather", 1, True), ("all-reduce", 2, True)]


def test_groups_are_shortened_for_a_person():
    assert groups_text(((0, 1), (2, 3))) == "{0,1} {2,3}"
    assert groups_text((tuple(range(9)),) * 5, most=1) == "{0,1,2,3,4,5,6,7,…} …"


@pytest.mark.parametrize(("axis", "couples"), [(AXIS, True), (SHARED_AXIS, False)])
def test_a_sum_over_members_is_told_from_one_within_a_member(axis, couples):
    mesh = member_mesh(4, share=2)
    total = jax.shard_map(
        lambda x: jax.lax.psum(x, axis), mesh=mesh, in_specs=P(AXIS), out_specs=P(), check_vma=False
    )
    x = jax.ShapeDtypeStruct((4, 3), np.float32, sharding=NamedSharding(mesh, P(AXIS)))
    found = collectives_of(jax.jit(total).lower(x).compile(), mesh)
    assert [(c.kind, c.couples_members) for c in found] == [("all-reduce", couples)]


def test_memory_is_that_of_the_arrays():
    x = jax.ShapeDtypeStruct((256, 4), np.float32)
    memory = memory_of(jax.jit(lambda x: jnp.sin(x)[:128]).lower(x).compile())
    assert (memory.arguments, memory.outputs, memory.aliases) == (4096, 2048, 0)
    assert memory.needed >= 4096 + 2048
    assert Memory(10, 4, 3, 5, 20).needed == 20
    assert Memory(10, 4, 3, 5, 1).needed == 16


def test_the_local_machine():
    machine = find_machine("local")
    assert machine.devices == tuple(jax.local_devices())
    assert machine.backend == "cpu"
    assert machine.memory > 2**20


@pytest.mark.parametrize("name", ["v5e", "v5e:", "v5e:2x", "v9:2x2", "gpu:h2000", "gpu:h200x0", ""])
def test_an_unknown_name_gets_the_known_ones(name):
    with pytest.raises(InputError, match=r"unknown topology .*known: .*local.*v5e:2x4"):
        find_machine(name)


@pytest.mark.skipif(HAS_TPU_COMPILER, reason="the extra [tpu] is installed")
def test_a_missing_tpu_compiler_is_one_line():
    with pytest.raises(InputError, match=r"install the extra: .*\[tpu\]") as error:
        find_machine("v5e:2x4")
    assert "\n" not in str(error.value)


@pytest.mark.skipif(
    importlib.util.find_spec("jax_plugins.xla_cuda13") is not None
    if importlib.util.find_spec("jax_plugins")
    else False,
    reason="the GPU compiler is installed",
)
def test_a_missing_gpu_compiler_is_one_line():
    wanted = rf"does not start \(.+\); pip install jax-cuda13-plugin=={jax.__version__}"
    with pytest.raises(InputError, match=wanted) as error:
        find_machine("gpu:h200")
    assert "\n" not in str(error.value)


def test_a_gpu_compiler_that_fails_says_why(monkeypatch):
    def fails(options):
        raise RuntimeError("the plugin is of another version\nand more")

    monkeypatch.setattr(topology, "_described", fails)
    with pytest.raises(InputError, match=r"\(the plugin is of another version\); pip install"):
        find_machine("gpu:h200")


@pytest.mark.skipif(not HAS_TPU_COMPILER, reason="no libtpu: install the extra [tpu]")
def test_known_slices_have_their_devices():
    # A v4 chip is two devices.
    counts = {"v4:2x2x1": 8, "v5e:1x1": 1, "v5e:2x4": 8, "v5e:16x16": 256, "v5p:2x2x1": 4}
    for name, count in counts.items():
        assert len(find_machine(name).devices) == count
    for name in known_topologies():
        if name[0] == "v":
            memory = find_machine(name).memory
            assert memory >= 15 * 2**30
            assert memory % 2**30 == 0  # as a run there rounds it
    with pytest.raises(InputError, match=r"knows no such slice .*v5e:2x4"):
        find_machine("v5e:3x7")
