"""What the processes of a run agree on, and which of them trains which wave."""

import itertools
import json
import math
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from catdog_jax.population import Plan
from catdog_jax.population.processes import Group
from catdog_jax.store import RunFolder, manifest
from catdog_jax.types import InputError
from experiments.shared.config import TrainConfig
from experiments.shared.jobs import Job

Shares = list[dict[str, list[int]]]  # of each process: part of the run -> waves


class Helped(BaseException):
    """The work of a process that is not the first has ended well; the first has the results."""


def check_same(group: Group, experiment: str, facts: Mapping[str, Any]) -> None:
    """Refuse a run whose processes were started with different settings, data or libraries.

    Args:
      group: the processes.
      experiment: its name.
      facts: all that decides the numbers of the run.

    Raises:
      InputError: they differ; in all processes.
    """
    versions = {f"version of {name}": text for name, text in manifest.versions().items()}
    mine = {"experiment": experiment, **manifest.plain(dict(facts)), **versions}
    found = group.gather(mine)
    problem = group.broadcast(_difference(found) if found else None)
    if problem:
        raise InputError(problem)


def _difference(found: Sequence[Mapping[str, Any]]) -> str | None:
    for index, facts in enumerate(found):
        for key in {**found[0], **facts}:
            first, other = (json.dumps(x.get(key, "unset")) for x in (found[0], facts))
            if first != other:
                return (
                    f"process 0 was started with {key}={first}, process {index} with {other}; "
                    "give all processes of a run the same flags, data and libraries"
                )
    return None


def share_out(
    folder: RunFolder, jobs: Sequence[Job], plans: Sequence[Plan], num_members: int, count: int
) -> Shares:
    """Deal the waves that are not done yet to the processes, in turn.

    Who trains a wave changes nothing of it, so any number of processes may go on with a run.
    """
    shares: Shares = [{job.part: [] for job in jobs} for _ in range(count)]
    turn = itertools.cycle(shares)
    for job, plan in zip(jobs, plans, strict=True):
        for wave in range(math.ceil(num_members / plan.wave)):
            if folder.load_wave(job.part, wave) is None:
                next(turn)[job.part].append(wave)
    return shares


def send_task(
    group: Group, folder: RunFolder, plans: Sequence[Plan], num_members: int, shares: Shares
) -> None:
    """Tell the other processes what to train, and where."""
    group.broadcast(
        {
            "name": folder.path.name,
            "session": folder.manifest["sessions"][-1],
            "backend": jax.default_backend(),
            "plans": [plan._asdict() for plan in plans],
            "num_members": num_members,
            "shares": shares,
        }
    )


def open_task(
    group: Group, config: TrainConfig, experiment: str, task: Mapping[str, Any]
) -> RunFolder:
    """Open the run folder that the first process holds, and say what will be done.

    Raises:
      InputError: this process has other devices, or does not see the folder.
    """
    devices, kind = jax.local_device_count(), jax.default_backend()
    needed = max((plan["num_devices"] for plan in task["plans"]), default=1)
    if kind != task["backend"] or devices < needed:
        raise InputError(
            f"{group.name} has {devices} {kind} device(s), and process 0 needs {needed} of "
            f"{task['backend']}; give all processes the same (on CPU by JAX_NUM_CPU_DEVICES)"
        )
    path = Path(config.out_dir).expanduser() / experiment / task["name"]
    folder = RunFolder.join(path, group.index, task["session"])
    mine, total = (
        sum(len(waves) for share in shares for waves in share.values())
        for shares in ([task["shares"][group.index]], task["shares"])
    )
    print(
        f"{group.name} on {socket.gethostname()}: trains {mine} of {total} waves on {devices} "
        f"{kind} device(s); run folder: {path}",
        flush=True,
    )
    return folder


def joined_timings(
    before: Mapping[str, Any], mine: Mapping[str, Any], others: Sequence[Mapping[str, Any]]
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
