"""The plan is a pure function of config, kind of device and total memory."""

import jax
import numpy as np
import pytest

from catdog_jax.models.build import build_model
from catdog_jax.population import Execution, Schedule, make_plan
from catdog_jax.population.machine import Machine
from catdog_jax.types import InputError


def plan(entry="mlp", members=32, devices=2, backend="cpu", memory=8, size=64, **options):
    more = {x: options.pop(x) for x in ("transpose", "shared", "flops") if x in options}
    batch = jax.ShapeDtypeStruct((size, 32, 32, 3), np.float32)
    machine = Machine("made up", (None,) * devices, backend, "", int(memory * 2**30))
    model, how = build_model(entry, (32, 32, 3), 2), Execution(**options)
    return make_plan(model, batch, members, how, machine, **more)


def test_evaluations_are_counted_without_being_listed():
    for num_steps, every in ((1, 1), (7, 3), (9, 3), (10, 100)):
        schedule = Schedule(num_steps, every)
        assert schedule.num_evaluations == len(schedule.evaluations)
    assert Schedule(2**31 - 1, 1).num_evaluations == 2**31


@pytest.mark.parametrize(
    ("entry", "backend", "strategy", "conv", "microbatch"),
    [
        ("linear", "cpu", "chunk", "patches", 0),
        ("mlp:width=16:depth=1", "cpu", "chunk", "patches", 0),
        ("mlp", "cpu", "map", "direct", 0),
        ("cnn", "cpu", "map", "wide", 8),
        ("cnn", "gpu", "vmap", "patches", 0),
        ("mlp", "tpu", "vmap", "patches", 0),
    ],
)
def test_the_written_rule(entry, backend, strategy, conv, microbatch):
    got = plan(entry, backend=backend)
    assert (got.strategy, got.conv, got.microbatch) == (strategy, conv, microbatch)


def test_a_long_run_earns_a_longer_compilation():
    assert plan("cnn", flops=10**14).conv == "winograd"
    assert plan("cnn", flops=10**14, conv="direct").conv == "direct"
    assert plan("cnn", flops=10**14, backend="gpu").conv == "patches"
    assert plan("mlp", flops=10**14).conv == "direct"


def test_first_layers_are_joined_where_members_share_their_batches():
    small, large = "cnn:widths=8-16", "cnn:widths=32-64"
    for members, devices in ((32, 2), (32, 1), (7, 1), (8, 4), (4, 2)):
        found = plan(small, shared=32, members=members, devices=devices)
        assert (found.joined, found.chunk) == (8, min(8, -(-members // devices)))
    assert [plan(small, shared=n, members=n).joined for n in (2, 4, 8, 16)] == [1, 2, 4, 8]
    assert plan(large, shared=32).joined == 2
    for options in (
        {"shared": 0},
        {"members": 1},  # on both devices
        {"precision": "bfloat16"},
        {"strategy": "map", "backend": "gpu"},
    ):
        assert plan(small, **{"shared": 32, **options}).joined == 1
    assert plan("cnn:widths=8-16:norm=layer", shared=32).joined == 1


def test_waves_are_whole_and_cover_the_members():
    for members in (1, 2, 3, 7, 32, 100):
        for devices in (1, 2, 4):
            got = plan(members=members, devices=devices)
            assert got.wave % got.num_devices == 0
            assert got.wave * -(-members // got.wave) - members < devices * -(-members // got.wave)


def test_less_memory_means_more_waves_of_nearly_equal_size():
    options = {"members": 1000, "strategy": "vmap"}
    whole = plan("mlp:width=64", memory=64, **options)
    less = plan("mlp:width=64", memory=2, **options)
    assert whole.wave == 1000
    assert less.wave < 1000
    waves = -(-1000 // less.wave)
    assert waves * less.wave - 1000 < 2 * waves
    # Half of a device's memory holds six copies of each member's weights, and activations.
    weights = 4 * (3072 * 64 + 64 + 64 * 64 + 64 + 64 * 2 + 2)
    assert less.wave // 2 * 6 * weights < 2**30


def test_members_that_take_turns_are_few_per_wave():
    """A core trains them one after another: each would wait for all others at every segment."""
    assert plan("mlp", members=1000).wave == 8
    assert plan("cnn", members=256).wave == 32
    assert plan("mlp:width=16:depth=1", members=4096).wave == 32
    assert 1000 < plan("linear", members=4096).wave < 1500
    assert plan("mlp", members=1000, wave=100).wave == 100


def test_chunks_are_even():
    got = plan("linear", members=130)
    assert (got.chunk, got.wave) == (33, 132)
    assert plan(wave=5).wave == plan(wave=5, strategy="chunk").wave == 6


@pytest.mark.parametrize(
    ("entry", "members", "devices", "used", "share"),
    [
        ("cnn", 1, 2, 2, 2),
        ("cnn", 3, 4, 4, 2),
        ("cnn", 2, 8, 8, 4),
        ("mlp", 1, 4, 1, 1),
        ("mlp", 3, 4, 3, 1),
    ],
)
def test_fewer_members_than_devices(entry, members, devices, used, share):
    got = plan(entry, members=members, devices=devices)
    assert (got.num_devices, got.share) == (used, share)
    assert got.wave >= members
    assert got.wave % (used // share) == 0


def test_a_batch_is_shared_evenly_or_not_at_all():
    got = plan("cnn", members=1, size=9)
    assert (got.num_devices, got.share) == (1, 1)


def test_matrices_are_transposed_on_a_cpu_where_the_optimiser_allows():
    assert plan(transpose=True).matrices == "transposed"
    assert plan(transpose=False).matrices == "stored"
    assert plan(transpose=True, backend="gpu").matrices == "stored"


def test_too_little_memory_is_an_error():
    with pytest.raises(InputError, match="one member needs about .* GiB on a device that has"):
        plan("cnn", memory=2**-10)
    with pytest.raises(InputError, match="wave 1000000 is more than memory holds; give at most"):
        plan("mlp", wave=1_000_000)
    # On an accelerator the compiled programs tell, and not the estimate.
    assert plan("cnn", memory=2**-10, backend="gpu").wave == 2
    assert plan("mlp", wave=1_000_000, backend="tpu").wave == 1_000_000
