"""From raw samples to rates, ratios and the tables that a person reads."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.shared.report import aligned, size

# How far a competitor's first steps may be from stock Flax's, relative; see `reference.distance`.
TOLERANCE = {"float32": 0.02, "tf32": 0.2, "bfloat16": 0.5}
LOGITS_TOLERANCE = {"float32": 1e-3, "tf32": 3e-2, "bfloat16": 3e-2}  # absolute, torch's forward


class Rate(NamedTuple):
    """Member-steps a second over the samples of one competitor: median and quartiles."""

    median: float
    low: float
    high: float


def rate(samples: Sequence[Mapping[str, float]]) -> Rate:
    """Take median and quartiles of the samples' rates; nan where there are none."""
    if not samples:
        return Rate(math.nan, math.nan, math.nan)
    rates = [s["member_steps"] / s["seconds"] for s in samples]
    low, median, high = np.percentile(rates, [25, 50, 75])
    return Rate(float(median), float(low), float(high))


def ratio(first: Mapping[str, Any], other: Mapping[str, Any]) -> Rate:
    """Compare two competitors of a cell.

    Returns:
      The ratio of their median rates, and the quartiles of the ratios round by round: of samples
      that were taken in one round, except for a hopeless competitor, whose samples may be those of
      another cell of the model.
    """
    pairs = [
        (a["member_steps"] / a["seconds"]) / (b["member_steps"] / b["seconds"])
        for a, b in zip(first["samples"], other["samples"], strict=False)
    ]
    if not pairs:
        return Rate(math.nan, math.nan, math.nan)
    low, high = np.percentile(pairs, [25, 75])
    middle = rate(first["samples"]).median / rate(other["samples"]).median
    return Rate(float(middle), min(float(low), middle), max(float(high), middle))


def wrong(row: Mapping[str, Any], precision: str) -> str:
    """Say in what way a competitor computes something else than stock Flax; '' where it does not.

    Args:
      row: of a cell.
      precision: of the run.
    """
    limits = {
        "loss": TOLERANCE[precision],
        "update": TOLERANCE[precision],
        "logits": LOGITS_TOLERANCE[precision],
    }
    for name, value in (row.get("check") or {}).items():
        if not value <= limits[name]:
            return f"{name} is {value:.2g} away from stock Flax's; allowed: {limits[name]:g}"
    return ""


def peak(row: Mapping[str, Any]) -> float:
    """Tell a competitor's peak memory in bytes: the accelerator's where there is one."""
    memory = row.get("memory") or {}
    found = memory.get("device_peak_bytes") or memory.get("peak_bytes")
    return math.nan if found is None else float(found)


def beyond(row: Mapping[str, Any]) -> float:
    """Tell the peak memory beyond weights, optimiser and what the libraries took, in bytes."""
    memory = row.get("memory") or {}
    if memory.get("device_peak_bytes"):
        return float(memory["device_peak_bytes"] - memory["state_bytes"])
    if not memory:
        return math.nan
    return float(memory["peak_bytes"] - memory["base_bytes"] - memory["state_bytes"])


def roofline(cell: Mapping[str, Any], cores: int = 0) -> float:
    """Give the median rate of the matrix products in the rounds of a cell, in operations a second.

    Args:
      cell: with the looks at them, by devices used.
      cores: devices that were used; 0, or a number of which nothing is known, for all.
    """
    looks = cell["roofline"].get(str(cores)) or cell["roofline"]["0"]
    return float(np.median(looks)) if looks else math.nan


def summarise(result: dict[str, Any]) -> None:
    """Add to every row its rate, GF/s, share of the roofline, ratio, and whether it is wrong."""
    for cell in result["cells"]:
        flops = result["models"][cell["model"]]["flops"]
        first = cell["rows"][0]
        for row in cell["rows"]:
            found = rate(row["samples"])
            row["member_steps_per_second"] = found._asdict()
            row["gflops"] = found.median * flops / 1e9
            row["roofline_share"] = found.median * flops / roofline(cell, row["devices"])
            row["ratio"] = ratio(first, row)._asdict()
            row["wrong"] = wrong(row, result["settings"]["precision"])


