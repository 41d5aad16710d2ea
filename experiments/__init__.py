"""One question per file; `python -m experiments` lists them."""

import os
import sys
from pathlib import Path

# Before JAX is loaded: its coordination service would warn of each setting that is used here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Settings of JAX that a run does not take from outside: they change its numbers, or what programs
# may do. Figures are files, whatever shows them elsewhere.
_NOT_OURS = """
DEBUG_INFS DEBUG_NANS DEFAULT_DTYPE_BITS DEFAULT_MATMUL_PRECISION DEFAULT_PRNG_IMPL
DISABLE_JIT ENABLE_CUSTOM_PRNG ENABLE_X64 NUMPY_DTYPE_PROMOTION NUMPY_RANK_PROMOTION
RANDOM_SEED_OFFSET THREEFRY_PARTITIONABLE TRANSFER_GUARD USE_SHARDY_PARTITIONER
"""


def _begin() -> None:
    """Make this process that of an experiment, before anything large is imported."""
    for stream in range(3):  # one that is closed would be the number of the next file
        try:
            os.fstat(stream)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    from experiments import _signals

    _signals.take()
    for name in ("MPLBACKEND", *(f"JAX_{name}" for name in _NOT_OURS.split())):
        os.environ.pop(name, None)
    # What lies where the command is given must not stand in for a library.
    if Path(sys.path[0]) == Path.cwd() != Path(__file__).parents[1]:
        sys.path.append(sys.path.pop(0))
    if "experiments" not in sys.orig_argv:  # it is more than a list of them
        try:
            import jax  # it reads its settings now
        except ValueError as error:
            found = ", ".join(f"{k}={v}" for k, v in os.environ.items() if k.startswith("JAX_"))
            print(f"error: JAX does not start ({error}); mend one of {found}", file=sys.stderr)
            sys.exit(2)


if sys.argv[0] == "-m" and any("experiments" in word for word in sys.orig_argv):
    _begin()  # an experiment is the program, and is about to be found
