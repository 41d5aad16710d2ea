"""The parts of the benchmark that run a whole experiment: what is timed, and how it is compared."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from catdog_jax.data import load_dataset
from catdog_jax.population import Plan, Schedule, waves
from catdog_jax.store import manifest
from catdog_jax.train import Learner, TrainState
from catdog_jax.types import Data
from experiments import init_convergence, throughput
from experiments.shared import checkpointer, launcher
from experiments.shared.throughput import command, job, start, whole
from experiments.shared.throughput.command import Command
from experiments.shared.throughput.problem import Problem, train_config

TIMES = {
    "began": 1000.0, "begun": 1007.0, "first_step": 1010.0, "kept": 1130.0, "ended": 1135.0,
    "steps": 500, "evaluation_seconds": 12.0,
}  # fmt: skip


@pytest.fixture
def clock(monkeypatch):
    """Time that stands still but where a test lets it go on."""
    made = SimpleNamespace(now=0.0)
    fake = SimpleNamespace(
        perf_counter=lambda: made.now, monotonic=lambda: made.now, time=lambda: 1e9 + made.now
    )
    monkeypatch.setattr(waves, "time", fake)
    monkeypatch.setattr(checkpointer, "time", fake)
    monkeypatch.setattr(checkpointer, "CHECKPOINT_SECONDS", 1e9)
    return made


@pytest.fixture
def slow_program(clock, monkeypatch):
    """A program that learns nothing: 10 s for the first call, 2 s for a step, 5 s to be judged."""

    class SlowProgram(waves.Program):
        def __init__(self, *_):
            self.called = False

        def init(self, keys):
            return TrainState(np.int32(0), np.zeros(2), (), np.full(2, -1))

        def segment(self, state, keys, num_steps):
            clock.now += 2.0 * num_steps if self.called else 10.0
            self.called = True
            return state, SimpleNamespace(loss=np.ones(2))

        def evaluate(self, params):
            clock.now += 5.0
            one = SimpleNamespace(loss=np.ones(2), accuracy=np.ones(2), logits=np.ones((2, 3, 2)))
            return {"test": one}, ()

    monkeypatch.setattr(waves, "Program", SlowProgram)
    return SlowProgram


class Folder:
    """Stands for a run folder; keeping a wave takes 3 s."""

    def __init__(self, clock):
        self.clock, self.manifest, self.at_first = clock, {}, None

    def save_wave(self, *_):
        self.clock.now += 3.0

    def update_manifest(self, timings):
        self.manifest = {"timings": timings}
        self.at_first = self.at_first or timings["x"]["latest"]


def test_a_run_tells_its_first_step_its_end_and_what_evaluations_took(clock, slow_program):
    folder = Folder(clock)
    schedule = Schedule(num_steps=5, eval_every=2)
    one_job = SimpleNamespace(part="00_x", label="x", schedule=schedule)
    told = []
    clock.now = 100.0
    with checkpointer.Checkpointer(folder, one_job) as keep:

        def on_segment(segment):
            told.append((segment.wave, segment.steps, segment.evaluation_seconds))
            keep.after_segment(segment, 2)
            assert keep._is_written(60.0)  # so that the clock moves in a known order

        for wave in waves.train_population(
            Learner(None, None, None, 1, None),
            Data(np.zeros(1), np.zeros(1)),
            schedule,
            num_members=4,
            evaluations={},
            plan=Plan("vmap", 2, 2, 1, 0, "direct", 0),
            on_segment=on_segment,
        ):
            keep.keep_wave(wave)
            assert keep._is_written(60.0)
    first = 100.0 + 5 + 10
    # The rest of the first wave: 4 steps, evaluations at 2, 4 and 5; then the second, from 0 on.
    spent = (4 * 2 + 3 * 5 + 3) + (5 + 5 * 2 + 3 * 5 + 3)
    assert folder.at_first == {
        "begun": 1e9 + 100, "first_step": 1e9 + first, "steps": 0, "evaluation_seconds": 0.0,
    }  # fmt: skip
    assert folder.manifest["timings"]["x"]["latest"] == {
        "begun": 1e9 + 100, "first_step": 1e9 + first, "kept": 1e9 + first + spent,
        "steps": 9, "evaluation_seconds": 35.0,
    }  # fmt: skip
    assert told[0] == (0, 1, 5.0)  # the one at the start, which compiles
    assert sum(seconds for *_, seconds in told) == 40.0


def test_a_job_is_compared_with_the_median_rate_around_it():
    found = job.compared([4.0, 5.0], [5.0, 6.0], TIMES)
    assert found["job_seconds"] == 120.0
    assert found["engine_seconds"] == 100.0
    assert found["ratio"] == pytest.approx(1.2)
    assert found["low"] == pytest.approx(1.2 * 4.75 / 5)
    assert found["high"] == pytest.approx(1.2 * 5.25 / 5)
    assert found["evaluation_share"] == pytest.approx(0.1)
    assert found["rest_share"] == pytest.approx(8 / 120)
    assert found["before_seconds"] == 10.0
    assert found["after_seconds"] == 5.0
    assert found["drift"] == pytest.approx(5.5 / 4.5 - 1)
    assert found["short"]


def test_what_makes_a_ratio_doubtful_is_told():
    row = {"model": "linear", "members": 8, "plan": {"wave": 8}, "engine_plan": {"wave": 8}}
    doubtful = row | job.compared([4.0], [5.0], TIMES) | {"engine_plan": {"wave": 4}}
    short, drift, plan = job.notes([doubtful])
    assert short.startswith("job, linear × 8: the engine's part is under 10 min")
    assert "after the job is +25 % off" in drift
    assert "planned otherwise" in plan
    long = TIMES | {"kept": 1010.0 + 700, "steps": 3100}
    assert job.notes([row | job.compared([5.0], [5.0], long)]) == []
    assert "linear × 8 (short)" in job.table([doubtful])
    assert "1.120  " in job.table([row | job.compared([5.0], [5.0], long | {"kept": 1704.4})])


def test_the_job_trains_what_the_engine_is_measured_on():
    problem = Problem("cnn:widths=32-64-128", 8, 1.0, strategy="map")
    flags = job.job_flags(problem, 70)
    config = launcher.parse_flags(["x", *flags], init_convergence.Config)
    engine = train_config(problem)
    for name in ("models", "num_members", "batch_size", "augment", "precision", "strategy", "vary"):
        assert getattr(config, name) == getattr(engine, name)
    recipe = problem.recipe
    assert (config.optimizer, config.learning_rate, config.weight_decay, config.num_steps) == (
        *(recipe.optimizer, recipe.learning_rate, recipe.weight_decay),
        70,
    )
    assert config.compile_cache == "none"
    assert config.dataset.endswith("noise.load:examples=10000:side=32")


def test_noise_is_as_many_pictures_as_asked_for():
    data = load_dataset("experiments.shared.throughput.noise.load:examples=50:side=8")
    assert data.train.inputs.shape == (50, 8, 8, 3)
    assert data.test.inputs.shape == (10, 8, 8, 3)
    assert set(data.train.labels) == {0, 1}
    assert 100 < data.train.inputs.mean() < 155


def test_starts_are_told_apart_by_what_is_kept(monkeypatch, tmp_path):
    seen = []

    def once(model, flags, out_dir, user, programs):
        seen.append((out_dir.name, user.name, programs.name, user.exists()))
        user.mkdir(exist_ok=True)
        return {"begun": 3.0, "first_step": {"first": 9.0, "cold": 8.0, "warm": 5.0}[out_dir.name]}

    monkeypatch.setattr(start, "start_once", once)
    monkeypatch.setattr(start, "imports_once", lambda caches: 1.0 if caches.exists() else 2.0)
    rows = start.measure(["linear"], [8], 2, ["--strategy=map"], tmp_path, lambda _: None)
    assert seen == 2 * [
        ("first", "user", "programs", False),
        ("cold", "user", "others", True),
        ("warm", "user", "programs", True),
    ]
    (row,) = rows
    assert row["flags"] == ["--models=linear", "--num_members=8", "--strategy=map"]
    assert [row[state][1]["imports"] for state in start.STATES] == [2.0, 1.0, 1.0]
    assert list(tmp_path.iterdir()) == []
    lines = start.table(rows).splitlines()
    assert lines[3].split() == [
        "linear",
        "×",
        "8",
        "cold",
        *["8.00", "8.00", "to", "8.00", "1.00", "2.00", "5.00"],
    ]


def test_a_command_that_fails_is_told_in_its_last_words(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "EXPERIMENT", "no_such_experiment")
    with Command(tmp_path, [], {}) as failing:
        with pytest.raises(RuntimeError, match=r"ended with status 1: .*no_such_experiment"):
            failing.times("linear", "first_step", 60.0)
        with pytest.raises(RuntimeError, match="ended with status 1"):
            failing.wait()


def test_a_command_is_waited_for_until_its_manifest_tells(monkeypatch, tmp_path):
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    popen = command.subprocess.Popen
    monkeypatch.setattr(command.subprocess, "Popen", lambda _, **rest: popen(sleeper, **rest))
    with Command(tmp_path, [], {}) as sleeping:
        with pytest.raises(RuntimeError, match="linear: no first_step within 0 s"):
            sleeping.times("linear", "first_step", 0.0)
        sleeping.path.mkdir(parents=True)
        manifest.write(sleeping.path, {"timings": {"linear": {"latest": TIMES}}})
        assert sleeping.times("linear", "first_step", 0.0) == TIMES
        sleeping.stop()
        with pytest.raises(RuntimeError, match="ended with status -15"):
            sleeping.wait()


def run_bench(*flags):
    argv = ["throughput", *flags]
    return launcher.launch(argv, "experiments.throughput", throughput.Config, throughput.run)


@pytest.mark.parametrize("part", whole.WHOLE)
def test_settings_reach_the_parts(part, monkeypatch, tmp_path):
    seen = {}
    for module in (start, job):
        monkeypatch.setattr(module, "measure", lambda *args: seen.update(args=args) or [])
    base = Problem("mlp", 1, 0.5)
    where = {"backend": "cpu", "cores": 2}
    config = throughput.Config(members="2,4", full=True, precision="tf32")
    found = whole.measure(part, config, base, 3, where, tmp_path, print)
    assert found["rows"] == []
    if part == "start":
        settings = ["--precision=tf32", "--strategy=auto"]
        assert seen["args"] == (("linear",), (2, 4), 3, settings, tmp_path, print)
    else:
        models = ("cnn:widths=32-64-128",)
        assert seen["args"] == (base, models, (2, 4), 3, 660.0, where, tmp_path, print)


@pytest.mark.slow  # both parts as a person starts them: five runs of an experiment
def test_both_parts_of_a_benchmark(tmp_path, capsys):
    flags = ("--models=linear", "--members=2", "--rounds=1", "--seconds=0.01", "--job_seconds=0.5")
    assert run_bench(f"--out_dir={tmp_path}", "--parts=start,job", *flags) == 0
    said = capsys.readouterr().out
    assert "from the process's start to the end of its first training step" in said
    assert "job ÷ engine" in said
    (folder,) = (tmp_path / "throughput").iterdir()
    found = json.loads((folder / "throughput.json").read_text())
    assert found["finished"]
    assert found["cells"] == []
    (row,) = found["start"]
    for state in start.STATES:
        assert 0 < row[state][0]["imports"] < row[state][0]["first_step"]
        assert row[state][0]["begun"] < row[state][0]["first_step"]
    (row,) = found["job"]
    assert row["plan"] == row["engine_plan"]
    assert row["steps"] == int(row["flags"][3].partition("=")[2]) - 1
    assert 0 < row["evaluation_share"] < 1
    assert list(folder.glob("job_0/init_convergence/run/results.nc"))
