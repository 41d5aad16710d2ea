"""What a benchmark makes of its samples: rates, shares, ratios, notes, files; and fair turns."""

import itertools
import json
import math
from typing import ClassVar

import pytest

from experiments.shared.peers.registry import ENGINE, PEERS
from experiments.shared.throughput import cells, measure, store, summary
from experiments.shared.throughput.problem import Problem
from experiments.shared.throughput.process import WorkerError, environment

TINY = Problem("cnn:widths=4-8", 4, 0.001, side=8, examples=256)
WHERE = {"backend": "cpu", "cores": 2}


def made_up(name, rates, members=8, measured=None, check=None, **more):
    samples = [{"member_steps": 10 * r, "seconds": 10.0} for r in rates]
    return {
        "competitor": name, "title": PEERS[name].title, "members": members, "devices": 0,
        "hopeless": False, "members_measured": measured or members, "samples": samples,
        "check": check, "compile_seconds": 1.5, "facts": {}, "waves": 1,
        "wave_start_seconds": None,
        "memory": {"base_bytes": 2**20, "peak_bytes": 3 * 2**20, "device_peak_bytes": None,
                   "state_bytes": 2**19},
        **more,
    }  # fmt: skip


@pytest.fixture
def result():
    """Results as a benchmark leaves them, with numbers that can be checked by hand."""
    rows = [
        made_up(ENGINE, [100, 110, 120, 130, 140], check={"loss": 1e-6, "update": 1e-4}),
        made_up("torch", [60, 55, 60, 65, 70], measured=2, check={"loss": 0.5, "update": 0.5}),
        {**made_up("torch_vmap", []), "error": "RuntimeError: no memory"},
    ]
    return {
        "command": "python -m experiments.throughput",
        "settings": {"precision": "float32", "rounds": 5},
        "machine": {"backend": "cpu", "processor": "a fast one", "cores": 2, "devices": ["cpu"]},
        "models": {"mlp": {"flops": 10**9, "parameters": 10, "batch_size": 128,
                           "optimizer": "adam"}},
        "roofline": {"0": [2e11, 1.9e11], "1": [1e11]},
        "cells": [{"part": "table", "model": "mlp", "members": 8, "rows": rows,
                   "roofline": {"0": [1.9e11, 2e11, 2.2e11]}}],
    }  # fmt: skip


def test_medians_quartiles_ratios_and_shares(result):
    summary.summarise(result)
    first, second, failed = result["cells"][0]["rows"]
    assert first["member_steps_per_second"] == {"median": 120, "low": 110, "high": 130}
    assert first["gflops"] == pytest.approx(120)
    assert first["roofline_share"] == pytest.approx(0.6)
    assert second["ratio"]["median"] == pytest.approx(2.0)
    assert second["ratio"]["low"] == second["ratio"]["high"] == pytest.approx(2.0)
    assert second["wrong"].startswith("loss is 0.5 away")
    assert first["wrong"] == failed["wrong"] == ""
    assert math.isnan(failed["ratio"]["median"])
    assert summary.beyond(first) == 1.5 * 2**20


def test_shares_are_of_the_products_of_the_same_rounds(result):
    cell = result["cells"][0]
    summary.summarise(result)
    before = cell["rows"][0]["roofline_share"]
    result["roofline"]["0"].append(9e11)  # a look of another cell
    summary.summarise(result)
    assert cell["rows"][0]["roofline_share"] == before
    cell["rows"][0]["devices"] = 1
    cell["roofline"]["1"] = [1.2e11, 1.6e11]
    summary.summarise(result)
    assert cell["rows"][0]["roofline_share"] == pytest.approx(120 / 140)
    cell["roofline"] = {"0": []}
    summary.summarise(result)
    assert summary.percent(cell["rows"][0]["roofline_share"]) == "–"
    assert summary.percent(0.004) == "< 1 %"


def test_a_table_says_what_was_measured(result):
    summary.summarise(result)
    text = summary.table(result["cells"][0], result)
    lines = {line.split("  ")[1]: line for line in text.splitlines() if line.startswith("  ")}
    assert "mlp × 8 (table; batch 128, adam, 10 parameters, 1,000 MF a member-step)" in text
    assert "110 to 130" in lines["this engine"]
    assert "60 %" in lines["this engine"]
    assert "8*" in lines["torch, one after another"]
    assert "WRONG" in lines["torch, one after another"]
    assert "measured with 2 members" in text
    assert "torch.func vmap failed: RuntimeError: no memory" in text
    line = summary.roofline_line(result)
    assert "all cores: median 195 GF/s (best 200, lowest 190)" in line
    assert "over the median of the matrix products in the same rounds" in line
    assert "†" not in text
    result["cells"][0]["rows"][0] |= {"waves": 4, "members_measured": 2, "wave_start_seconds": 0.25}
    text = summary.table(result["cells"][0], result)
    assert "8†" in text
    assert "8 in 4 waves of 2; a sample is one wave, another each time; the start" in text
    assert "at most 0.25 s, is not in it" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(85123.0, "85,100"), (36.21, "36.2"), (0.5123, "0.512"), (0.0, "0"), (math.nan, "–")],
)
def test_numbers_have_three_figures(value, text):
    assert summary.number(value) == text


