"""Trains populations into a run folder, and goes on where one was left."""

import contextlib
import functools
import itertools
import math
import os
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax

from catdog_jax import interrupt
from catdog_jax.analysis.sketch import sketch
from catdog_jax.host import jax_settings
from catdog_jax.population import Plan, distributed, train_population
from catdog_jax.population.distributed import Group, ProcessEnded
from catdog_jax.population.waves import Segment, Snapshot
from catdog_jax.registry import unknown
from catdog_jax.run.checkpointer import Checkpointer
from catdog_jax.run.plans import has_plans, kept_plans, new_plans
from catdog_jax.run.processes import WaveQueue, WorkerDone, check_same, joined_timings
from catdog_jax.run.progress import Progress, expecting
from catdog_jax.run.results import Population, Run, describe, open_run, settings_of, stack
from catdog_jax.run.summary import (
    check_disk,
    expected_seconds,
    input_entries,
    machine_entries,
    run_summary,
    size,
    tell,
)
from catdog_jax.run.task import KEEP_BYTES, Task
from catdog_jax.store import RunFolder, atomic, run_name
from catdog_jax.store.manifest import RESULTS
from catdog_jax.types import Dataset, InputError

WAITING_SECONDS = 0.5
KEEP = ("logits", "final")


def train_run(
    tasks: Sequence[Task],
    *,
    experiment: str,
    data: Dataset | None = None,
    settings: Mapping[str, Any] | None = None,
    short_name: str = "",
    command: str = "",
    source: Mapping[str, Any] | None = None,
    out_dir: str | os.PathLike[str] = "runs",
    name: str = "",
    fresh: bool = False,
    growable: bool = True,
    keep: str | None = None,
    keep_params: Collection[int] = (),
    dry_run: bool = False,
    confirm: Callable[[float], object] = lambda seconds: None,
) -> Run:
    """Train what is missing of a run; of one that is finished, nothing.

    Args:
      tasks: the populations; may be none.
      experiment: name of the folder below `out_dir`.
      data: the run's data set, if it has one; that of the first task by default.
      settings: all that decides the numbers of the run, ready for JSON; read off the tasks by
        default.
      short_name: of the name that a run without `name` gets, beside a digest of the settings.
      command: the command line that makes the run.
      source: what the data set was loaded by, to load it again.
      out_dir: where runs are kept; created if missing.
      name, fresh: see `RunFolder.open_or_create`.
      growable: whether `num_members` may be larger than that of finished results, which are then
        added to.
      keep: 'logits' of every evaluation, or the 'final' ones; None: all up to 256 MB a model.
        Decided when the run is made.
      keep_params: steps whose params are kept.
      dry_run: only say what would be done, and what it takes; nothing is written.
      confirm: called with the seconds that a new run takes, before a folder is made; may raise
        InputError.

    Returns:
      The run: `data` is None until `Run.finish` has written the results.

    Raises:
      InputError: wrong input; nothing is touched.
      Interrupted: a signal came; the work so far is saved.
      RuntimeError: disk full, or folder in use.
      WorkerDone: in a process that is not the first of its run: all is trained; in a dry run.
    """
    if keep not in (None, *KEEP):
        raise InputError(f"--keep={keep}; allowed: {', '.join(KEEP)}")
    data = tasks[0].data if tasks and data is None else data
    settings = {**(settings_of(tasks) if settings is None else settings), **jax_settings()}
    group, root = distributed.current(), Path(out_dir).expanduser() / experiment
    run = run_name("", settings)  # what the processes call it
    check_same(group, experiment, settings)
    if not group.first:
        _help(group, run, root, tasks)
    grown = ("num_members",) if growable else ()
    name = name or run_name(short_name, settings, ignore=grown)
    planned = None
    if fresh or dry_run or not has_plans(root / name):
        planned = new_plans(tasks, group.count)  # before a folder is made: it may be refused
    check_disk(out_dir, tasks, keep)
    if dry_run and planned:
        with expecting(_expected(_parts(tasks, planned.plans), group)) as total:
            tell(run_summary(tasks, planned.plans, root / name, total, group.count))
        raise WorkerDone
    if planned:
        confirm(sum(expected_seconds(tasks, planned.plans, group.count)))
    folder = RunFolder.open_or_create(root, name, settings, growable=grown, fresh=fresh)
    with contextlib.ExitStack() as on_error:
        on_error.callback(folder.close)
        if folder.finished:
            print(f"already done: {folder.path} holds these results; nothing is computed")
            group.tell(f"{run}/task", {})
            return open_run(folder.path)
        # What is asked for, or what finished results hold already, where that is more.
        num_members = folder.recipe.get("num_members", 0) if growable else 0
        tasks = _with_members(tasks, num_members)
        plans, trials = kept_plans(folder, tasks) or planned or new_plans(tasks, group.count)
        before = dict(folder.manifest.get("timings", {}))
        job = {
            "plans": folder.manifest.get("plans", {})
            | {t.label: plan._asdict() for t, plan in zip(tasks, plans, strict=True)},
            "keep": _kept(folder.manifest.get("keep", {}), tasks, keep),
            "keep_params": sorted(keep_params),
        }
        parts = _parts(tasks, plans)
        entries = [describe(part.task, part.name, input_entries(part.task.data)) for part in parts]
        folder.update_manifest(
            command=command,
            parts=entries,
            trials=trials,
            **job,
            inputs=input_entries(data) if data else {},
            data=dict(data.provenance) if data else {},
            source=dict(source or {}),
            machine=machine_entries(),
        )
        folder.write_flags(command)
        if data and data.name == "folder":
            folder.write_files(data.files)
        job |= {"session": folder.manifest["sessions"][-1], "name": folder.path.name}
        job |= {"backend": jax.default_backend(), "num_members": num_members}
        with expecting(_expected(parts, group, folder), folder.path) as total:
            words = run_summary(tasks, plans, folder.path, total, group.count) if tasks else ""
            tell(words or f"run folder: {folder.path}")
            group.tell(f"{run}/task", job)
            _train_parts(group, run, folder, parts, job)
        told = [group.told(f"{run}/timings/{index}") for index in range(1, group.count)]
        if others := [timings for timings in told if timings is not None]:
            spent = folder.manifest.get("timings", {})
            folder.update_manifest(timings=joined_timings(before, spent, others))
        populations = {}
        for part, entry in zip(parts, entries, strict=True):
            waves = [folder.await_wave(part.name, wave) for wave in range(part.num_waves)]
            task, found = part.task, stack(waves, part.task.members.count)
            populations[task.label] = Population(
                task.label, entry, found.copy, functools.partial(getattr, task, "data"), task
            )
        on_error.pop_all()  # whoever writes the results lets others use it
        return Run(folder.path, folder.manifest, populations, None, folder)


