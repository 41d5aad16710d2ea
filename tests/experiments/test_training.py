"""What a continued run takes over from the manifest."""

from types import SimpleNamespace

import jax
import pytest

from catdog_jax.data import load_dataset
from catdog_jax.population import Plan
from catdog_jax.types import InputError
from experiments.init_convergence import Config
from experiments.shared import training
from experiments.shared.jobs import make_jobs


@pytest.fixture
def repeated():
    """A function: a recorded plan -> the plan that a continued run uses."""
    dataset = load_dataset("procedural:num_train=64:num_valid=8:num_test=32", image_size=8)
    config = Config(num_members=8, batch_size=16, num_steps=1)
    jobs = make_jobs(config, dataset, ("linear",))

    def repeat(plan):
        manifest = {"plans": {"linear": plan._asdict()}}
        folder = SimpleNamespace(manifest=manifest, path=SimpleNamespace(name="before"))
        return training._recorded_plans(folder, config, jobs, [])[0]

    return repeat


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
