"""The table of where a run ended."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from catdog_jax.analysis.convergence import Summary, summary

if TYPE_CHECKING:
    import xarray as xr


def summaries(data: "xr.Dataset") -> list[Summary]:
    """Make one row per model of a finished run's data set."""
    rows = []
    for entry in data["model"].values:
        one = data.sel(model=entry)
        rows.append(
            summary(
                str(entry),
                int(one["num_parameters"]),
                test_accuracy=one["test_accuracy"].values[:, -1],
                logits=one["logits"].values,
                labels=one["label"].values,
                diverged_step=one["diverged_step"].values,
                disagreement=one["disagreement"].values,
                weight_distance=one["weight_distance"].values,
                relative_weight_distance=one["relative_weight_distance"].values,
            )
        )
    return rows


def table(data: "xr.Dataset", timings: Mapping[str, Mapping[str, float]]) -> str:
    """Write the table that ends a run.

    Args:
      data: of `results.nc`.
      timings: model entry -> {'seconds', 'rate'}, from the manifest.
    """
    rows = summaries(data)
    unbalanced = _unbalanced(data)
    head = ["model", "parameters", "test accuracy", "min", "max"]
    head += ["balanced"] if unbalanced else []
    head += [
        "ensemble",
        "disagreement",
        "weight distance",
        "(relative)",
        "seconds",
        "member-steps/s",
    ]
    body = []
    for row in rows:
        spent = timings.get(row.model, {})
        seconds = spent.get("seconds", math.nan)
        cells = [
            row.model,
            f"{row.num_parameters:,}",
            f"{number(row.mean_accuracy)} ± {number(row.sd_accuracy)}",
            number(row.min_accuracy),
            number(row.max_accuracy),
        ]
        cells += [number(row.balanced_accuracy)] if unbalanced else []
        cells += [
            number(row.ensemble_accuracy),
            number(row.disagreement),
            number(row.weight_distance, 2),
            number(row.relative_weight_distance),
            number(seconds, 1),
            number(spent.get("rate", math.nan), 1),
        ]
        body.append(cells)
    diverged = [
        f"{row.model}: {row.num_diverged} of {row.num_members} members diverged (a loss that was "
        f"not finite) and left out, diverged_step says when"
        for row in rows
        if row.num_diverged
    ]
    members = (
        f"{data.sizes['member']} members each; ± is one standard deviation over members; "
        "seconds count all of a model's work, member-steps/s its training steps alone"
    )
    return "\n".join([*aligned([head, *body]), members, *diverged])


def size(num_bytes: float) -> str:
    """Write bytes for a person: '3 MiB', '1.2 GiB'."""
    for unit in ("B", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} GiB"


def number(value: float, digits: int = 3) -> str:
    """Write a number for a person; nan is a dash."""
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"


def _unbalanced(data: "xr.Dataset") -> bool:
    counts = [int((data["label"] == k).sum()) for k in range(data.sizes["class"])]
    return max(counts) > 1.05 * max(min(counts), 1)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Set rows of cells in columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
