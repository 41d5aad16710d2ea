"""How a run is planned: by the rule, or in the way that was fastest here."""

import json

import jax
import pytest

from catdog_jax.data import load_dataset
from catdog_jax.population import Plan, use_all_cores
from catdog_jax.types import InputError
from experiments.shared import autotune, jobs, plans, run_summary
from experiments.shared.config import TrainConfig


@pytest.fixture(scope="module")
def dataset():
    use_all_cores()
    return load_dataset("procedural:num_train=64:num_valid=8:num_test=32", image_size=8)


def job_of(dataset, **settings):
    config = TrainConfig(models="mlp:width=8", num_steps=4, batch_size=16, **settings)
    return config, jobs.make_jobs(config, dataset, [config.models])[0]


def test_the_fastest_way_is_found_once(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CATDOG_CACHE_DIR", str(tmp_path))
    config, job = job_of(dataset, strategy="measure", num_members=8)
    rates, tried = {"map": 3.0, "chunk": 5.0}, []

    def rate(config, job, plan):
        tried.append(plan.strategy)
        if plan.strategy == "vmap":
            raise InputError("too large")
        return rates[plan.strategy]

    monkeypatch.setattr(autotune, "member_steps_per_second", rate)
    plan = plans.job_plan(config, job, config.strategy, 0)
    assert tried == ["map", "chunk", "vmap"]
    assert plan.strategy == "chunk"
    assert "mlp:width=8: chunk, patches: 5.0 member-steps/s" in capsys.readouterr().out
    assert plans.job_plan(config, job, config.strategy, 0) == plan
    assert len(tried) == 3
    (file,) = (tmp_path / "autotune").iterdir()
    record = json.loads(file.read_text())
    assert record["member_steps_per_second"]["map direct"] == 3.0
    assert plans.new_plans(config, [job], 1).trials == {"mlp:width=8": record}


def test_a_way_is_timed_by_training(dataset, monkeypatch):
    monkeypatch.setattr(autotune, "SECONDS", 1e-4)
    config, job = job_of(dataset, num_members=2)
    plan = plans.job_plan(config, job, "map", 0)
    assert autotune.member_steps_per_second(config, job, plan) > 0


def test_optimisers_that_look_at_the_shape_keep_matrices_as_they_are(dataset):
    for optimizer, matrices in (("adam", "transposed"), ("muon", "stored")):
        config, job = job_of(dataset, optimizer=optimizer, num_members=2)
        plan = plans.job_plan(config, job, "auto", 0)
        assert plan.matrices == (matrices if jax.default_backend() == "cpu" else "stored")


def test_the_time_of_a_run_is_its_operations_over_a_products_speed(dataset, monkeypatch):
    """On a CPU; `test_estimate` holds that of an accelerator."""
    monkeypatch.setattr(run_summary, "product_speed", lambda: 1e6)
    config, job = job_of(dataset, num_members=3, optimizer="sgd", eval_every=2)
    plan = Plan("map", 1, 4, 2, 0, "direct", 0)
    first, second, third = 192 * 8, 8 * 8, 8 * 2
    per_step = 16 * 2 * (2 * first + 3 * second + 3 * third)
    steps = 4 + 3 * (64 + 32) / (3 * 16)
    expected = 4.0 + 4 * steps * per_step / (0.5 * 1e6)
    assert run_summary.training_seconds(config, [job], [plan]) == pytest.approx(expected)
