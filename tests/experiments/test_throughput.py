"""The benchmark: competitors agree, work is counted as by hand, tables say what was measured."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catdog_jax.population.flops import step_flops
from catdog_jax.types import InputError
from experiments import throughput
from experiments.shared import launcher
from experiments.shared.peers import engine, flax_loop, flax_vmap_scan, stock
from experiments.shared.peers.reference import distance, read_reference, write_reference
from experiments.shared.peers.registry import ENGINE, PEERS
from experiments.shared.throughput import cells, measure, summary
from experiments.shared.throughput.problem import Problem, train_config
from experiments.shared.throughput.process import Worker, WorkerError, environment
from experiments.shared.throughput.worker import calibrated

ROOT = Path(__file__).parents[2]
TINY = Problem("cnn:widths=4-8", 4, 0.001, side=8, examples=256)
WHERE = {"backend": "cpu", "cores": 2}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The first steps of a tiny CNN by stock Flax: file, and what is in it."""
    path = tmp_path_factory.mktemp("reference") / "cnn.npz"
    write_reference(TINY, path, [0, 1, 3])
    return path, read_reference(path)


def flops(problem):
    params = jax.eval_shape(
        stock.FAMILIES[problem.family](**problem.settings()).init,
        jax.random.key(0),
        jnp.zeros((1, *problem.shape)),
    )["params"]
    images = jax.ShapeDtypeStruct((problem.batch_size, *problem.shape), np.float32)
    return step_flops(stock.stock_apply(problem), params, images)


def test_the_work_of_a_step_is_what_a_person_counts():
    b, d, h = 128, 3072, 256
    dense = 2 * b * (2 * d * h + 3 * h * h + 3 * h * 2)  # no gradient of the pictures
    assert flops(Problem("mlp", 1, 1.0)) == dense
    assert flops(Problem("linear", 1, 1.0)) == 2 * b * 2 * d * 2
    first = 2 * 9 * 3 * 32 * 32**2
    others = 2 * 9 * (32 * 64 * 16**2 + 64 * 128 * 8**2) + 2 * 128 * 2
    assert flops(Problem("cnn:widths=32-64-128", 1, 1.0)) == 64 * (2 * first + 3 * others)


def test_first_steps_are_those_of_stock_flax_and_faults_are_seen(reference):
    _, known = reference
    runner = engine.prepare(TINY, known)
    assert runner.members == 4
    assert runner.check["loss"] < 1e-5
    assert runner.check["update"] < 1e-2
    for peer in (flax_loop, flax_vmap_scan):
        found = peer.prepare(TINY._replace(members=2), known)
        assert found.check["loss"] < 1e-5
        assert found.check["update"] < 1e-2
        found.run(found.quantum)
    still = distance(known, "constant", {0: (known.start[0], known.loss["constant"][0])})
    assert still == {"loss": 0.0, "update": pytest.approx(1.0)}
    assert summary.wrong({"check": still}, "float32").startswith("update is ")
    assert summary.wrong({"check": {"loss": math.nan}}, "float32")
    assert summary.wrong({"check": {"loss": 1e-4, "update": 1e-3}}, "float32") == ""
    assert summary.wrong({"check": None}, "float32") == ""


def test_vmap_and_loop_goes_round_the_batches_in_one_call(reference, monkeypatch):
    _, known = reference
    loops = []
    real = jax.jit

    def jit(function, **options):
        loops.append(real(function, **options))
        return loops[-1]

    monkeypatch.setattr(flax_vmap_scan.jax, "jit", jit)
    runner = flax_vmap_scan.prepare(TINY._replace(members=2), known)
    losses = runner.run(20)  # more than there are batches
    assert losses.shape == (2,)
    assert np.isfinite(losses).all()
    assert runner.quantum == 1
    assert loops[-1]._cache_size() == 1  # however many steps, nothing is compiled anew


def test_members_beyond_a_wave_are_timed_wave_after_wave(monkeypatch):
    job_plan = engine.plans.job_plan

    def waves_of_two(*args):
        return job_plan(*args)._replace(wave=2, num_devices=1, share=1)

    drawn = []
    member_keys = engine.member_keys
    monkeypatch.setattr(engine.plans, "job_plan", waves_of_two)
    monkeypatch.setattr(
        engine,
        "member_keys",
        lambda seeds, *ends: drawn.append(ends) or member_keys(seeds, *ends),
    )
    runner = engine.prepare(TINY._replace(entry="linear"), None)
    assert runner.members == runner.facts["waves"] == 2
    for _ in range(2):
        runner.start()
        runner.run(1)
    assert drawn == [(0, 2), (2, 4), (0, 2)]


