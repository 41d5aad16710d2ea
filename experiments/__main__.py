"""Lists the experiments, one line each."""

import ast
import sys
from pathlib import Path

from catdog_jax.registry import unknown


def summaries() -> dict[str, str]:
    """Read the first line of each experiment's docstring, without importing it."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem] = doc.partition("\n")[0]
    return found


def main() -> int:
    """Print the list; anything after `experiments` is an error that says what to type."""
    found = summaries()
    wrong = [argument for argument in sys.argv[1:] if argument not in ("--help", "--helpshort")]
    if wrong:
        message = unknown("experiment", wrong[0], found, "run python -m experiments.NAME")
        print(f"error: {message}", file=sys.stderr)
        return 2
    width = max(map(len, found))
    for name, line in found.items():
        print(f"python -m experiments.{name.ljust(width)}  {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
