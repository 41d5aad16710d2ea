"""The benchmark: competitors agree, work is counted as by hand, samples become the right table."""

import importlib
import json
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr

from catdog_jax.population.estimate import flops_of
from experiments import throughput
from experiments.baselines import case as case_module
from experiments.baselines import flax_loop
from experiments.baselines.case import CHECK_STEPS, Case, Start, Trainer, calibrated, new_process

ROOT = Path(__file__).parents[2]
TINY = Case("cnn:widths=4-8", 3)
FLAT = "resnet:widths=2-4:stem_stride=2:head=flatten"


@pytest.fixture(scope="module")
def start():
    """The first steps of a tiny CNN by stock Flax."""
    return flax_loop.first_steps(TINY)


@pytest.mark.parametrize(
    ("model", "flops"),
    [
        ("mlp", 2 * 128 * (2 * 3072 * 256 + 3 * 256 * 256 + 3 * 256 * 2)),
        ("linear", 2 * 128 * 2 * 3072 * 2),  # no gradient of the pictures
        (
            "cnn:widths=32-64-128",
            64 * 2 * 9 * (2 * 3 * 32 * 32**2 + 3 * (32 * 64 * 16**2 + 64 * 128 * 8**2))
            + 64 * 3 * 2 * 128 * 2,
        ),
    ],
)
def test_the_work_of_a_step_is_what_a_person_counts(model, flops):
    assert flops_of(Case(model, 1).task().training) == flops


@pytest.mark.parametrize(
    "name", ["engine", "flax_loop", pytest.param("vmap_scan", marks=pytest.mark.slow)]
)
def test_first_steps_are_those_of_stock_flax(name, start):
    trainer = importlib.import_module(f"experiments.baselines.{name}").prepare(TINY, start)
    assert trainer.members == 3
    trainer.train(CHECK_STEPS)
    assert start.distance(trainer.params()) < 1e-3
    trainer.train(20)  # more than there are batches


def test_what_computes_something_else_is_seen(start, monkeypatch):
    assert start.distance(start.end) == 0.0
    assert start.distance(start.params) == pytest.approx(1.0)
    assert start.distance(jax.tree.map(lambda x: np.nan * x, start.end)) == np.inf
    idle = Trainer(3, lambda steps: None, lambda: start.params)
    monkeypatch.setattr(flax_loop, "prepare", lambda *_: idle)
    with pytest.raises(RuntimeError, match="first steps are 1 away from stock Flax's"):
        case_module.prepare("flax_loop", TINY, start, 0.01)


@pytest.mark.slow  # imports torch, which takes long
@pytest.mark.parametrize("model", [TINY.model, FLAT, "resnet:widths=2-4", "mlp:width=8", "linear"])
def test_torch_computes_what_flax_does(model):
    pytest.importorskip("torch")
    case = Case(model, 2)
    start = flax_loop.first_steps(case)
    for name in ("torch_loop", "torch_channels_last", "torch_processes", "torch_vmap"):
        with new_process() as process:
            info = process.submit(case_module.prepare, name, case, start, 0.01).result()
            assert process.submit(case_module.sample).result() > 0
        assert info["measured"] == throughput.num_cores() if "processes" in name else 1


def test_scikit_learn_trains_on_the_batches():
    pytest.importorskip("sklearn")
    case = Case("mlp:width=4", 1)
    info = case_module.prepare("scikit_learn", case, flax_loop.first_steps(case), 0.01)
    assert info == {"measured": 1}
    assert case_module.sample() > 0


def test_steps_are_counted_until_a_sample_lasts():
    calls = []
    trainer = Trainer(1, lambda steps: calls.append(steps) or time.sleep(1e-3 * steps))
    assert calibrated(trainer, 1e-9) == 1
    assert calls == [1]
    assert 1 < calibrated(trainer, 0.05) <= 50
    assert calls[1] == 1


def test_who_meets_whom():
    names = [*throughput.COMPETITORS]

    def met(model, members, backend="cpu"):
        found = {n: throughput.own_case(n, Case(model, members), backend) for n in names}
        return {name: own.members for name, own in found.items() if own}

    every = {"engine": 256, "roofline": 1, "flax_loop": 1, "torch_loop": 1, "torch_processes": 1}
    assert met("linear", 256) == {
        **every, "vmap_scan": 256, "torch_vmap": 256, "scikit_learn": 1
    }  # fmt: skip
    slow = {"vmap_scan": 2, "torch_vmap": 8, "torch_channels_last": 1}
    assert met("cnn", 256) == {**every, **slow}
    assert "torch_processes" not in met("cnn", 1)
    assert met("mlp", 8, "gpu").keys() == every.keys() - {"torch_processes"} | {
        *("vmap_scan", "torch_vmap")
    }


