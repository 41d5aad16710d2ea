"""The table of findings: every cell is there or says why not, and the page shows the same table.

    CATDOG_GOLDEN=write python -m pytest tests/test_findings.py

writes the table of the page anew.
"""

import importlib.util
import math
import os
import shlex
from pathlib import Path

import catdog_jax
from experiments._cli import parse_flags

PAGE = Path(__file__).parents[1] / "docs" / "findings.md"
COLUMNS = ("finding", "source", "published", "published_regime", "ours", "low", "high",
           "our_regime", "verdict", "command")  # fmt: skip


def lines():
    """Write the table in Markdown."""
    yield "| what | published | there | here | 95 % | where | verdict |"
    yield "|---|---|---|---|---|---|---|"
    for row in catdog_jax.findings():
        ours, low, high = (row[name] for name in ("ours", "low", "high"))
        cells = (
            row["finding"],
            row["published"] or "–",
            f"{row['source']}: {row['published_regime']}",
        )
        ours = ("–", "–") if math.isnan(ours) else (f"{ours:g}", f"{low:g} to {high:g}")
        yield f"| {' | '.join((*cells, *ours, row['our_regime'], row['verdict']))} |"


def test_what_was_not_measured_says_why_and_what_was_has_an_interval():
    for row in catdog_jax.findings():
        assert tuple(row) == COLUMNS
        assert row["finding"]
        assert row["verdict"]
        if not math.isnan(row["ours"]):
            assert row["low"] <= row["ours"] <= row["high"]


def test_every_command_is_one_that_its_experiment_takes():
    for row in catdog_jax.findings():
        words = shlex.split(row["command"])
        if importlib.util.find_spec(words[2]):
            parse_flags(words[3:], importlib.import_module(words[2]).Config)


def test_the_page_shows_the_table():
    text = PAGE.read_text(encoding="utf-8")
    before, table, after = (
        text.partition("| what |")[0],
        "\n".join(lines()),
        text.rpartition("|\n")[2],
    )
    if os.environ.get("CATDOG_GOLDEN") == "write":
        PAGE.write_text(f"{before}{table}\n{after}", encoding="utf-8")
    else:
        assert text == f"{before}{table}\n{after}"
