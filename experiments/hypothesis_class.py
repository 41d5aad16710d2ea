"""Is now two experiments, curve_fitting and bias_variance."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Say what to run instead; return the exit status of wrong input."""
    del argv
    names = "python -m experiments.curve_fitting and python -m experiments.bias_variance"
    print(f"error: hypothesis_class is now two experiments: run {names}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
