"""Machines by name, and what is read off compiled programs: memory, and who talks to whom."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from catdog_jax.population.devices import AXIS, SHARED_AXIS, member_mesh
from catdog_jax.population.fit import Memory, find_collectives, memory_of
from catdog_jax.population.machine import KNOWN, PEAKS, find_machine, peak_of
from catdog_jax.types import InputError

HAS_TPU_COMPILER = importlib.util.find_spec("libtpu") is not None


def line(kind, groups):
    return f"  %x.1 = f32[4,8]{{1,0:T(8,128)}} {kind}(%y), channel_id=1, {groups}, to_apply=%sum"


@pytest.mark.parametrize(
    ("groups", "couples"),
    [
        # Two devices share each member: 0 and 1 the first, 2 and 3 the second.
        ("replica_groups={{0,1},{2,3}}", False),
        ("replica_groups={{0,2},{1,3}}", True),
        ("replica_groups=[2,2]<=[4]", False),
        ("replica_groups=[2,2]<=[2,2]T(1,0)", True),
        ("source_target_pairs={{1,2}}", True),
        ("replica_groups={}", True),
        ("", True),
    ],
)
def test_devices_that_talk_are_read_in_every_way_they_are_written(groups, couples):
    (found,) = find_collectives(line("all-reduce", groups), 4, share=2)
    assert found == ("all-reduce", couples, 1)


def test_collectives_are_counted_by_kind():
    text = "\n".join(
        [
            line("all-gather-start", "replica_groups={{0,1}}"),
            line("all-gather-done", ""),
            line("all-reduce", "replica_groups={{0,1}}"),
            "  %t = (f32[2]{0}, f32[]) all-reduce(%a, %b), replica_groups={{0,1}}",
            "  %f = f32[2]{0} fusion(%all-reduce.1), calls=%fused",
        ]
    )
    assert find_collectives(text, 2) == [("all-gather", True, 1), ("all-reduce", True, 2)]


@pytest.mark.parametrize(("axis", "couples"), [(AXIS, True), (SHARED_AXIS, False)])
def test_a_sum_over_members_is_told_from_one_within_a_member(axis, couples):
    mesh = member_mesh(4, share=2)
    total = jax.shard_map(
        lambda x: jax.lax.psum(x, axis), mesh=mesh, in_specs=P(AXIS), out_specs=P(), check_vma=False
    )
    x = jax.ShapeDtypeStruct((4, 3), np.float32, sharding=NamedSharding(mesh, P(AXIS)))
    text = jax.jit(total).lower(x).compile().as_text()
    assert find_collectives(text, 4, share=2) == [("all-reduce", couples, 1)]


def test_memory_is_that_of_the_arrays():
    x = jax.ShapeDtypeStruct((256, 4), np.float32)
    memory = memory_of(jax.jit(lambda x: jnp.sin(x)[:128]).lower(x).compile())
    assert (memory.arguments, memory.outputs, memory.aliases) == (4096, 2048, 0)
    assert memory.needed >= 4096 + 2048
    assert Memory(10, 4, 3, 5, 20).needed == 20
    assert Memory(10, 4, 3, 5, 1).needed == 16


def test_devices_are_known_by_what_jax_calls_them():
    assert peak_of("NVIDIA H100 80GB HBM3") is PEAKS["NVIDIA H100"]
    assert peak_of("NVIDIA A100-SXM4-80GB") is PEAKS["NVIDIA A100"]
    assert peak_of("TPU v5 lite").flops["float32"] == 197e12 / 6
    assert peak_of("cpu") is peak_of("TPU v5 lite pod") is peak_of("NVIDIA H1") is None


@pytest.mark.parametrize("name", ["v5e", "v5e:", "v5e:2x", "v9:2x2", "gpu:h2000", "gpu:h200x0", ""])
def test_an_unknown_name_gets_the_known_ones(name):
    with pytest.raises(InputError, match=r"unknown topology .*known: .*local.*v5e:2x4"):
        find_machine(name)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("v5e:2x4", r"TPU compiler .*\(it fails\); .*\.\[tpu\].* there is: v4:2x2x1, .*v5e:2x4"),
        ("gpu:h200", r"GPU compiler .*\(it fails\); pip install jax-cuda13-plugin=="),
    ],
)
def test_a_compiler_that_does_not_start_is_one_line(name, advice, monkeypatch):
    def fails(**options):
        raise RuntimeError("it fails\nand more")

    monkeypatch.setattr(topologies, "get_topology_desc", fails)
    with pytest.raises(InputError, match=advice) as error:
        find_machine(name)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not HAS_TPU_COMPILER, reason="no libtpu: install the extra [tpu]")
def test_known_slices_have_their_devices():
    # A v4 chip is two devices.
    counts = {"v4:2x2x1": 8, "v5e:1x1": 1, "v5e:2x4": 8, "v5e:16x16": 256, "v5p:2x2x1": 4}
    for name in KNOWN:
        if name[0] == "v":
            machine = find_machine(name)
            assert len(machine.devices) == counts.get(name, len(machine.devices))
            assert machine.memory >= 15 * 2**30
            assert machine.memory % 2**30 == 0  # as a run there rounds it
            assert peak_of(machine.kind)
    with pytest.raises(InputError, match=r"v5e:3x7: the TPU compiler .*there is: .*v5e:2x4"):
        find_machine("v5e:3x7")