def take_run(
    path: str | os.PathLike[str],
    *,
    experiment: str,
    settings: Mapping[str, Any],
    command: str = "",
    models: Sequence[str] = (),
    data_dir: str | None = None,
    own: Sequence[str] = (),
    out_dir: str | os.PathLike[str] = "runs",
    name: str = "",
    fresh: bool = False,
    check: Callable[[Mapping[str, Population]], object] = lambda populations: None,
) -> Run:
    """Take the members of a finished run, to analyse them into a run folder of its own.

    Args:
      path: of the finished run.
      experiment, command, out_dir, name, fresh: see `train_run`.
      settings: all that decides the analysis, ready for JSON.
      models: labels of the populations that are taken; none: all.
      data_dir, own: see `open_run`.
      check: called with what is taken, before a folder is made; may raise InputError.

    Returns:
      As `train_run` does, with the populations of the other run.

    Raises:
      InputError: no finished run there, none with trained members, or no such model.
    """
    found = open_run(path, data_dir=data_dir, own=own)
    if not found.populations:
        raise InputError(f"--run={path}: no trained members in it; give a run of init_convergence")
    models = models or tuple(found.populations)
    for label in models:
        if label not in found.populations:
            raise unknown("model of the run", label, found.populations)
    populations = {label: found.populations[label] for label in models}
    check(populations)
    where = found.path.resolve()
    settings = {
        **settings,
        "run": f"{where.parent.name}/{where.name}",
        "results of the run": atomic.digest(where / RESULTS),
        "models": ",".join(models),
    }
    name = name or run_name(where.name, settings)
    root = Path(out_dir).expanduser() / experiment
    folder = RunFolder.open_or_create(root, name, settings, growable=(), fresh=fresh)
    with contextlib.ExitStack() as on_error:
        on_error.callback(folder.close)
        if folder.finished:
            print(f"already done: {folder.path} holds these results; nothing is computed")
            return replace(open_run(folder.path), populations=populations)
        kept = ("inputs", "data", "source", "timings")
        folder.update_manifest(
            command=command,
            run={"run": settings["run"], "command": found.manifest["command"]},
            **{key: found.manifest[key] for key in kept if key in found.manifest},
        )
        counts = ", ".join(f"{p.num_members} of {label}" for label, p in populations.items())
        print(f"members of {settings['run']}: {counts}\nrun folder: {folder.path}", flush=True)
        on_error.pop_all()
        return Run(folder.path, folder.manifest, populations, None, folder)