def table(cell: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Write the table of one cell: a line per competitor."""
    model = result["models"][cell["model"]]
    against = {"table": "engine ÷ it", "scaling": "1st ÷ it", "strategies": "auto ÷ it"}
    head = ["competitor", "members", "member-steps/s", "quartiles", "GF/s", "% of roofline"]
    head += [against.get(cell["part"], "1st ÷ it"), "memory", "compile s"]
    rows = [head]
    for row in cell["rows"]:
        if row.get("error"):
            rows.append([row["title"], str(row["members"]), "failed", *[""] * 6])
            continue
        found = row["member_steps_per_second"]
        mark = "†" if row.get("waves", 1) > 1 else "*" if _fewer(row) else ""
        rows.append(
            [
                row["title"] + (" (hopeless)" if row["hopeless"] else ""),
                f"{row['members']:,}{mark}",
                number(found["median"]),
                f"{number(found['low'])} to {number(found['high'])}",
                number(row["gflops"]),
                percent(row["roofline_share"]),
                f"{number(row['ratio']['median'])}{'  WRONG' if row['wrong'] else ''}",
                size(peak(row)),
                f"{row['compile_seconds']:.1f}",
            ]
        )
    title = f"{cell['model']}"
    title += f" × {cell['members']:,}" if cell["members"] else ""
    title += (
        f" ({cell['part']}; batch {model['batch_size']}, {model['optimizer']}, "
        f"{model['parameters']:,} parameters, {number(model['flops'] / 1e6)} MF a member-step)"
    )
    lines = [title, *("  " + line for line in aligned(rows))]
    if waved := [r for r in cell["rows"] if not r.get("error") and r.get("waves", 1) > 1]:
        lines.append(f"  † {waves_line(waved)}")
    measured = sorted({r["members_measured"] for r in cell["rows"] if _fewer(r)})
    if measured:
        lines.append(f"  * measured with {' or '.join(map(str, measured))} members")
    lines += [f"  {r['title']} failed: {r['error']}" for r in cell["rows"] if r.get("error")]
    lines += [f"  {r['title']} is WRONG: {r['wrong']}" for r in cell["rows"] if r["wrong"]]
    return "\n".join(lines)


def waves_line(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how many waves competitors train their members in, and what of that was timed."""
    counts = [f"{r['members']:,} in {r['waves']:,} waves of {r['members_measured']}" for r in rows]
    text = f"trained wave after wave: {', '.join(counts)}; a sample is one wave, another each time"
    starts = [r["wave_start_seconds"] for r in rows if r["wave_start_seconds"] is not None]
    if starts:
        text += f"; the start of a wave, at most {max(starts):.2g} s, is not in it"
    return text


def _fewer(row: Mapping[str, Any]) -> bool:
    """Return whether fewer members stand for those asked for, the engine's waves apart."""
    if row.get("error") or row.get("waves", 1) > 1:
        return False
    return row["members_measured"] != row["members"]


def percent(share: float) -> str:
    """Write a share of the roofline; nan as –."""
    if math.isnan(share):
        return "–"
    return f"{100 * share:.0f} %" if share >= 0.01 else "< 1 %"


SHARE = (  # told wherever shares are
    "share of the roofline: a competitor's median rate over the median of the matrix products in "
    "the same rounds, on as many devices as it was given"
)


def roofline_line(result: Mapping[str, Any]) -> str:
    """Write what a matrix product reached, on all cores and on fewer, and what a share of it is."""
    parts = []
    kind = "core" if result["machine"]["backend"] == "cpu" else "device"
    for cores, samples in result["roofline"].items():
        if not samples:
            continue
        name = f"all {kind}s" if cores == "0" else f"{cores} {kind}" + "s" * (cores != "1")
        words = f"{name}: median {np.median(samples) / 1e9:,.0f} GF/s"
        if len(samples) > 1:
            words += f" (best {max(samples) / 1e9:,.0f}, lowest {min(samples) / 1e9:,.0f})"
        parts.append(words)
    precision = result["settings"]["precision"]
    return f"roofline, a {precision} matrix product on {'; on '.join(parts)}\n{SHARE}"


def number(value: float) -> str:
    """Write a number to three figures: 85,100 · 36.2 · 0.51; nan as –."""
    if math.isnan(value):
        return "–"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{float(f'{value:.3g}'):,.{digits}f}"
