"""The largest wave that fits: the search, and the plan of an accelerator from what is compiled."""

import math

import jax
import numpy as np
import pytest
from populations import training

from catdog_jax.population import Program, Seeds, find_machine, fit, member_keys, varied
from catdog_jax.population.devices import member_mesh
from catdog_jax.population.fit import Compiled, CompiledWave, Memory, largest_wave, plan_training
from catdog_jax.types import InputError


def straight(slope, offset, budget, says=True, padded=1):
    """Make a compiler whose programs need offset + slope × members bytes."""

    def compile_at(members):
        needed = offset + slope * math.ceil(members / padded) * padded
        fits = needed <= budget
        return CompiledWave(members, needed if says or fits else None, fits, [])

    return compile_at


@pytest.mark.parametrize("says", [True, False])
@pytest.mark.parametrize("first", [1, 4, 37, 400])
@pytest.mark.parametrize(("slope", "multiple"), [(10, 1), (10, 8), (97, 1)])
def test_the_largest_wave_on_a_straight_line(first, slope, multiple, says):
    budget, first = 10_000, max(first // multiple, 1) * multiple
    compile_at = straight(slope, 300, budget, says)
    found = fit.best(
        largest_wave(compile_at, first, most=100_000, budget=budget, multiple=multiple)
    )
    true = (budget - 300) // slope
    assert found is not None
    assert found.per_device % multiple == 0
    if says or first < true:  # from a refusal without a figure one can only halve
        assert true * 0.94 - multiple <= found.per_device <= true


def test_a_step_of_the_line_does_not_mislead():
    """Members 61 to 80 need the same: twice the same figure is no reason to try a thousand."""
    tried = largest_wave(straight(97, 300, 8_900, padded=20), 62, most=1000, budget=8_900)
    assert 0.9 * 80 <= fit.best(tried).per_device <= 80
    assert max(wave.per_device for wave in tried) < 100


@pytest.mark.parametrize("slope", [10, 37, 97, 400, 3000])
@pytest.mark.parametrize("most", [64, 512, 1000])
def test_a_search_that_stops_early_leads_to_as_many_waves(slope, most):
    compile_at = straight(slope, 300, 10_000)
    long, short = (
        largest_wave(compile_at, 2, most=most, budget=10_000, settle=settle)
        for settle in (False, True)
    )
    assert short == long[: len(short)]
    assert math.ceil(most / fit.best(short).per_device) == math.ceil(
        most / fit.best(long).per_device
    )


def small(num_members, **options):
    options = {"optimizer": "sgd", "batch_size": 16, **options}
    return training("mlp:width=8:depth=1", num_members, **options)


def test_the_programs_are_those_of_a_run():
    asked, machine = small(8), find_machine()
    plan, tried = plan_training(asked, machine)
    assert tried == []  # on a CPU the rule has the last word
    wave = fit.compile_wave(asked, plan, machine)
    train, sets = jax.tree.map(
        lambda x: np.zeros(x.shape, x.dtype), (asked.train, asked.evaluations)
    )
    keys = member_keys(Seeds(), varied(plan.wave))
    run = Program(asked.learner(plan), keys, train, sets, plan, member_mesh(), asked.observe)
    compiled, judging = wave.programs
    assert compiled.memory == fit.memory_of(run.lower_segment(keys).compile())
    assert compiled.memory.aliases > 0
    assert compiled.collectives == judging.collectives == []
    # What the other program reads lies on the device meanwhile: pictures and labels.
    assert compiled.beside == (64 + 32) * (8 * 8 * 3 + 4)
    assert wave.needed == max(compiled.needed, judging.needed)


@pytest.fixture
def compiler(monkeypatch):
    """A compiler of programs that need 1,000 bytes and 10 a member; the sizes it was asked for."""
    asked = []

    def compile_wave(training, plan, machine, tell):
        asked.append(plan.per_device)
        needed = 1000 + 10 * plan.per_device
        return CompiledWave(plan.per_device, needed, needed <= fit.usable(machine), [])

    monkeypatch.setattr(fit, "compile_wave", compile_wave)
    return asked


def accelerator(memory, backend="gpu"):
    return find_machine()._replace(backend=backend, memory=memory)


def test_waves_are_as_large_as_compiled_programs_allow(compiler):
    devices = jax.local_device_count()
    machine = accelerator(10_000)  # 9,000 may be filled: 800 members a device
    plan, tried = plan_training(small(1000 * devices), machine)
    assert plan.per_device == 500  # 1,000 a device in two waves of one size
    assert plan.wave == 500 * devices
    assert 10 < plan.bytes_per_member < 12  # as compiled
    assert [wave.per_device for wave in tried] == compiler
    every, _ = plan_training(small(1000 * devices), machine, search=True)
    assert every == plan
    with pytest.raises(
        InputError, match=r"not even 1 member\(s\) fit on a device: they need 0.0 G"
    ):
        plan_training(small(1000), accelerator(1000))


def test_nothing_is_compiled_where_memory_is_not_in_doubt(compiler):
    devices = jax.local_device_count()
    plan, tried = plan_training(small(1000 * devices), accelerator(2**40))
    assert (plan.per_device, tried, compiler) == (1000, [], [])
    weights = 4 * (192 * 8 + 8 + 8 * 2 + 2)
    assert weights < plan.bytes_per_member < 5 * weights  # and a tenth of what a step writes
    plan, _ = plan_training(small(1000 * devices, wave=4 * devices), accelerator(10_000))
    assert (plan.per_device, compiler) == (4, [])  # as a person asked
    plan_training(small(1000 * devices), accelerator(2**40, "tpu"))  # which pads arrays
    assert compiler


def test_a_refusal_says_how_much_was_missing():
    text = "Ran out of memory, the total required for HLO temporaries (20.50G) exceeds available"
    assert Compiled("training", None, 7, [], 1.0, text).needed == int(20.5 * 2**30) + 7
    assert Compiled("training", None, 7, [], 1.0, "RESOURCE_EXHAUSTED").needed is None
    assert Compiled("training", Memory(1, 2, 0, 3, 0), 7, [], 1.0).needed == 13