class FakeProcess:
    """Answers as a competitor's process does; what is in `fails` raises."""

    fails = ()
    sampled = ()

    def submit(self, function, *args):
        future = Future()
        if function is throughput.first_steps:
            future.set_result(Start("cpu", ["x"] * 2, 10**9, *[None] * 3))
            return future
        if function is throughput.prepare:
            self.name = args[0]
            future.set_result({"measured": 1, "waves": 1})
        else:
            self.sampled.append(self.name)
            future.set_result(100.0)
        if (self.name, function.__name__) in self.fails:
            future = Future()
            future.set_exception(MemoryError("no\nmemory"))
        return future

    def shutdown(self):
        """There is nothing to end."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def measured(monkeypatch, *fails):
    monkeypatch.setattr(throughput, "new_process", FakeProcess)
    monkeypatch.setattr(FakeProcess, "fails", fails)
    monkeypatch.setattr(FakeProcess, "sampled", [])
    kept = {}
    cases = [Case("cnn", 1), Case("cnn", 8)]
    names = ["engine", "roofline", "flax_loop", "vmap_scan"]
    return throughput.measure(cases, names, 6, 1.0, kept.update), kept


def test_turns_are_drawn_anew(monkeypatch):
    data, kept = measured(monkeypatch)
    assert (data["rate"] == 100.0).all()
    rounds = [tuple(FakeProcess.sampled[i : i + 4]) for i in range(0, 48, 4)]
    assert all(len(set(order)) == 4 for order in rounds)
    assert len(set(rounds)) > 1
    assert list(data["hopeless"].values[0]) == [False, False, False, True]
    assert kept["table"]["data_vars"]["rate"]["data"][0][1][0] == [100.0] * 6
    json.dumps(kept, allow_nan=False)


def test_a_lost_competitor_costs_its_own_column_alone(monkeypatch, capsys):
    data, kept = measured(monkeypatch, ("flax_loop", "sample"), ("roofline", "prepare"))
    assert data["ratio"].notnull().values[0].tolist() == [[True, False, False, True]] * 2
    assert data["share"].isnull().all()
    assert kept["info"]["cnn × 8"]["flax_loop"] == {"error": "MemoryError: no memory"}
    assert "Flax loop failed on cnn × 1: MemoryError: no memory" in capsys.readouterr().out
    json.dumps(kept, allow_nan=False)
    with pytest.raises(MemoryError):
        measured(monkeypatch, ("engine", "sample"))


def test_medians_quartiles_ratios_and_shares():
    engine_rates, product, torch = [100, 110, 120, 130, 140], [2e11] * 5, [60, 55, 30, 65, 70]
    rates = np.array([engine_rates, product, torch, [np.nan] * 5], float)[None, None]
    data = xr.Dataset(
        {"rate": (("model", "members", "competitor", "round"), rates), "flops": ("model", [1e9])},
        {"model": ["mlp"], "members": [8],
         "competitor": ["this engine", "matrix product", "torch", "scikit-learn"]},
    )  # fmt: skip
    found = throughput.summarised(data)
    one = found.sel(model="mlp", members=8, competitor="torch")
    assert [float(one[f"ratio{end}"]) for end in ("_low", "", "_high")] == [2.0, 2.0, 2.0]
    assert float(one["share"]) == pytest.approx(0.6)
    assert throughput.table(found)[1:] == [["mlp", "8", "120", "60 %", "2.00", "–"]]


def test_what_is_not_installed_is_left_out(monkeypatch, tmp_path, capsys):
    gone = throughput.BASELINES["torch_loop"]._replace(needs="no_such_package")
    monkeypatch.setitem(throughput.BASELINES, "torch_loop", gone)

    def stop(cases, names, *_):
        raise RuntimeError(str(names))

    monkeypatch.setattr(throughput, "measure", stop)
    assert throughput.main([f"--out_dir={tmp_path}", "--baselines=torch_loop,flax_loop"]) == 1
    said = capsys.readouterr()
    assert "left out: torch_loop; for them install the extra [bench]" in said.out
    assert "['engine', 'roofline', 'flax_loop']" in said.err


def test_torch_is_imported_by_nobody_but_its_competitors():
    code = "import sys; from experiments import throughput; "
    code += "assert not {'torch', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.slow  # a command of its own
def test_a_job_that_fails_is_told_in_its_last_words(tmp_path):
    with pytest.raises(RuntimeError, match="ended with status 2: error: .*mpl"):
        case_module.main_job({"models": "mpl"}, tmp_path / "job", tmp_path)


@pytest.mark.slow  # the whole command, every part of it: five runs of an experiment
def test_a_whole_benchmark(tmp_path, capsys):
    flags = ("--models=linear", "--members=2", "--rounds=1", "--seconds=0.01", "--job_seconds=0.5")
    more = (f"--out_dir={tmp_path}", "--parts=table,start,job", "--baselines=flax_loop,vmap_scan")
    assert throughput.main([*flags, *more]) == 0
    said = capsys.readouterr().out
    assert "÷ Flax loop  ÷ vmap + scan" in said
    assert "linear × 2, warm: " in said
    assert "linear × 2: whole job ÷ engine alone " in said
    (folder,) = (tmp_path / "throughput").iterdir()
    found = json.loads((folder / "throughput.json").read_text())
    assert found["start"]["linear × 2"].keys() == case_module.STATES.keys()
    job = found["job"]["linear × 2"]
    assert job["ratio"][1] == pytest.approx(job["job_seconds"] / job["engine_seconds"])
    assert (folder / "figures" / "throughput.png").exists()
