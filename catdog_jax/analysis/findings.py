"""Published findings about seeds beside what was measured here, as a table."""

import csv
from importlib import resources
from typing import Any

NUMBERS = ("ours", "low", "high")


def findings() -> list[dict[str, Any]]:
    """Read the table of findings that comes with this package, `findings.csv`.

    Returns:
      One dict a finding: `finding`, what the number is; `source`, who published it; `published`, as
      it is written there, '' where there is none; `published_regime`; `ours`, `low`, `high`: what
      was measured here and its 95 % interval, float, nan where it was not; `our_regime`; `verdict`,
      or the reason why there is none; `command`, which measures it.
    """
    text = (resources.files("catdog_jax") / "findings.csv").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = list(csv.DictReader(text.splitlines()))
    return [row | {name: float(row[name] or "nan") for name in NUMBERS} for row in rows]
