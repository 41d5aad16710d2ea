"""What fits: the whole command here, for a machine that is not here, and what a wrong flag gets."""

import importlib.util
import json

import jax
import pytest

from catdog_jax.population import fit
from catdog_jax.population.compiled import Collective, Memory
from catdog_jax.population.fit import Compiled, CompiledWave
from catdog_jax.population.machine import find_machine
from experiments import fit_check
from experiments.shared import launcher

MODEL = "mlp:width=8:depth=1"
SMALL = (f"--models={MODEL}", "--num_members=8", "--image_size=8", "--num_train=64")
MORE = ("--num_test=32", "--optimizer=sgd", "--batch_size=16", "--num_steps=12", "--eval_every=4")


def launch(out_dir, *flags):
    argv = ["fit_check", f"--out_dir={out_dir}", *SMALL, *MORE, *flags]
    return launcher.launch(argv, fit_check.__name__, fit_check.Config, fit_check.run)


def written(out_dir):
    (path,) = out_dir.glob("fit_check/*/fit_check.json")
    return json.loads(path.read_text())


def test_the_whole_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    # No picture has memory of its own: a terabyte of them is as quick.
    assert launch("~/x", "--num_train=100_000_000") == 0
    out = capsys.readouterr()
    assert out.out.splitlines()[-1] == "fits: yes"
    assert "communication between devices: none" in out.out
    assert "largest wave that fits: 1 wave of 8 members" in out.out
    assert f"{MODEL}: compiling the training program of 8 members" in out.err
    found = written(tmp_path / "x")
    assert found["fits"] is True
    assert found["devices"]["count"] == jax.local_device_count()
    model = found["models"][MODEL]
    assert model["plan"]["wave"] == 8
    assert [program["name"] for program in model["programs"]] == ["training", "evaluation"]
    assert model["programs"][0]["memory"]["arguments"] > 100_000_000 * 8 * 8 * 3
    first, second = 192 * 8, 8 * 2
    # Forward, weights' gradients, and the gradient of the second layer's inputs.
    assert model["work"]["flops"] == 16 * 2 * (2 * first + 3 * second)
    assert model["times"] is None


def test_what_is_judged_is_the_plan_of_a_run(tmp_path, capsys, monkeypatch):
    """On an accelerator a run looks for its waves: its plan, its memory, its number of waves."""
    needs = {"fixed": 1000, "member": 10, "collectives": []}

    def compile_wave(training, plan, machine, tell):
        memory = Memory(needs["fixed"] + needs["member"] * plan.per_device, 0, 0, 0, 0)
        program = Compiled("training", memory, 0, needs["collectives"], 0.0)
        fits = memory.needed <= fit.usable(machine)
        return CompiledWave(plan.per_device, memory.needed, fits, [program])

    monkeypatch.setattr(fit, "compile_wave", compile_wave)
    there = find_machine("local")._replace(backend="gpu", kind="NVIDIA H200", memory=10_000)
    monkeypatch.setattr(fit_check, "find_machine", lambda name: there)
    devices = jax.local_device_count()
    flags = (f"--num_members={1000 * devices}", "--search=false")
    assert launch(tmp_path, *flags) == 0
    out = capsys.readouterr().out
    assert f"2 waves of {500 * devices:,} members (500 a device)" in out
    assert "at the very best 0 s" in out
    model = written(tmp_path)["models"][MODEL]
    assert model["plan"]["wave"] == 500 * devices
    assert 0 < model["times"]["least"] < model["times"]["estimate"]

    needs["collectives"] = [Collective("all-reduce", False, 1)]  # within a member's own devices
    assert launch(tmp_path, *flags) == 0
    needs["collectives"] = [Collective("all-gather", True, 2)]
    assert launch(tmp_path, *flags) == 1
    out = capsys.readouterr()
    assert "communication in training: all-gather × 2 OVER MEMBERS" in out.out
    assert "program couples members by all-gather" in out.err

    needs["fixed"] = 9_000
    for wave, reason in ((0, "not even 1 member(s) fit"), (8 * devices, "its programs need 9 KiB")):
        assert launch(tmp_path, *flags, f"--wave={wave}") == 1
        out = capsys.readouterr()
        assert f"error: {MODEL}: {reason}" in out.err or wave
        assert out.out.splitlines()[-1] == "fits: no"
        assert written(tmp_path)["fits"] is False


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
def test_a_chip_of_256_holds_its_share_and_no_more(tmp_path):
    needed = {}
    for name, chips in (("v5e:1x1", 1), ("v5e:16x16", 256)):
        flags = (f"--topology={name}", "--models=cnn:widths=16-32", "--image_size=32")
        wave = (f"--num_members={4 * chips}", f"--wave={4 * chips}", "--search=false")
        assert launch(tmp_path / str(chips), *flags, *wave) == 0
        model = written(tmp_path / str(chips))["models"]["cnn:widths=16-32"]
        assert [model["plan"][x] for x in ("num_devices", "share", "wave")] == [chips, 1, 4 * chips]
        assert [program["collectives"] for program in model["programs"]] == [[], []]
        needed[chips] = sum(model["programs"][0]["memory"][x] for x in ("arguments", "temporaries"))
    assert needed[256] > 64 * 32 * 32 * 3
    assert needed[256] == pytest.approx(needed[1], rel=1e-3)


@TPU
def test_a_slice_that_is_not_here(tmp_path, capsys):
    # A small formula on eight chips compiles in seconds.
    assert launch(tmp_path, "--topology=v5e:2x4", "--num_members=16", "--search=false") == 0
    out = capsys.readouterr().out
    assert "8 × TPU v5 lite" in out
    assert out.splitlines()[-1] == "fits: yes"
    found = written(tmp_path)["models"][MODEL]
    assert found["plan"]["num_devices"] == 8
    assert [program["collectives"] for program in found["programs"]] == [[], []]
    assert found["times"]["estimate"] > 0
