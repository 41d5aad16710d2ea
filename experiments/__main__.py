"""Lists the experiments, one line each."""

import ast
import importlib.util
import pkgutil
import sys

import experiments
from catdog_jax.registry import unknown


def summaries() -> dict[str, str]:
    """Read the first line of each experiment's docstring, without importing it."""
    found = {}
    for info in pkgutil.iter_modules(experiments.__path__):
        if info.ispkg or info.name.startswith("_"):
            continue
        spec = importlib.util.find_spec(f"experiments.{info.name}")
        if spec is not None and spec.origin is not None:
            with open(spec.origin, encoding="utf-8") as file:
                doc = ast.get_docstring(ast.parse(file.read())) or ""
            found[info.name] = doc.partition("\n")[0]
    return dict(sorted(found.items()))


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
