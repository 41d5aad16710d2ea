"""Runs an experiment by its name, or lists them, one line each: the command `catdog`."""

import ast
import importlib
import sys
import textwrap
from pathlib import Path

from catdog_jax.registry import unknown
from catdog_jax.run.summary import WIDTH
from experiments import _cli


def summaries() -> dict[str, str]:
    """Read the first line of each experiment's docstring, without importing it."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem] = doc.partition("\n")[0]
    return found


def main() -> int:
    """Run the experiment that is named first, or print the list."""
    found, (name, *flags) = summaries(), sys.argv[1:] or ["--help"]
    if name in found:
        sys.argv[1:] = flags
        _cli.command(importlib.import_module(f"experiments.{name}").main)
    if name not in _cli.HELP_FLAGS:
        message = unknown(
            "experiment", name, found, "run catdog NAME, or python -m experiments.NAME"
        )
        print(f"error: {message}", file=sys.stderr)
        return 2
    width = max(map(len, found))
    for name, line in found.items():
        lines = textwrap.wrap(line, WIDTH - len("catdog ") - width - 2)
        print(f"catdog {name.ljust(width)}  " + f"\n{'':{width + 9}}".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
