"""What fits: the search, the bounds, the whole command here, and for a TPU that is not here."""

import importlib.util
import json
import math

import jax
import numpy as np
import pytest

from catdog_jax.population import Plan, Program, Seeds, member_keys
from catdog_jax.population.compiled import Collective, Memory, memory_of
from catdog_jax.population.devices import member_mesh
from catdog_jax.population.topology import Machine, find_machine
from catdog_jax.types import Data
from experiments import fit_check
from experiments.shared import fit_programs as programs
from experiments.shared import fit_report, jobs, launcher
from experiments.shared.config import TrainConfig
from experiments.shared.fit_peaks import PEAKS, bound, peak_of
from experiments.shared.fit_search import CLOSE, MOST_TRIALS, Trial, best, largest_fit

SMALL = ("--models=mlp:width=8:depth=1", "--num_members=8", "--image_size=8", "--num_train=64")
MORE = ("--num_test=32", "--optimizer=sgd", "--batch_size=16", "--num_steps=12", "--eval_every=4")


def launch(out_dir, *flags):
    argv = ["fit_check", f"--out_dir={out_dir}", *SMALL, *MORE, *flags]
    return launcher.launch(argv, fit_check.__name__, fit_check.Config, fit_check.run)


def written(out_dir):
    (path,) = out_dir.glob("fit_check/*/fit_check.json")
    return json.loads(path.read_text())


def straight(slope, offset, memory, says=True):
    """Make a compiler whose programs need offset + slope × members bytes."""

    def compile_at(members):
        needed = offset + slope * members
        return Trial(members, needed <= memory, needed if says or needed <= memory else None)

    return compile_at