class _Part(NamedTuple):
    """One model's part of a run; `name` is what it is called in the run folder."""

    name: str
    task: Task
    plan: Plan
    of: str  # which of the run's it is

    @property
    def num_waves(self) -> int:
        return math.ceil(self.task.members.count / self.plan.wave)

    def title(self, group: Group) -> str:
        title = f"{self.of}{self.task.label} × {self.task.members.count}"
        return f"{group.name}: {title}" if group.count > 1 else title

    def kept(self, folder: RunFolder) -> int:
        """Count the waves that are in the folder."""
        return sum(folder.has_wave(self.name, wave) for wave in range(self.num_waves))


def _parts(tasks: Sequence[Task], plans: Sequence[Plan]) -> list[_Part]:
    pairs = enumerate(zip(tasks, plans, strict=True))
    of = f"model {{}} of {len(tasks)}: " if len(tasks) > 1 else ""
    return [_Part(f"{i:02d}_{t.label}", t, plan, of.format(i + 1)) for i, (t, plan) in pairs]


def _expected(
    parts: Sequence[_Part], group: Group, folder: RunFolder | None = None
) -> dict[str, float]:
    """Estimate the seconds of the parts, by title, without the waves that a folder has."""
    seconds = expected_seconds([p.task for p in parts], [p.plan for p in parts], group.count)
    left = (1 - part.kept(folder) / part.num_waves if folder else 1.0 for part in parts)
    return {p.title(group): s * x for p, s, x in zip(parts, seconds, left, strict=True) if x}


def _kept(known: dict[str, str], tasks: Sequence[Task], asked: str | None) -> dict[str, str]:
    """Decide for each task that none is known of whether the logits of all evaluations are kept."""
    kept = dict(known)
    for task in (task for task in tasks if task.label not in known):
        large = asked is None and task.logits_bytes > KEEP_BYTES
        kept[task.label] = asked or ("final" if large else "logits")
        if large:
            print(
                f"{task.label}: only the last logits are kept, for those of every evaluation take "
                f"{size(task.logits_bytes)}; --keep=logits keeps them"
            )
    return kept


def _with_members(tasks: Sequence[Task], num_members: int) -> list[Task]:
    """Give tasks at least so many members."""
    counts = [max(num_members, task.members.count) for task in tasks]
    return [replace(t, members=t.members.rows(0, n)) for t, n in zip(tasks, counts, strict=True)]