@pytest.mark.parametrize(
    ("steps", "pace", "cut"),
    [(10, 0.4, [10]), (10, 0.8, [5, 5]), (10, 1.2, [3, 3, 4]), (2, 100.0, [1, 1]), (1, 0.0, [1])],
)
def test_long_samples_are_cut_into_calls_as_long_as_those_of_a_run(steps, pace, cut):
    assert engine.calls(steps, pace) == cut


def test_the_engine_trains_as_the_main_job_does():
    config = train_config(Problem("linear", 8, 1.0))
    default = type(config)()
    assert (config.num_members, config.batch_size, config.augment) == (8, 128, "none")
    for name in ("optimizer", "learning_rate", "weight_decay", "schedule", "clip_norm", "vary"):
        assert getattr(config, name) == getattr(default, name)


def test_a_worker_prepares_samples_and_tells_its_faults(reference):
    path, _ = reference
    with Worker({"JAX_NUM_CPU_DEVICES": "1"}) as worker:
        wrong = TINY._replace(strategy="fast")._asdict()
        with pytest.raises(WorkerError, match="InputError: strategy 'fast'"):
            worker.ask("prepare", module="engine", options={}, problem=wrong, reference="")
        found = worker.ask(
            "prepare", module="engine", options={}, problem=TINY._asdict(), reference=str(path)
        )
        sample, end = worker.ask("sample"), worker.ask("finish")
        assert sample["steps"] == found["steps"] >= 1
        assert sample["seconds"] > 0
        assert found["check"]["update"] < 1e-2
        assert end["memory"]["peak_bytes"] > found["state_bytes"] > 0
        worker._process.kill()
        with pytest.raises(WorkerError, match="its process ended"):
            worker.ask("sample")


@pytest.mark.parametrize("name", ["torch_loop", "torch_vmap"])
@pytest.mark.parametrize("entry", [TINY.entry, "resnet:widths=2-4:head=flatten", "linear"])
@pytest.mark.slow  # imports torch, which takes long
def test_torch_computes_what_flax_does(name, entry, tmp_path):
    pytest.importorskip("torch")
    problem = TINY._replace(entry=entry, members=2)
    write_reference(problem, tmp_path / "reference.npz", [0, 1])
    options = {"channels_last": problem.has_conv} if name == "torch_loop" else {}
    with Worker(environment(module=name, cores=0, backend="cpu")) as worker:
        found = worker.ask(
            "prepare",
            module=name,
            options=options,
            problem=problem._asdict(),
            reference=str(tmp_path / "reference.npz"),
        )
    assert found["check"]["update"] < 1e-2
    assert found["check"]["loss"] < 1e-4
    assert found["check"].get("logits", 0.0) < 1e-4


def test_scikit_learn_has_models_of_the_same_size(reference):
    scikit_learn = pytest.importorskip("experiments.shared.peers.scikit_learn")
    problem = TINY._replace(entry="mlp:width=4:depth=2", members=2)
    runner = scikit_learn.prepare(problem, reference[1])
    runner.run(1)
    assert runner.members == 2
    model = scikit_learn._model(problem, 0)
    assert model.hidden_layer_sizes == (4, 4)


def test_torch_is_imported_by_nobody_but_its_competitors():
    code = "import sys; from experiments import throughput; assert 'torch' not in sys.modules; "
    code += "assert 'sklearn' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_steps_are_counted_until_a_sample_lasts():
    calls = []

    def run(steps):
        calls.append(steps)
        time.sleep(1e-4 * steps)

    steps = calibrated(run, 8, 0.02)
    assert 8 <= steps <= 200
    assert calls[0] == 8
    assert all(count % 8 == 0 for count in [*calls, steps])