@pytest.mark.parametrize("says", [True, False])
@pytest.mark.parametrize("start", [1, 4, 37, 400])
@pytest.mark.parametrize(("slope", "multiple"), [(10, 1), (10, 8), (97, 1)])
def test_the_largest_wave_on_a_straight_line(start, slope, multiple, says):
    memory, start = 10_000, max(start // multiple, 1) * multiple
    compile_at = straight(slope, 300, memory, says)
    trials = largest_fit(
        compile_at, compile_at(start), memory=memory, most=100_000, multiple=multiple
    )
    found, true = best(trials), (memory - 300) // slope
    assert found is not None
    assert found.fits
    assert found.members % multiple == 0
    if says or start < true:  # from a refusal without a figure one can only halve
        assert true * (1 - 2 * CLOSE) - multiple <= found.members <= true


def test_a_step_of_the_line_does_not_mislead():
    """Members 61 to 80 need the same: twice the same figure is no reason to try a thousand."""

    def compile_at(members):
        needed = 300 + 97 * math.ceil(members / 20) * 20
        return Trial(members, needed <= 8_900, needed)

    trials = largest_fit(compile_at, compile_at(62), memory=8_900, most=1000)
    assert [trial.needed for trial in trials].count(8_060) > 1
    assert 0.9 * 80 <= best(trials).members <= 80
    assert max(trial.members for trial in trials) < 100


@pytest.mark.parametrize("slope", [10, 37, 97, 400, 3000])
@pytest.mark.parametrize("most", [64, 512, 1000])
def test_a_search_that_stops_early_leads_to_as_many_waves(slope, most):
    compile_at = straight(slope, 300, 10_000)
    trials, short = (
        largest_fit(compile_at, compile_at(2), memory=10_000, most=most, settle=settle)
        for settle in (False, True)
    )
    assert short == trials[: len(short)]
    assert math.ceil(most / best(short).members) == math.ceil(most / best(trials).members)
    if slope == 97:  # 100 fit, and 97 are within CLOSE of that
        assert len(short) < MOST_TRIALS


def test_no_wave_is_larger_than_asked_for():
    compile_at = straight(1, 0, 10**9)
    assert largest_fit(compile_at, compile_at(5), memory=10**9, most=5) == [Trial(5, True, 5)]
    trials = largest_fit(compile_at, compile_at(8), memory=10**9, most=50)
    assert best(trials) == Trial(50, True, 50)


def test_no_wave_fits_where_the_data_alone_are_too_large():
    compile_at = straight(1, 100, 50)
    trials = largest_fit(compile_at, compile_at(64), memory=50, most=64)
    assert best(trials) is None


def test_bounds_are_operations_over_speed_or_bytes_over_bandwidth():
    peak = PEAKS["TPU v5 lite"]
    assert bound(peak, "bfloat16", 197e12, 819e9 / 2) == (1.0, "arithmetic")
    assert bound(peak, "float32", 197e12, 0.0).seconds == pytest.approx(6.0)
    assert bound(peak, "bfloat16", 0.0, 819e9 * 3) == (3.0, "memory")
    assert peak_of("NVIDIA H100 80GB HBM3") is PEAKS["NVIDIA H100"]
    assert peak_of("cpu") is None
    assert peak_of("TPU v5 lite pod") is None


def mlp_job(**settings):
    config = TrainConfig(dataset="cifar10", batch_size=16, num_steps=12, **settings)
    dataset = programs.shape_dataset("cifar10", 64, 32, 8, 2)
    (job,) = jobs.make_jobs(config, dataset, ("mlp:width=8:depth=1",))
    return config, job


def test_what_a_member_costs():
    config, job = mlp_job(optimizer="sgd:momentum=0.9")
    work = programs.work_of(config, job)
    first, second = 192 * 8, 8 * 2
    assert work.judge_flops == 2 * (first + second)
    # Forward, weights' gradients, and the gradient of the second layer's inputs.
    assert work.step_flops == 16 * 2 * (2 * first + 3 * second)
    # Weights and one moment, read and written, and a few counters of the optimiser.
    assert 0 <= work.step_bytes - 2 * 2 * 4 * (first + 8 + second + 2) < 100
    assert work.judged == 64 + 32


def test_a_data_set_of_shapes_takes_no_memory():
    dataset = programs.shape_dataset("cifar10", 10**6, 10, 256, 3)
    assert dataset.train.inputs.nbytes == 10**6 * 256 * 256 * 3
    assert dataset.train.inputs.base is not None
    assert (
        np.lib.array_utils.byte_bounds(dataset.train.inputs)[1] - 1
        == (np.lib.array_utils.byte_bounds(dataset.train.inputs)[0])
    )
    assert len(dataset.class_names) == 3


def test_the_program_is_that_of_a_run():
    config, job = mlp_job(num_members=8)
    machine = find_machine("local")
    plan = jobs.rule_for(config, job, machine, "auto", "auto", 0)
    training, evaluation = programs.compile_programs(config, job, plan, machine)
    random = np.random.default_rng(0)
    data = {
        name: Data(
            random.integers(0, 256, (num, 8, 8, 3), np.uint8),
            np.arange(num, dtype=np.int32) % 2,
        )
        for name, num in (("train", 64), ("test", 32))
    }
    run = Program(
        jobs.job_learner(config, job, plan),
        member_keys(Seeds(), 0, plan.wave),
        data["train"],
        data,
        plan,
        member_mesh(plan.num_devices, plan.share),
    )
    real = run.lower_segment(member_keys(Seeds(), 0, plan.wave)).compile()
    assert training.memory == memory_of(real)
    assert training.memory.aliases > 0
    assert training.collectives == evaluation.collectives == []
    # What the other program reads lies on the device meanwhile: pictures and labels.
    assert training.beside == (64 + 32) * (8 * 8 * 3 + 4)
    half = programs.resized(plan, 1)
    assert programs.members_per_device(half) == 1
    assert half.wave == plan.num_devices
    assert programs.num_waves(config, 1, plan) == math.ceil(8 / plan.num_devices)


def test_the_whole_command(tmp_path, capsys):
    assert launch(tmp_path) == 0
    out = capsys.readouterr()
    assert out.out.splitlines()[-1] == "fits: yes"
    assert "communication between devices: none" in out.out
    assert "compiling the training program of 8 members" in out.err
    found = written(tmp_path)
    assert found["fits"] is True
    assert found["devices"]["count"] == jax.local_device_count()
    model = found["models"]["mlp:width=8:depth=1"]
    assert model["plan"]["wave"] == 8
    assert model["programs"]["training"]["needed"] > 0
    assert model["times"] is None


def test_a_run_that_does_not_fit(tmp_path, capsys, monkeypatch):
    local = find_machine("local")
    tiny = Machine("local", local.devices, "cpu", "TPU v5 lite", 10_000)
    monkeypatch.setattr(fit_check, "find_machine", lambda name: tiny)
    plan = Plan("vmap", 2, 8, 4, 0, "direct", 1)
    monkeypatch.setattr(fit_report, "rule_for", lambda *_: plan)
    assert launch(tmp_path, "--search=false") == 1
    out = capsys.readouterr()
    assert out.out.splitlines()[-1] == "fits: no"
    assert "error: mlp:width=8:depth=1: the training program needs" in out.err
    assert "time at the very best" in out.out
    assert written(tmp_path)["fits"] is False


def test_what_is_judged_is_the_plan_of_a_run(tmp_path, capsys, monkeypatch):
    """On an accelerator a run looks for its waves: its plan, its memory, its number of waves."""
    needs = {"offset": 1000, "slope": 10}

    def compile_programs(config, job, plan, machine, tell):
        members = programs.members_per_device(plan)
        memory = Memory(needs["offset"] + needs["slope"] * members, 0, 0, 0, 0)
        return [programs.Part(name, memory, 0, [], 0.0) for name in ("training", "evaluation")]

    monkeypatch.setattr(programs, "compile_programs", compile_programs)
    local = find_machine("local")
    there = Machine("local", local.devices, "gpu", "NVIDIA H200", 10_000)  # 9,000: 800 a device
    monkeypatch.setattr(fit_check, "find_machine", lambda name: there)
    monkeypatch.setattr(jobs, "find_machine", lambda name: there)
    flags = ("--num_members=4000", "--search=false")
    assert launch(tmp_path, *flags) == 0
    out = capsys.readouterr().out
    model = written(tmp_path)["models"]["mlp:width=8:depth=1"]
    config, job = mlp_job(num_members=4000, optimizer="sgd")
    plan = jobs.job_plan(config, job, "auto", 0)
    assert model["plan"] == plan._asdict()
    assert plan.wave == 4 * 500  # 1,000 a device in two waves of one size
    assert model["programs"]["training"]["needed"] == 1000 + 10 * 500
    assert model["times"]["waves"] == 2
    assert "2 waves of 2,000 members (500 a device)" in out
    assert "largest wave that fits: " in out

    needs["offset"] = 9_000
    assert launch(tmp_path, *flags) == 1
    out = capsys.readouterr()
    assert "not even 1 member(s) of mlp:width=8:depth=1 fit on a device" in out.err
    assert out.out.splitlines()[-1] == "fits: no"


def test_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = fit_report.write(fit_check.Config(out_dir="~/x"), [], find_machine("local"), [])
    assert path.is_relative_to(tmp_path / "x")


def test_coupled_members_are_an_error():
    _, job = mlp_job()
    machine = find_machine("local")
    shared = Collective("all-reduce", ((0, 1),), 1, False)
    coupled = Collective("all-gather", ((0, 1, 2, 3),), 2, True)
    memory = Memory(1, 1, 0, 0, 0)

    def reason(*found):
        part = programs.Part("training", memory, 0, list(found), 1.0)
        return fit_report._reason(job, [part], machine)

    assert reason() == reason(shared) == ""
    assert "couples members: all-gather over devices {0,1,2,3}" in reason(shared, coupled)


def test_a_refusal_says_how_much_was_missing():
    text = "Ran out of memory, the total required for HLO temporaries (20.50G) exceeds available"
    assert programs.wanted_memory(text) == int(20.5 * 2**30)
    assert programs.wanted_memory("RESOURCE_EXHAUSTED") == 0


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--topology=v5e", "unknown topology 'v5e'"),
        ("--conv=grouped", "--conv=grouped; allowed: auto, direct, lax, patches"),
        ("--models=word_average", "reads tokens"),
        ("--precision=half", "--precision=half; allowed"),
        ("--vary=data", "unknown stream 'data'"),
        ("--num_classes=1", "--num_classes=1 is out of range"),
        ("--name=a/b", "a/b"),
        ("--strategy=measure", "--strategy=measure times the machine itself"),
        ("--strategy=mop", "--strategy=mop; allowed: auto"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, capsys, flag, message):
    assert launch(tmp_path, flag) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


TPU = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="no libtpu: install the extra [tpu]"
)


