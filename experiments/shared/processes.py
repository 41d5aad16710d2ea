"""What the processes of a run agree on, and which of them trains which wave."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from catdog_jax.population.distributed import Group
from catdog_jax.store import manifest
from catdog_jax.types import InputError


class WorkerDone(BaseException):
    """The work of a process that is not the first has ended well; the first has the results."""


def check_same(group: Group, run: str, experiment: str, settings: Mapping[str, Any]) -> None:
    """Check that the processes of a run have the same settings, data and libraries.

    Args:
      group: the processes.
      run: what they call the run.
      experiment: its name.
      settings: all that decides the numbers of the run.

    Raises:
      InputError: they differ; in all processes.
    """
    versions = {f"version of {name}": text for name, text in manifest.versions().items()}
    mine = {"experiment": experiment, **manifest.plain(dict(settings)), **versions}
    found = group.gather(f"{run}/settings", mine)
    for index, other in found.items():
        for key in {**found[0], **other}:
            first, second = (json.dumps(x.get(key, "unset")) for x in (found[0], other))
            if first != second:
                raise InputError(
                    f"process 0 was started with {key}={first}, process {index} with {second}; "
                    "give all processes of a run the same flags, data and libraries"
                )


class WaveQueue:
    """The waves of one model that are not done, shared by the processes of a run."""

    def __init__(self, group: Group, name: str, num_waves: int):
        """Begin.

        Args:
          group: the processes.
          name: of the model in its run, the same in all processes.
          num_waves: how many there are.
        """
        self._group, self._name = group, name
        self._left, self._taken = list(range(num_waves)), set[int]()

    def unfinished(self) -> bool:
        """Return whether there is a wave that nobody has told to be done."""
        self._left = [wave for wave in self._left if self._group.told(self._done(wave)) is None]
        return bool(self._left)

    def take(self) -> Iterator[int]:
        """Take the waves, one at a time, that no living process has taken."""
        for wave in self._left:
            done = self._group.told(self._done(wave)) is not None
            if not done and self._group.claim(f"{self._name}/{wave}"):
                self._taken.add(wave)
                yield wave

    def finish(self) -> None:
        """Tell all that the waves taken so far are done, and on the disk."""
        for wave in self._taken:
            self._group.tell(self._done(wave), True)
        self._taken.clear()

    def _done(self, wave: int) -> str:
        return f"{self._name}/{wave}/done"


def joined_timings(
    before: Mapping[str, Any], mine: Mapping[str, Any], others: list[Mapping[str, Any]]
) -> dict[str, Any]:
    """Join what the processes spent: the time of the slowest of them, the sum of their rates.

    Args:
      before: the manifest's timings when this session began: label -> seconds, rate.
      mine: the same now, with what the first process spent.
      others: what each of the others spent.
    """
    joined = {}
    for label in {**mine, **{label: None for found in others for label in found}}:
        old, own = (found.get(label, {}) for found in (before, mine))
        earlier, earlier_rate = old.get("seconds", 0.0), old.get("rate", math.nan)
        spent = [own.get("seconds", 0.0) - earlier]
        spent += [found[label]["seconds"] for found in others if label in found]
        rates = [found[label]["rate"] for found in others if label in found]
        if own.get("rate", math.nan) != earlier_rate:  # else no rate of this session
            rates.append(own.get("rate", math.nan))
        known = [rate for rate in rates if math.isfinite(rate)]
        joined[label] = {
            "seconds": earlier + max(spent),
            "rate": sum(known) if known else earlier_rate,
        }
    return joined
