"""How a run is planned: by the rule, in the way that was fastest here, or as it was begun."""

import dataclasses
import json
from pathlib import Path

import jax
import pytest

import catdog_jax as cj
from catdog_jax.population import Execution, Plan, estimate
from catdog_jax.run import autotune, plans, summary
from catdog_jax.store import RunFolder
from catdog_jax.types import InputError

MODEL = "mlp:width=8"


@pytest.fixture(scope="module")
def task_of():
    """A function: number of members, changes of the recipe -> a task."""
    cj.use_all_cores()
    data = cj.load_dataset("procedural:num_train=64:num_valid=8:num_test=32", image_size=8)

    def make(count, model=MODEL, strategy="auto", **changes):
        recipe = cj.Recipe(4, 16, "adam", 1e-3, eval_every=2)._replace(**changes)
        how = Execution(strategy=strategy)
        return cj.Task(model, model, recipe, data, cj.varied(count), execution=how)

    return make


def folder_of(**manifest):
    """A run folder that was begun before, without its disk."""
    folder = object.__new__(RunFolder)
    folder.manifest, folder.path = manifest, Path("before")
    return folder


@pytest.fixture
def repeated(task_of):
    """A function: a recorded plan, model -> the plan that a continued run uses."""

    def repeat(plan, model="linear"):
        trials = {model: {"jax": "0"}}
        folder = folder_of(plans={model: plan._asdict()}, trials=trials)
        kept = plans.kept_plans(folder, [task_of(8, model)])
        assert kept.trials == trials
        return kept.plans[0]

    return repeat


def test_the_fastest_way_is_found_once(task_of, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CATDOG_CACHE_DIR", str(tmp_path))
    rates, tried = {"map": 3.0, "chunk": 5.0}, []

    def rate(task, plan):
        tried.append(plan.strategy)
        if plan.strategy == "vmap":
            raise InputError("too large")
        return rates[plan.strategy]

    monkeypatch.setattr(autotune, "member_steps_per_second", rate)
    task = task_of(8, strategy="measure")
    found = plans.new_plans([task], 1)
    assert tried == ["map", "chunk", "vmap"]
    assert found.plans[0].strategy == "chunk"
    assert f"{MODEL}: chunk, patches: 5.0 member-steps/s" in capsys.readouterr().out
    assert found.trials[MODEL]["member_steps_per_second"]["map direct"] == 3.0


def test_a_way_is_timed_by_training(task_of, monkeypatch):
    monkeypatch.setattr(autotune, "SECONDS", 1e-4)
    task = task_of(2, strategy="map")
    plan = plans.new_plans([task], 1).plans[0]
    assert autotune.member_steps_per_second(task, plan) > 0


def test_optimisers_that_look_at_the_shape_keep_matrices_as_they_are(task_of):
    for optimizer, matrices in (("adam", "transposed"), ("muon", "stored")):
        plan = plans.new_plans([task_of(2, optimizer=optimizer)], 1).plans[0]
        assert plan.matrices == (matrices if jax.default_backend() == "cpu" else "stored")


def test_the_time_of_a_run_is_its_operations_over_a_products_speed(task_of, monkeypatch):
    """On a CPU; `test_estimate` holds that of an accelerator."""
    monkeypatch.setattr(estimate, "product_speed", lambda: 1e6)
    plan = Plan("map", 1, 4, 2, 0, "direct", 0)
    first, second, third = 192 * 8, 8 * 8, 8 * 2
    per_step = 16 * 2 * (2 * first + 3 * second + 3 * third)
    steps = 4 + 3 * (64 + 32) / (3 * 16)
    expected = 2.5 + 0.95 * 6 + 4 * steps * per_step / (0.5 * 1e6)
    task = task_of(3, optimizer="sgd")
    assert sum(summary.expected_seconds([task], [plan], 1)) == pytest.approx(expected)


def test_the_recorded_plan_is_repeated_also_where_there_are_more_devices(repeated):
    assert plans.kept_plans(folder_of(recipe={}), []) is None
    for num_devices in (1, jax.local_device_count()):
        plan = Plan("chunk", 2, 2 * num_devices, num_devices, 4, "patches", 77)
        assert repeated(plan) == plan


def test_a_task_that_a_run_has_gained_is_planned_as_a_new_one(task_of):
    before, (new,) = (
        Plan("chunk", 2, 2, 1, 4, "patches", 77),
        plans.new_plans([task_of(8)], 1).plans,
    )
    folder = folder_of(plans={"before": before._asdict()})
    tasks = [task_of(8), dataclasses.replace(task_of(8), label="before")]
    assert plans.kept_plans(folder, tasks).plans == [new, before]


def test_fewer_devices_share_the_same_waves_or_none(repeated):
    devices = jax.local_device_count()
    plan = repeated(Plan("map", 1, 4 * devices, 2 * devices, 0, "direct", 77))
    assert (plan.strategy, plan.wave, plan.num_devices) == ("map", 4 * devices, devices)
    if devices > 1:
        odd = Plan("map", 1, devices + 1, devices + 1, 0, "direct", 77)
        with pytest.raises(InputError, match=rf"waves of {devices + 1} members of linear, which"):
            repeated(odd)


def test_fewer_devices_keep_the_form_of_the_convolution_and_share_batches(repeated):
    devices = jax.local_device_count()
    for conv in ("direct", "patches"):
        shared = Plan("map", 1, 1, 2 * devices, 8, conv, 77, share=2 * devices)
        plan = repeated(shared, "cnn:widths=4-8")
        assert (plan.conv, plan.wave, plan.share) == (conv, 1, devices)


def test_what_is_begun_is_not_planned_again(tmp_path, run_here, monkeypatch):
    """Nor tried out, as --strategy=measure would; what was measured stays in the manifest."""
    monkeypatch.setenv("CATDOG_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(autotune, "member_steps_per_second", lambda task, plan: 1.0)
    flags = ("--models=linear", "--strategy=measure", "--name=x", "--num_steps=2")
    assert run_here(tmp_path, *flags) == 0
    file = tmp_path / "init_convergence" / "x" / "manifest.json"
    before = json.loads(file.read_text(encoding="utf-8"))
    assert before["trials"]["linear"]["processor"]

    def plan_again(*arguments):
        raise AssertionError("planned again")

    monkeypatch.setattr(plans, "ruled_plan", plan_again)
    monkeypatch.setattr(autotune, "processor_digest", lambda: "another machine")
    assert run_here(tmp_path, *flags) == 0
    assert run_here(tmp_path, *flags, "--num_members=4") == 0
    after = json.loads(file.read_text(encoding="utf-8"))
    assert len(after["sessions"]) == 2
    assert (after["plans"], after["trials"]) == (before["plans"], before["trials"])
