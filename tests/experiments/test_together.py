"""What several processes of a run do together, here in threads of one."""

import math
import os
import socket
import threading

import jax
import pytest

from catdog_jax.data import load_dataset
from catdog_jax.population import waves
from catdog_jax.population.processes import ALONE, Group, ProcessLost, _Peers
from experiments import init_convergence
from experiments.init_convergence import Config
from experiments.shared import autotune, jobs, training
from experiments.shared.plans import new_plans
from experiments.shared.together import joined_timings

LONG = 60.0


@pytest.fixture
def two():
    """A function: work -> what it returns for each of two processes, in order of their numbers."""
    here, there = socket.socketpair()
    groups = [_Peers(0, {1: here}, 2), _Peers(1, {0: there}, 2)]

    def both(work):
        made = {}
        threads = [
            threading.Thread(target=lambda g=g: made.update({g.index: work(g)}), daemon=True)
            for g in groups
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        return [made[group.index] for group in groups]

    yield both
    for group in groups:
        group.leave(0)


@pytest.mark.parametrize("flags", [(True, True), (True, False), (False, True), (False, False)])
def test_one_fetches_before_the_other_reads_whoever_may(two, flags, monkeypatch):
    order, other_reads = [], threading.Event()

    def read(config):
        if config.name == "0":
            other_reads.wait(0.1 if any(flags) else LONG)
        else:
            other_reads.set()
        order.append(config.name)
        return config.name

    monkeypatch.setattr(training, "read_dataset", read)

    def work(group):
        config = Config(download=flags[group.index], name=str(group.index))
        return training._read_together(config, group)

    assert two(work) == ["0", "1"]
    if any(flags):
        assert order == ["0", "1"]


def test_one_process_keeps_what_is_compiled_of_those_that_share_a_folder(tmp_path):
    def writes(index, folders, folder=str(tmp_path)):
        group = Group()
        group.index = index
        group.gather = lambda own: [*folders[:index], own, *folders[index + 1 :]]
        return training._writes_cache(group, folder)

    number = os.stat(tmp_path).st_ino
    assert writes(0, [number, number])
    assert not writes(1, [number, number])
    assert writes(2, [number + 1, number + 1, number, number])
    assert not writes(3, [number + 1, number + 1, number, number])
    for folder in (None, "gs://bucket/compiled"):
        assert training._writes_cache(ALONE, folder)
        assert not writes(1, [0, 0], folder)


def test_the_part_of_a_process_is_planned_as_a_run_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("CATDOG_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(autotune, "member_steps_per_second", lambda config, job, plan: 1.0)
    dataset = load_dataset("procedural:num_train=64:num_valid=8:num_test=32", image_size=8)
    devices = jax.local_device_count()
    for settings in ({}, {"wave": devices}, {"strategy": "measure"}):
        common = {"batch_size": 16, "num_steps": 1, **settings}
        config = Config(num_members=4 * devices, **common)
        made = jobs.make_jobs(config, dataset, ("linear", "cnn:widths=4-8"))
        found = new_plans(config, made, 4)
        assert found == new_plans(Config(num_members=devices, **common), made, 1)
        assert [plan.wave for plan in found.plans] == [devices, devices]
        assert len(found.trials) == (2 if "strategy" in settings else 0)
    few = new_plans(Config(num_members=4, batch_size=16, num_steps=1), made, 4)
    assert few.plans[1].wave == 1  # one network for each process,
    assert few.plans[1].share == devices  # on all of its devices


def test_a_lost_process_costs_no_step(tmp_path, run_here, monkeypatch, capsys):
    monkeypatch.setattr(waves, "SEGMENT_SECONDS", 0)
    monkeypatch.setattr(init_convergence, "FIGURES", {})
    seen = []

    def check():
        seen.append(None)
        if len(seen) == 3:
            raise ProcessLost("process 1 of 2 was killed")

    monkeypatch.setattr(ALONE, "check", check)
    flags = ("--models=linear", "--name=x")
    assert run_here(tmp_path, *flags) == 1
    assert capsys.readouterr().err == "error: process 1 of 2 was killed\n"
    folder = tmp_path / "init_convergence" / "x"
    assert os.listdir(folder / "checkpoints" / "00_linear" / "wave_00000") == ["3"]
    assert run_here(tmp_path, *flags) == 0
    assert len(seen) == 3 + 12 - 3


def test_times_of_processes_are_those_of_this_session():
    def spent(seconds, rate):
        return {"linear": {"seconds": seconds, "rate": rate}}

    nan = math.nan
    for before, mine, others, joined in (
        ({}, spent(3.0, 10.0), [spent(5.0, 20.0), {}], (5.0, 30.0)),
        (spent(7.0, 99.0), spent(9.0, 10.0), [spent(1.0, 20.0)], (9.0, 30.0)),
        # The first process had no such wave, or a single call of it, in this session.
        (spent(7.0, 99.0), spent(7.0, 99.0), [spent(1.0, 20.0)], (8.0, 20.0)),
        (spent(7.0, 99.0), spent(8.0, 99.0), [spent(2.0, nan)], (9.0, 99.0)),
        ({}, {}, [spent(2.0, 20.0)], (2.0, 20.0)),
    ):
        found = joined_timings(before, mine, others)
        assert found == spent(*joined)
    assert math.isnan(joined_timings({}, spent(1.0, nan), [])["linear"]["rate"])
