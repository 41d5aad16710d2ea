"""What a continued run takes over from the manifest."""

import json
from types import SimpleNamespace

import jax
import pytest

from catdog_jax.data import load_dataset
from catdog_jax.population import Plan
from catdog_jax.types import InputError
from experiments import init_convergence
from experiments.init_convergence import Config
from experiments.shared import autotune, plans
from experiments.shared.jobs import make_jobs
from experiments.shared.plans import kept_plans


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("procedural:num_train=64:num_valid=8:num_test=32", image_size=8)


@pytest.fixture
def repeated(dataset):
    """A function: a recorded plan, model -> the plan that a continued run uses."""

    def repeat(plan, model="linear"):
        config = Config(num_members=8, batch_size=16, num_steps=1)
        manifest = {"plans": {model: plan._asdict()}, "trials": {model: {"jax": "0"}}}
        folder = SimpleNamespace(manifest=manifest, path=SimpleNamespace(name="before"))
        kept = kept_plans(folder, config, make_jobs(config, dataset, (model,)))
        assert kept.trials == manifest["trials"]
        return kept.plans[0]

    return repeat


def test_a_new_run_has_no_plans_to_keep():
    assert kept_plans(SimpleNamespace(manifest={"recipe": {}}), Config(), []) is None


def test_the_recorded_plan_is_repeated_also_where_there_are_more_devices(repeated):
    for num_devices in (1, jax.local_device_count()):
        plan = Plan("chunk", 2, 2 * num_devices, num_devices, 4, "patches", 77)
        assert repeated(plan) == plan


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
    monkeypatch.setattr(init_convergence, "FIGURES", {})
    monkeypatch.setattr(autotune, "member_steps_per_second", lambda config, job, plan: 1.0)
    flags = ("--models=linear", "--strategy=measure", "--name=x", "--num_steps=2")
    assert run_here(tmp_path, *flags) == 0
    file = tmp_path / "init_convergence" / "x" / "manifest.json"
    before = json.loads(file.read_text(encoding="utf-8"))
    assert before["trials"]["linear"]["processor"]

    def plan_again(*arguments):
        raise AssertionError("planned again")

    monkeypatch.setattr(plans, "job_plan", plan_again)
    monkeypatch.setattr(autotune, "processor_digest", lambda: "another machine")
    assert run_here(tmp_path, *flags) == 0
    assert run_here(tmp_path, *flags, "--num_members=4") == 0
    after = json.loads(file.read_text(encoding="utf-8"))
    assert len(after["sessions"]) == 2
    assert (after["plans"], after["trials"]) == (before["plans"], before["trials"])
