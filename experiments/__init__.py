"""One question per file; `python -m experiments` lists them."""

import os
import sys

# Before JAX is loaded: its coordination service would warn of each setting that is used here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# What a run takes from outside of JAX's settings: where it runs, and what is logged. The others
# change its numbers, or what programs may do.
_TAKEN = """
CLUSTER COMPILATION_CACHE COORDINATOR CPU_COLLECTIVES CUDA_VISIBLE DEBUG_LOG DUMP ENABLE_COMPILATION
EXPLAIN LOCAL_ LOG NUM_ PERSISTENT PLATFORM PROCESS ROCM_VISIBLE TRACEBACK
"""
STARTING = "loading JAX …"  # on a terminal, until there is more to say


def _begin() -> None:
    """Make this process that of an experiment, before anything else is imported."""
    # What lies where the command is given must not stand in for a library.
    here, ours = os.getcwd(), os.path.dirname(os.path.dirname(__file__))
    if os.path.realpath(sys.path[0]) == here != os.path.realpath(ours):
        del sys.path[0]
    if here not in sys.path:
        sys.path.append(here)
    for stream in range(3):  # one that is closed would be the number of the next file
        try:
            os.fstat(stream)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    import contextlib

    from experiments import _signals

    _signals.take()
    taken = tuple(f"JAX_{name}" for name in _TAKEN.split())
    for name in [*os.environ]:
        if name.startswith("JAX_") and not name.startswith(taken):
            del os.environ[name]
    # Figures are files, and look alike whatever a person has set for others.
    os.environ.pop("MPLBACKEND", None)
    os.environ["MATPLOTLIBRC"] = os.devnull
    if os.path.isfile("matplotlibrc"):  # it would be read in that one's place
        with contextlib.chdir(os.path.dirname(__file__)):
            import matplotlib
    if os.path.basename(sys.orig_argv[-1]) not in ("experiments", "catdog"):  # more than a list
        if sys.stderr.isatty():
            sys.stderr.write(f"{STARTING}\r")
            sys.stderr.flush()
        try:
            import jax  # it reads its settings now
        except ValueError as error:
            found = ", ".join(f"{k}={v}" for k, v in os.environ.items() if k.startswith("JAX_"))
            print(f"error: JAX does not start ({error}); mend one of {found}", file=sys.stderr)
            sys.exit(2)


_is_module = sys.argv[0] == "-m" and any("experiments" in word for word in sys.orig_argv)
if _is_module or os.path.basename(sys.argv[0]) == "catdog":
    _begin()  # an experiment is the program, and is about to be found
