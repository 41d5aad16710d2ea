"""What fits: the whole command here, for a machine that is not here, and what a wrong flag gets."""

import importlib.util
import json

import jax
import pytest

from catdog_jax.population import fit
from catdog_jax.population.fit import Collective, Compiled, CompiledWave, Memory
from catdog_jax.population.machine import find_machine
from experiments import fit_check

MODEL = "mlp:width=8:depth=1"
SMALL = (f"--models={MODEL}", "--num_members=8", "--image_size=8", "--num_train=64")
MORE = ("--num_test=32", "--optimizer=sgd", "--batch_size=16", "--num_steps=12", "--eval_every=4")


def launch(out_dir, *flags):
    return fit_check.main([f"--out_dir={out_dir}", *SMALL, *MORE, *flags])


def written(out_dir):
    (path,) = out_dir.glob("fit_check/*/fit_check.json")
    return json.loads(path.read_text())


def test_the_whole_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert launch("~/x", "--num_train=1_000_000") == 0  # no picture has memory of its own
    out = capsys.readouterr()
    assert out.out.splitlines()[-1] == "fits: yes"
    assert "communication between devices: none" in out.out
    assert "largest wave that fits: 1 wave of 8 members" in out.out
    assert f"{MODEL}: compiling the training program of 8 members" in out.err
    found = written(tmp_path / "x")
    assert found["fits"] is True
    model = found["models"][MODEL]
    assert model["plan"]["wave"] == 8
    assert model["programs"][0]["memory"]["arguments"] > 1_000_000 * 8 * 8 * 3
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

    needs["collectives"] = [Collective("all-gather", True, 2)]
    assert launch(tmp_path, *flags) == 1
    out = capsys.readouterr()
    assert "communication in training: all-gather × 2 OVER MEMBERS" in out.out
    assert f"error: {MODEL}: the training program couples members by all-gather" in out.err
    needs |= {"fixed": 9_000, "collectives": [Collective("all-reduce", False, 1)]}
    for wave, reason in ((0, "not even 1 member(s) fit"), (8, "its programs need 9 KiB on each")):
        assert launch(tmp_path, *flags, f"--wave={wave}", "--name=x") == 1
        out = capsys.readouterr()
        assert f"error: {MODEL}: {reason}" in out.err
        assert out.out.splitlines()[-1] == "fits: no"
    assert json.loads((tmp_path / "fit_check/x/fit_check.json").read_text())["fits"] is False


@pytest.mark.slow  # two compilations for a TPU
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="no libtpu: install the extra [tpu]"
)
@pytest.mark.filterwarnings("ignore:Error reading persistent compilation cache")  # needs the chip
def test_a_slice_that_is_not_here(tmp_path, capsys):
    """A small formula compiles in seconds; each of eight chips holds as much as one chip does."""
    programs = {}
    for name, members in (("v5e:1x1", 2), ("v5e:2x4", 16)):
        flags = (f"--topology={name}", f"--num_members={members}", "--search=false")
        assert launch(tmp_path / name[-1], *flags) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "fits: yes"
        model = written(tmp_path / name[-1])["models"][MODEL]
        assert model["times"]["estimate"] > 0
        programs[model["plan"]["num_devices"]] = model["programs"]
    assert [program["collectives"] for program in programs[8]] == [[], []]
    assert programs[8][0]["memory"] == pytest.approx(programs[1][0]["memory"], rel=0.01)
