"""From the results of a benchmark to its figures: picks the arrays, `figures.throughput` draws."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from catdog_jax.figures import throughput as figures
from catdog_jax.store import atomic
from experiments.shared.peers.registry import PEERS
from experiments.shared.throughput.summary import beyond

TITLES = {
    "table": ("How many times faster than the others?", "this engine"),
    "strategies": ("Which way to run members on a device is fastest?", "the plan's own choice"),
    "devices": ("What do more devices bring?", "all devices"),
}


def draw(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw every figure that the results have numbers for, into `folder/figures`."""
    written = []
    for part in dict.fromkeys(cell["part"] for cell in result["cells"]):
        cells = [cell for cell in result["cells"] if cell["part"] == part]
        figure = scaling(cells, result) if part == "scaling" else comparison(part, cells, result)
        if figure is None:
            continue
        path = folder / "figures" / f"{'throughput' if part == 'table' else part}.png"
        with atomic.writing("the figures", folder), atomic.replacing(path) as file:
            figure.savefig(file, format="png", dpi=150)
        written.append(path)
    return written


def comparison(
    part: str, cells: Sequence[Mapping[str, Any]], result: Mapping[str, Any]
) -> Figure | None:
    """Draw the first competitor of each cell against the others; None where it has none."""
    members = sorted({cell["members"] for cell in cells})
    panels = []
    for model in dict.fromkeys(cell["model"] for cell in cells):
        own = [cell for cell in cells if cell["model"] == model]
        rows = [row for cell in own for row in cell["rows"][1:]]
        known = list(PEERS)  # one that needs several members is not in the first cell
        rows.sort(key=lambda row: known.index(row["competitor"]))
        names = list(dict.fromkeys(row["title"] for row in rows))
        share = np.full(len(members), np.nan)
        ratio = np.full((len(names), len(members), 3), np.nan)
        hopeless = np.zeros((len(names), len(members)), bool)
        for cell in own:
            m = members.index(cell["members"])
            share[m] = cell["rows"][0]["roofline_share"]
            for row in cell["rows"][1:]:
                r = names.index(row["title"])
                found = row["ratio"]
                ratio[r, m] = found["median"], found["low"], found["high"]
                hopeless[r, m] = row["hopeless"]
        if names and not np.isnan(ratio[..., 0]).all():
            panels.append(figures.Comparison(model, share, names, ratio, hopeless))
    if not panels:
        return None
    title, first = TITLES[part]
    return figures.comparison(
        panels,
        members,
        title=title,
        first=first,
        command=result["command"],
        note=_waves(cells, members) + _note(result),
    )


def scaling(cells: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> Figure | None:
    """Draw what members cost; None where every measurement failed."""
    costs = []
    for cell in cells:
        rows = [row for row in cell["rows"] if row["samples"]]
        if not rows:
            continue
        rates = [row["member_steps_per_second"] for row in rows]
        costs.append(
            figures.Cost(
                cell["model"],
                np.array([row["members"] for row in rows]),
                np.array([[1 / r["median"], 1 / r["high"], 1 / r["low"]] for r in rates]),
                np.array([max(beyond(row), 0.0) for row in rows]),
                np.array([row["memory"]["state_bytes"] for row in rows], float),
                np.array([row["waves"] > 1 for row in rows]),
            )
        )
    if not costs:
        return None
    return figures.scaling(costs, command=result["command"], note=_note(result))


def _waves(cells: Sequence[Mapping[str, Any]], members: Sequence[int]) -> str:
    """Say for which numbers of members the first competitor trained one wave of several."""
    firsts = [cell["rows"][0] for cell in cells]
    waved = [m for m in members if any(r["members"] == m and r.get("waves", 1) > 1 for r in firsts)]
    if not waved:
        return ""
    counts = " and ".join(f"{m:,}" for m in waved)
    return (
        f"It trains {counts} members in waves of fewer where that is faster or needs less memory; "
        "each of its samples is one wave. "
    )


def _note(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    cpu = machine["backend"] == "cpu"
    kind = machine["processor"] if cpu else machine["devices"][0]
    count = machine["cores"] if cpu else len(machine["devices"])
    rounds, precision = result["settings"]["rounds"], result["settings"]["precision"]
    return f"{count} × {kind}, {precision}, {rounds} samples each."