@TPU
@pytest.mark.slow  # four compilations of CNNs, a minute each
def test_a_chip_of_256_holds_its_share_and_no_more():
    settings = {"dataset": "cifar10", "batch_size": 64, "models": "cnn:widths=16-32"}
    dataset = programs.shape_dataset("cifar10", 10_000, 2_000, 32, 2)
    found = {}
    for name, chips in (("v5e:1x1", 1), ("v5e:16x16", 256)):
        machine = find_machine(name)
        assert len(machine.devices) == chips
        config = TrainConfig(**settings, num_members=4 * chips, wave=4 * chips)
        (job,) = jobs.make_jobs(config, dataset, (config.models,))
        plan = jobs.rule_for(config, job, machine, "auto", "auto", config.wave)
        assert (plan.num_devices, plan.share, plan.wave) == (chips, 1, 4 * chips)
        parts = programs.compile_programs(config, job, plan, machine)
        assert [part.collectives for part in parts] == [[], []]
        found[chips] = {part.name: part.needed for part in parts}
    assert found[256]["training"] > 10_000 * 32 * 32 * 3
    assert found[256] == pytest.approx(found[1], rel=1e-3)


@TPU
def test_a_slice_that_is_not_here(tmp_path, capsys):
    # A small formula on eight chips compiles in seconds.
    assert launch(tmp_path, "--topology=v5e:2x4", "--num_members=16", "--search=false") == 0
    out = capsys.readouterr().out
    assert "8 × TPU v5 lite" in out
    assert out.splitlines()[-1] == "fits: yes"
    found = written(tmp_path)["models"]["mlp:width=8:depth=1"]
    assert found["plan"]["num_devices"] == 8
    assert [p["collectives"] for p in found["programs"].values()] == [[], []]
    assert found["times"]["step"]["seconds"] > 0