def test_who_meets_whom():
    base = Problem("linear", 1, 1.0)
    names = [name for name in PEERS if name not in (ENGINE, "roofline")]
    table = cells.table_cells(base, ["linear", "cnn"], [1, 256], names, WHERE)
    assert [(cell.model, cell.members) for cell in table] == [
        *(("linear", 1), ("linear", 256), ("cnn", 1), ("cnn", 256))
    ]
    assert all(cell.entrants[0].name == ENGINE for cell in table)
    large = {e.name: e for e in table[3].entrants}
    assert "scikit_learn" not in large
    assert large[ENGINE].problem.members == 256
    assert large["torch"].problem.members == large["flax_loop"].problem.members == 2
    assert large["flax_vmap_scan"].hopeless
    assert large["flax_vmap_scan"].problem.members == 2
    assert large["torch_vmap"].problem.members == 8
    assert not {e.name: e for e in table[1].entrants}["flax_vmap_scan"].hopeless
    assert "torch_processes" not in {e.name for e in table[2].entrants}
    (compared,) = cells.strategy_cells(base, ["cnn"], [64], "gpu")
    assert len({e.key for e in compared.entrants}) == 1 + 3 * 3
    (devices,) = cells.device_cells(base, ["linear"], [64], [1, 2], "cpu")
    assert [(e.cores, e.members) for e in devices.entrants] == [(2, 8), (1, 8)]
    assert max(e.members for e in cells.scaling_cells(base, True)[0].entrants) == 4096


def run_bench(*flags):
    argv = ["throughput", *flags]
    return launcher.launch(argv, "experiments.throughput", throughput.Config, throughput.run)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--parts=start,jobs", "'jobs'; allowed: table, scaling, strategies, devices, start, job"),
        ("--job_seconds=0", "0.0 is out of range; give a finite number above 0"),
        ("--members=8,0", "--members=8,0: write different whole numbers above 0"),
        ("--devices=two", "--devices=two: write different whole numbers above 0"),
        ("--models=mpl", "did you mean 'mlp'"),
        ("--models=cnn:norm=layer", "norm is not compared"),
        ("--models=polynomial", "'polynomial' is not compared; allowed: linear, mlp, cnn, resnet"),
        ("--peers=torsh", "did you mean 'torch'"),
        ("--precision=float16", "allowed: float32, tf32, bfloat16"),
        ("--rounds=0", "out of range"),
        ("--name=a/b", "a/b"),
    ],
)
def test_wrong_input_is_refused_in_a_line(flag, words, tmp_path, capsys):
    assert run_bench(f"--out_dir={tmp_path}", flag) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("gpu", "--devices=1,3: 3 is more than the 2 there are; give numbers from 1 to 2"),
        ("tpu", "throughput does not measure TPUs: a chip serves one process"),
    ],
)
def test_what_this_machine_has_not_is_refused_before_a_folder_is_made(
    backend, words, tmp_path, capsys, monkeypatch
):
    facts = {"backend": backend, "devices": ["x", "x"]}
    monkeypatch.setattr(measure.Bench, "start_roofline", lambda *_: facts)
    assert run_bench(f"--out_dir={tmp_path}", "--devices=1,3", "--peers=none") == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_what_is_not_installed_is_told_and_left_out(monkeypatch):
    from experiments.shared.throughput import run as bench

    monkeypatch.setitem(PEERS, "torch", PEERS["torch"]._replace(needs="no_such_package"))
    peers, notes = bench.chosen_peers("")
    assert "torch" not in peers
    assert "flax_loop" in peers
    assert notes[0].startswith("no_such_package")  # others may be missing as well
    assert "not installed, so torch" in notes[0]
    assert "are left out" in notes[0]
    assert "give the extra [bench]" in notes[0]
    with pytest.raises(InputError, match="torch needs the package no_such_package"):
        bench.chosen_peers("torch")
    assert bench.chosen_peers("none") == ([], [])


@pytest.mark.slow  # the whole command, every part of it, with the peers of JAX alone
def test_a_whole_benchmark(tmp_path, capsys):
    flags = ("--models=mlp:width=4:depth=1", "--members=2", "--rounds=2", "--seconds=0.01")
    more = (f"--out_dir={tmp_path}", "--parts=table,devices", "--peers=flax_loop,flax_vmap_scan")
    assert run_bench(*flags, *more, "--devices=1,2") == 0
    said = capsys.readouterr().out
    assert "stock Flax, vmap + scan" in said
    (folder,) = (tmp_path / "throughput").iterdir()
    found = json.loads((folder / "throughput.json").read_text())
    assert found["finished"]
    assert [len(cell["rows"]) for cell in found["cells"]] == [3, 2]
    assert {path.name for path in (folder / "figures").iterdir()} == {
        "throughput.png",
        "devices.png",
    }
