"""What is estimated of a run, against what was measured on one H200 and compiled for it."""

import functools

import jax
import numpy as np
import pytest
from populations import training

from catdog_jax.population import Plan
from catdog_jax.population.estimate import (
    Work,
    least_step,
    member_bytes,
    run_seconds,
    step_seconds,
    work_of,
)
from catdog_jax.population.flops import written_bytes
from catdog_jax.population.machine import PEAKS

H200 = PEAKS["NVIDIA H200"]
CNN, SMALL = "cnn:widths=32-64-128", "cnn:widths=8-16-32"


def asked(entry, precision, batch_size=64, vary="init"):
    sizes, steps = (10_000, 2_000), {"num_steps": 2000, "eval_every": 100}
    return training(
        entry, 1000, 32, sizes, (vary,), precision=precision, batch_size=batch_size, **steps
    )


@functools.cache
def work(*settings):
    return work_of(asked(*settings), together(1))


def together(members):
    return Plan("vmap", members, members, 1, 0, "patches", 0)


@pytest.mark.parametrize(
    ("entry", "precision", "batch_size", "members", "measured"),  # member-steps a second
    [
        (CNN, "bfloat16", 64, 16, 14_088),
        (CNN, "bfloat16", 64, 64, 17_678),
        (CNN, "bfloat16", 64, 256, 18_324),
        (CNN, "bfloat16", 64, 1024, 19_062),
        (CNN, "tf32", 64, 256, 11_683),
        (CNN, "float32", 64, 256, 6_565),
        (SMALL, "bfloat16", 64, 1024, 73_333),
        ("resnet", "bfloat16", 64, 256, 7_364),
        ("mlp", "tf32", 128, 1024, 62_576),
        ("mlp", "bfloat16", 128, 1024, 65_966),
        ("linear", "tf32", 128, 4096, 10_363_017),
    ],
)
def test_seconds_are_within_a_factor_of_two_of_a_gpu(
    entry, precision, batch_size, members, measured
):
    cost = work(entry, precision, batch_size)
    seconds = step_seconds(cost, together(members), precision, H200)
    assert 1 / 2 < seconds * measured < 2
    assert least_step(cost, together(members), precision, H200)[0] < members / measured


def test_a_whole_run_is_within_a_factor_of_two_of_a_gpu():
    """1,000 default CNNs of 2,000 steps in one wave took 145.6 s."""
    step = step_seconds(work("cnn", "bfloat16"), together(1000), "bfloat16", H200)
    seconds = run_seconds(asked("cnn", "bfloat16"), together(1000), step)
    assert 145.6 / 2 < seconds < 145.6 * 2


@pytest.mark.parametrize(
    ("entry", "precision", "compiled"),  # GiB of 1,000 members, as jax 0.10.2 compiles for an H200
    [
        ("mlp", "bfloat16", 16.9),
        ("mlp", "float32", 18.4),
        ("cnn", "bfloat16", 27.1),
        ("cnn", "float32", 47.2),
        (SMALL, "bfloat16", 5.0),
        ("resnet", "bfloat16", 70.4),
    ],
)
def test_memory_is_that_of_the_compiled_program(entry, precision, compiled):
    found = 1000 * member_bytes(work(entry, precision), together(1000), 64) / 2**30
    assert 0.9 < found / compiled < 1.6


def test_what_a_step_costs():
    cost = work("linear", "float32")  # momentum: weights, one moment, a few counters
    weights = 3072 * 2 + 2
    assert cost.flops == 64 * 2 * 2 * 3072 * 2
    assert 0 <= cost.state - 2 * 4 * weights < 100
    assert cost.moved < 64 * 3072 * 4  # all members see the same pictures,
    assert work("linear", "float32", 64, "order").moved > 2 * 64 * 3072 * 4  # or each its own


def test_only_what_members_do_not_share_is_written():
    x, w = np.ones((8, 4), np.float32), np.ones((4, 2), np.float32)

    def repeat(w, x):
        return jax.lax.scan(lambda total, _: (total + (2 * x) @ w, None), 0.0 * x @ w, length=5)[0]

    # 0·x and 2·x are shared; x @ w and the sums are [8, 2] float32.
    assert written_bytes(repeat, (w, x), (True, False)) == 4 * 16 * (1 + 5 * 2)
    assert written_bytes(repeat, (w, x), (False, False)) == 0


def test_times_are_operations_over_speed_and_bytes_over_bandwidth():
    chip, plan = PEAKS["TPU v5 lite"], together(1)
    assert step_seconds(Work(197 * 10**12, 0, 819 * 10**9 // 2), plan, "bfloat16", chip) == 1.5
    assert least_step(Work(197e12, 819e9 / 4, 9e99), plan, "bfloat16", chip) == (1.0, "arithmetic")
    shared = plan._replace(num_devices=4, share=4)
    assert least_step(Work(197e12, 0, 0), shared, "bfloat16", chip) == (0.25, "arithmetic")
