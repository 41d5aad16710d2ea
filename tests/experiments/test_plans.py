"""How a run is planned: by the rule, by a trial, by what compiled programs need."""

import json
import math

import jax
import pytest

from catdog_jax.data import load_dataset
from catdog_jax.population import use_all_cores
from catdog_jax.population.topology import find_machine
from catdog_jax.types import InputError
from experiments.shared import fit_programs, jobs, trial
from experiments.shared.config import TrainConfig
from experiments.shared.fit_wave import fitted_plan


@pytest.fixture(scope="module")
def dataset():
    use_all_cores()
    return load_dataset("procedural:num_train=64:num_valid=8:num_test=32", image_size=8)


def job_of(dataset, **settings):
    config = TrainConfig(models="mlp:width=8", num_steps=4, batch_size=16, **settings)
    return config, jobs.make_jobs(config, dataset, [config.models])[0]


def test_a_trial_is_made_once_and_the_fastest_way_is_taken(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CATDOG_CACHE_DIR", str(tmp_path))
    config, job = job_of(dataset, strategy="measure", num_members=8)
    rates = {"map": 3.0, "chunk": 5.0, "vmap": 4.0}
    tried = []

    def rate(config, job, plan):
        tried.append(plan.strategy)
        return rates[plan.strategy]

    monkeypatch.setattr(trial, "_rate", rate)
    plan = jobs.job_plan(config, job, config.strategy, 0)
    assert tried == ["map", "chunk", "vmap"]
    assert plan.strategy == "chunk"
    assert "trial of mlp:width=8: chunk" in capsys.readouterr().out
    assert jobs.job_plan(config, job, config.strategy, 0) == plan
    assert len(tried) == 3
    (file,) = (tmp_path / "trials").iterdir()
    record = json.loads(file.read_text())
    assert record["member_steps_per_second"] == {
        "map direct": 3.0, "chunk patches": 5.0, "vmap patches": 4.0,
    }  # fmt: skip
    assert trial.trial_of(config, job) == record
    file.write_text("{")  # damaged: tried again
    assert jobs.job_plan(config, job, config.strategy, 0) == plan
    assert len(tried) == 6
    assert trial.trial_of(*job_of(dataset, num_members=8)) is None


def test_a_trial_trains(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("CATDOG_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(trial, "SECONDS", 1e-4)
    config, job = job_of(dataset, strategy="measure", num_members=2)
    rates = trial._try_all(config, job)
    assert set(rates) == {"map direct", "chunk patches", "vmap patches"}
    assert all(rate > 0 for rate in rates.values())


def test_waves_are_as_large_as_compiled_programs_allow(dataset):
    config, job = job_of(dataset, strategy="vmap", num_members=4000)
    start = jobs.ruled_plan(config, job, "vmap", "auto", 4)
    here = find_machine("local")._replace(backend="gpu")  # where 90 % may be filled

    def needed(members):
        parts = fit_programs.compile_programs(
            config, job, fit_programs.resized(start, members), here
        )
        return fit_programs.needed(parts)

    tight = here._replace(memory=math.ceil(needed(64) / 0.9))
    plan = fitted_plan(config, job, start, tight)
    members = fit_programs.members_per_device(plan)
    assert 0.9 * 64 <= members <= 64
    assert needed(members) <= 0.9 * tight.memory
    assert plan.wave == members * plan.num_devices
    roomy = fitted_plan(config, job, start, here)
    assert roomy.wave == 4000
    with pytest.raises(InputError, match=r"not even .* member\(s\) of mlp:width=8 fit"):
        fitted_plan(config, job, start, here._replace(memory=1000))


def test_a_wrong_convolution_is_refused(dataset):
    with pytest.raises(InputError, match="--conv=fft; allowed: auto, direct, lax, patches"):
        jobs.check_config(TrainConfig(conv="fft"))


def test_optimisers_that_look_at_the_shape_keep_matrices_as_they_are(dataset):
    for optimizer, matrices in (("adam", "turned"), ("muon", "stored")):
        config, job = job_of(dataset, optimizer=optimizer, num_members=2)
        plan = jobs.job_plan(config, job, "auto", 0)
        assert plan.matrices == (matrices if jax.default_backend() == "cpu" else "stored")