def test_results_are_kept_whole_and_never_overwritten(result, tmp_path):
    summary.summarise(result)
    folders = [store.new_folder(str(tmp_path), "mine") for _ in range(2)]
    assert [folder.name for folder in folders] == ["mine", "mine-2"]
    store.write(folders[0], result)
    read = json.loads((folders[0] / "throughput.json").read_text())
    assert read["cells"][0]["rows"][2]["ratio"]["median"] is None
    assert read["cells"][0]["rows"][0]["samples"] == result["cells"][0]["rows"][0]["samples"]
    assert read["roofline"] == result["roofline"]


def test_what_is_not_finite_can_still_be_read(result, tmp_path):
    row = result["cells"][0]["rows"][1]
    row["check"] = {"loss": math.inf, "update": -math.inf, "logits": math.nan}
    summary.summarise(result)
    store.write(tmp_path, result)
    read = json.loads((tmp_path / "throughput.json").read_text())["cells"][0]["rows"][1]
    assert read["check"] == {"loss": "inf", "update": "-inf", "logits": None}
    assert read["wrong"].startswith("loss is inf away")


class FakeWorker:
    """Answers as a competitor's process does; at `dies`, it is lost."""

    prepared: ClassVar[list[str]] = []
    sampled: ClassVar[list[str]] = []
    dies: ClassVar[set[tuple[str, str]]] = set()

    def __init__(self, *_):
        self.name, self.asked, self.steps, self.cpu = "", [], 0, 0.0

    def tell(self, do, **arguments):
        self.asked.append((do, arguments))

    def answer(self):
        do, arguments = self.asked.pop(0)
        if do == "prepare":
            self.name = arguments["module"]
            self.prepared.append(self.name)
            self.steps = 5 + len(self.prepared)
            return {
                "members": 1,
                "steps": self.steps,
                "check": None,
                "state_bytes": 1,
                "compile_seconds": 0.0,
                "facts": {"backend": "cpu", "devices": ["x"] * 2},
            }
        if (self.name, do) in self.dies:
            raise WorkerError("its process ended")
        if do == "take":
            self.steps = arguments["steps"]
            return {}
        if do == "sample":
            self.sampled.append(self.name)
            self.cpu += 1.0
            return {"steps": self.steps, "seconds": 1.0}
        best = [2e11] * self.sampled.count("roofline")
        return {"memory": {"base_bytes": 1, "peak_bytes": 2, "device_peak_bytes": None},
                "facts": {"best": best}}  # fmt: skip

    def ask(self, do, **arguments):
        self.tell(do, **arguments)
        return self.answer()

    def cpu_seconds(self):
        return self.cpu

    def close(self):
        pass


@pytest.fixture
def bench(monkeypatch):
    """A bench whose competitors are made up, with a cell of four of them."""
    monkeypatch.setattr(measure, "Worker", FakeWorker)
    for name in ("prepared", "sampled"):
        monkeypatch.setattr(FakeWorker, name, [])
    monkeypatch.setattr(FakeWorker, "dies", set())
    problem = Problem("cnn", 2, 1.0)
    names = (ENGINE, "flax_loop", "torch_vmap", "torch_processes")
    entrants = tuple(cells.Entrant(n, PEERS[n].title, problem, 2) for n in names)
    with measure.Bench(WHERE) as found:
        found.references["cnn"] = ""
        found.start_roofline(problem, [0])
        yield found, cells.Cell("table", "cnn", 2, entrants)


def test_turns_are_drawn_anew_and_processes_take_as_many_steps(bench):
    found, cell = bench
    row = found.measure(cell, 6, lambda *_: None)
    sampled = [name for name in FakeWorker.sampled if name != "torch_loop"]
    orders = {tuple(sampled[i : i + 3]) for i in range(0, len(sampled), 4)}
    assert len(orders) > 1
    assert all(set(order) == {"engine", "flax_loop", "torch_vmap"} for order in orders)
    follows = {name: set() for name in orders.copy().pop()}
    for order in orders:
        for one, other in itertools.pairwise(order):
            follows[other].add(one)
    assert max(map(len, follows.values())) > 1  # nobody always has the same one before it
    assert row["roofline"] == {"0": [2e11] * 6}
    assert [len(r["samples"]) for r in row["rows"]] == [6] * 4
    processes = row["rows"][3]
    assert processes["samples"][0]["member_steps"] == 2 * 10  # the smaller of 10 and 11
    assert found.notes == []


def test_a_lost_process_costs_its_own_row_alone(bench):
    found, cell = bench
    FakeWorker.dies |= {("flax_loop", "finish"), ("torch_vmap", "sample"), ("roofline", "sample")}
    row = found.measure(cell, 2, lambda *_: None)
    assert [r.get("error", "") for r in row["rows"]] == [
        *("", "its process ended", "its process ended", "")
    ]
    assert row["roofline"] == {"0": []}
    assert found.notes == ["matrix products on all are no longer measured: its process ended"]


def test_a_note_names_whom_others_disturbed_once(bench, monkeypatch):
    found, cell = bench
    clock = itertools.count()
    monkeypatch.setattr(FakeWorker, "cpu_seconds", lambda _: float(next(clock)))
    found.measure(cell, 3, lambda *_: None)
    assert len(found.notes) == 4
    assert sum(note.startswith("this engine: in 3 of its samples ") for note in found.notes) == 1


def test_devices_are_the_first_of_those_that_are_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7")
    seen = environment(module="engine", cores=2, backend="gpu")
    assert seen == {"CUDA_VISIBLE_DEVICES": "3,5"}
    assert environment(module="engine", cores=0, backend="gpu") == {}
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    seen = environment(module="engine", cores=2, backend="gpu")
    assert seen == {"CUDA_VISIBLE_DEVICES": "0,1"}
