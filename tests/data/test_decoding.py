"""Many pictures at once, and the look at the memory before."""

import types

import numpy as np
import pytest

from catdog_jax.data import decoding, load_dataset
from catdog_jax.data.decoding import check_memory, run_threads
from catdog_jax.types import InputError


def test_every_index_is_done_once_and_progress_ends_at_the_total():
    done = np.zeros(100, int)
    calls = []

    def one(i: int) -> None:
        done[i] += 1

    run_threads(one, 100, lambda *at: calls.append(at))
    assert done.tolist() == [1] * 100
    assert calls[-1] == (100, 100)
    assert [c[0] for c in calls] == sorted(c[0] for c in calls)


def test_an_error_in_a_thread_comes_out():
    def one(i: int) -> None:
        if i == 50:
            raise KeyError("fifty")

    with pytest.raises(KeyError, match="fifty"):
        run_threads(one, 1000)


def test_memory_is_looked_at_before_decoding(make_folder, monkeypatch: pytest.MonkeyPatch):
    memory = types.SimpleNamespace(total=2**20)
    monkeypatch.setattr(decoding.psutil, "virtual_memory", lambda: memory)
    check_memory(20, 66)  # 261,360 bytes: just under a quarter of 2**20
    message = r"20 pictures at --image_size=67 need .* take --image_size=66 or less"
    with pytest.raises(InputError, match=message):
        check_memory(20, 67)

    def never(*_: object) -> None:
        raise AssertionError("decoded before the memory was looked at")

    monkeypatch.setattr(decoding, "decode_here", never)
    root = make_folder("photos", {"cat": 10, "dog": 10})
    with pytest.raises(InputError, match="--image_size=100 need"):
        load_dataset("folder", data_dir=str(root), image_size=100)
