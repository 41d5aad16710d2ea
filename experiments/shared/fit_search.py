"""The largest wave that fits, from few compilations: memory is nearly a straight line."""

import math
from collections.abc import Callable
from typing import NamedTuple

CLOSE = 0.03  # a wave this much smaller than the largest will do
MOST_TRIALS = 5
_AIM = 0.99  # of the memory that the line says is left


class Trial(NamedTuple):
    """One compilation.

    Attributes:
      members: on each device.
      fits: whether a device holds them.
      needed: bytes on each device; None where the compiler gave up without a figure.
    """

    members: int
    fits: bool
    needed: int | None


def largest_fit(
    compile_at: Callable[[int], Trial],
    known: Trial,
    *,
    memory: int,
    most: int,
    multiple: int = 1,
    settle: bool = False,
) -> list[Trial]:
    """Find how many members a device holds, within CLOSE.

    `settle` changes nothing of the trials but where they end.

    Args:
      compile_at: compiles a program of so many members on each device.
      known: one compilation that is done already.
      memory: bytes of a device.
      most: members on each device that are asked for, a multiple of `multiple`: more are of no use.
      multiple: members come in multiples of this.
      settle: whether to end as soon as more members would not save a wave.

    Returns:
      The compilations, `known` first. The largest that fits is the answer; there may be none.
    """
    trials = [known]
    while len(trials) < MOST_TRIALS:
        members = _next(trials, memory, most, multiple, settle)
        if members is None or any(trial.members == members for trial in trials):
            break
        trials.append(compile_at(members))
    return trials


def best(trials: list[Trial]) -> Trial | None:
    """Pick the largest that fits."""
    return max((t for t in trials if t.fits), key=lambda t: t.members, default=None)


def _next(trials: list[Trial], memory: int, most: int, multiple: int, settle: bool) -> int | None:
    """Choose the next size, or None where nothing is left to learn."""
    good = max((t.members for t in trials if t.fits), default=0)
    bad = min((t.members for t in trials if not t.fits), default=None)
    ceiling = min(most, bad - 1) if bad is not None else most
    ceiling = ceiling // multiple * multiple
    if ceiling - good < max(multiple, CLOSE * good):
        return None
    if settle and good > 0 and math.ceil(most / ceiling) == math.ceil(most / good):
        return None
    measured = sorted((t.members, t.needed) for t in trials if t.needed is not None)
    if len(measured) < 2:
        # A second point, well away from the first, tells the slope.
        members = (measured[0][0] // 4 if measured else ceiling // 2) // multiple * multiple
        if members == 0 or members == good:
            members = max(2 * good, multiple)
    else:
        # Padding makes steps of the line: neighbours may need the same, so the ends tell its slope.
        (low, low_bytes), (high, high_bytes) = measured[0 if bad is None else -2], measured[-1]
        slope = max((high_bytes - low_bytes) / (high - low), 1.0)
        members = int(high + (_AIM * memory - high_bytes) / slope)
        if bad is not None and members >= bad:
            members = (good + bad) // 2
        if members <= good:
            # The line says that no more fit than have been seen to: try a little more, once.
            members = int(good * (1 + CLOSE)) + multiple
    return min(max(members // multiple * multiple, multiple), ceiling)
