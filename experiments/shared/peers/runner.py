"""What every competitor hands to the benchmark once it is ready to train."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Runner(NamedTuple):
    """A competitor that is built, compiled and has done its first steps.

    Attributes:
      run: (steps) -> None; trains all its members for so many steps, and waits for the end.
      members: how many it trains.
      quantum: steps are a multiple of this.
      check: how far its first steps are from the reference's, see `reference.distance`; None
        where it computes something else.
      seconds: that a sample lasts at least.
      state_bytes: weights and optimiser of its members.
      compile_seconds: what the first call took beyond a later one.
      facts: more to record, ready for JSON.
      device_memory: () -> peak bytes on the accelerator, None where there is none.
    """

    run: Callable[[int], None]
    members: int
    quantum: int = 1
    check: dict[str, float] | None = None
    seconds: float = 0.0
    state_bytes: int = 0
    compile_seconds: float = 0.0
    facts: Mapping[str, Any] = MappingProxyType({})
    device_memory: Callable[[], int | None] = lambda: None