def _help(group: Group, run: str, root: Path, tasks: Sequence[Task]) -> NoReturn:
    """Train waves of the run that process 0 has begun.

    Raises:
      WorkerDone: all waves are done.
      ProcessEnded: process 0 has ended.
      InputError: this process has other devices, or does not see the folder.
    """
    if job := group.wait_for(f"{run}/task"):
        devices, kind = jax.local_device_count(), jax.default_backend()
        plans = [Plan(**job["plans"][task.label]) for task in tasks]
        needed = max((plan.num_devices for plan in plans), default=1)
        if kind != job["backend"] or devices < needed:
            raise InputError(
                f"{group.name} has {devices} {kind} device(s), and process 0 needs {needed} of "
                f"{job['backend']}; give all processes the same (on CPU by JAX_NUM_CPU_DEVICES)"
            )
        with RunFolder.join(root / job["name"], group.index, job["session"]) as folder:
            print(
                f"{group.name} on {socket.gethostname()}: trains on {devices} {kind} device(s); "
                f"run folder: {folder.path}",
                flush=True,
            )
            parts = _parts(_with_members(tasks, job["num_members"]), plans)
            _train_parts(group, run, folder, parts, job)
    print(f"{group.name}: done", flush=True)
    raise WorkerDone


def _train_parts(
    group: Group, run: str, folder: RunFolder, parts: Sequence[_Part], job: Mapping[str, Any]
) -> None:
    """Train all waves of a run, with its other processes; returns when all waves are done.

    Args:
      group, run: the processes, and what they call the run.
      folder: the run folder.
      parts: of the run.
      job: 'keep' of the tasks by label, and 'keep_params'.
    """
    queues = [WaveQueue(group, f"{run}/{part.name}", part.num_waves) for part in parts]
    while True:
        for part, queue in zip(parts, queues, strict=True):
            waves = (w for w in queue.take() if folder.load_wave(part.name, w) is None)
            if (first := next(waves, None)) is not None:
                _train_part(group, folder, part, itertools.chain([first], waves), job)
                group.tell(f"{run}/timings/{group.index}", folder.manifest["timings"])
            queue.finish()
        if not [queue for queue in queues if queue.unfinished()]:
            return
        group.check()  # others train what is left, unless they are gone
        interrupt.check()
        time.sleep(WAITING_SECONDS)


def _train_part(
    group: Group, folder: RunFolder, part: _Part, waves: Iterable[int], job: Mapping[str, Any]
) -> None:
    """Train some waves of one model."""
    task, plan = part.task, part.plan
    # All processes take the waves in order, so those before one's own are done, or nearly.
    begin, num_steps = task.schedule.begin, task.schedule.num_steps
    per_wave = plan.wave * (num_steps - begin)
    total = part.num_waves * per_wave
    with (
        Progress(part.title(group), total, "member-steps", "compiling") as progress,
        Checkpointer(folder, part.name, task) as checkpointer,
    ):
        if kept := part.kept(folder):
            progress.say(f"goes on: {kept} of {part.num_waves} waves of {task.label} are kept")

        def on_segment(segment: Segment) -> None:
            checkpointer.after_segment(segment, plan.wave)
            done = segment.wave * per_wave + (segment.step - begin) * plan.wave
            at = {"wave": segment.wave, "step": segment.step, "loss": segment.loss}
            progress.to(done, f"loss {segment.loss:.3f}", stop=False, **at)
            try:
                group.check()
            except ProcessEnded:
                checkpointer.save(segment)
                raise

        def restore(wave: int, like: Snapshot) -> Snapshot | None:
            found = checkpointer.restore(wave, like)
            if found is not None:
                step = int(found.state.step)
                progress.say(f"goes on: {task.label} at step {step:,} of wave {wave + 1}")
            return found

        for wave in train_population(
            task.learner(plan),
            task.data.train.data,
            task.schedule,
            members=task.members,
            plan=plan,
            evaluations=task.evaluations,
            seeds=task.seeds,
            observe=sketch,
            begin=None if callable(task.start) else task.start,
            keep_logits="test" if job["keep"][task.label] == "logits" else "",
            keep_params=[s for s in job["keep_params"] if begin <= s <= num_steps],
            keep_state=task.until > 0,
            waves=waves,
            restore=restore,
            on_segment=on_segment,
        ):
            checkpointer.keep_wave(wave)
