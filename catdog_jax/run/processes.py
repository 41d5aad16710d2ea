"""What the processes of a run agree on, which of them trains which wave, and who reads first."""

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from catdog_jax.population import distributed, use_all_cores, use_compilation_cache
from catdog_jax.population.distributed import Group
from catdog_jax.store import manifest
from catdog_jax.types import Dataset, InputError


class WorkerDone(BaseException):
    """The work of this process has ended well, and it has no results: the first one has them."""


def begin(
    coordinator: str = "none",
    num_processes: int | None = None,
    process_id: int | None = None,
    compile_cache: str = "",
) -> Group:
    """Meet the other processes of the run, and take the devices; call before JAX is used.

    Args:
      coordinator, num_processes, process_id: see `distributed.join`.
      compile_cache: see `use_compilation_cache`.

    Raises:
      InputError: wrong input, or no device.
      RuntimeError: the other processes did not come, or have ended.
    """
    use_all_cores()
    group = distributed.join(coordinator, num_processes, process_id)
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        why = (str(error).splitlines() or ["no such platform"])[0]
        raise InputError(
            f"JAX finds no device of JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS')} ({why:.200}); "
            "give one that is here, like cpu, or unset it"
        ) from error
    use_compilation_cache(compile_cache)
    # JAX writes its cache without care for others that write the same, so of the processes that
    # share a folder one writes. The number of a folder is the same on all machines that see it; of
    # two folders that happen to have the same, one is not written, which does no harm.
    folder, number = jax.config.values["jax_compilation_cache_dir"], 0
    with contextlib.suppress(OSError):  # in a bucket
        number = os.stat(folder).st_ino if folder else 0
    same = [index for index, n in group.gather("compile_cache", number).items() if n == number]
    if min(same) != group.index:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e9)
    return group


def read_together(load: Callable[[], Dataset], download: bool = False) -> Dataset:
    """Read the data set; where any process may fetch it, the first one does so before the others.

    What the first one has fetched is there for all that see the same data_dir.

    Args:
      load: reads it.
      download: whether this process may fetch it.
    """
    group = distributed.current()
    fetching = any(group.gather("download", download).values())
    if fetching and not group.first:
        group.wait_for("fetched")
    dataset = load()
    if fetching and group.first:
        group.tell("fetched", True)
    return dataset


def check_same(group: Group, experiment: str, settings: Mapping[str, Any]) -> None:
    """Check that the processes of a run have the same settings, data and libraries.

    Args:
      group: the processes.
      experiment: its name.
      settings: all that decides the numbers of the run.

    Raises:
      InputError: they differ; in all processes.
    """
    versions = {f"version of {name}": text for name, text in manifest.versions().items()}
    mine = {"experiment": experiment, **manifest.plain(dict(settings)), **versions}
    found = group.gather(f"settings of run {next(group.runs)}", mine)
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
        self._left = [wave for wave in self._left if not self._is_done(wave)]
        return bool(self._left)

    def take(self) -> Iterator[int]:
        """Take the waves, one at a time, that no living process has taken."""
        for wave in self._left:
            if not self._is_done(wave) and self._group.claim(f"{self._name}/{wave}"):
                self._taken.add(wave)
                yield wave

    def finish(self) -> None:
        """Tell all that the waves taken so far are done, and on the disk."""
        for wave in self._taken:
            self._group.tell(f"{self._name}/{wave}/done", True)
        self._taken.clear()

    def _is_done(self, wave: int) -> bool:
        return self._group.told(f"{self._name}/{wave}/done") is not None


def joined_timings(
    before: Mapping[str, Any], mine: Mapping[str, Any], others: list[Mapping[str, Any]]
) -> dict[str, Any]:
    """Join what the processes spent: the time of the slowest of them, the sum of their rates.

    Args:
      before: the manifest's timings when this session began: label -> seconds, rate.
      mine: the same now, with what the first process spent.
      others: what each of the others spent.
    """
    joined, nothing = {}, {"seconds": 0.0, "rate": math.nan}
    for label in {**mine, **{label: None for found in others for label in found}}:
        old, own = (found.get(label, nothing) for found in (before, mine))
        rate = own["rate"] if own["rate"] != old["rate"] else math.nan  # none of this session
        spent = [{"seconds": own["seconds"] - old["seconds"], "rate": rate}]
        spent += [found[label] for found in others if label in found]
        rates = [part["rate"] for part in spent if math.isfinite(part["rate"])]
        seconds = old["seconds"] + max(part["seconds"] for part in spent)
        joined[label] = {"seconds": seconds, "rate": sum(rates) or old["rate"]}
    return joined
