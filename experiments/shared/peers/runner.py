"""What every competitor hands to the benchmark once it is ready to train."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments.shared.throughput.problem import CHECK_STEPS


class Runner(NamedTuple):
    """A competitor that is built, compiled and has done its first steps.

    Attributes:
      run: steps -> anything; trains all its members for so many steps, and waits for the end.
      members: how many it trains.
      quantum: steps are a multiple of this.
      check: how far its first steps are from the reference's, see `reference.distance`; None
        where it computes something else.
      seconds: that a sample lasts at least.
      start: () -> None; comes before each sample and is not part of it, but timed by itself.
      state_bytes: weights and optimiser of its members.
      compile_seconds: what the first call took beyond a later one.
      facts: more to record, ready for JSON.
      device_memory: () -> peak bytes on the accelerator, None where there is none.
    """

    run: Callable[[int], Any]
    members: int
    quantum: int = 1
    check: dict[str, float] | None = None
    seconds: float = 0.0
    start: Callable[[], None] | None = None
    state_bytes: int = 0
    compile_seconds: float = 0.0
    facts: Mapping[str, Any] = MappingProxyType({})
    device_memory: Callable[[], int | None] = lambda: None


def first_steps(
    train: Callable[[int], Any], check: Callable[[Any], dict[str, float] | None]
) -> tuple[dict[str, float] | None, float, float]:
    """Train CHECK_STEPS steps, look at what came of them, and train as many again.

    Args:
      train: steps -> losses; waits for the end.
      check: of what `train` gave, before it goes on.

    Returns:
      What `check` gave, what the first call took beyond the second (compilation), and how long
      the second took for each step, both in seconds.
    """
    begin = time.perf_counter()
    losses = train(CHECK_STEPS)
    first = time.perf_counter() - begin
    found = check(losses)
    begin = time.perf_counter()
    train(CHECK_STEPS)
    again = time.perf_counter() - begin
    return found, max(first - again, 0.0), again / CHECK_STEPS
