"""Trains the populations of a config into a run folder, and goes on where one was left."""

import dataclasses
import itertools
import math
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import jax
import numpy as np

from catdog_jax.analysis.sketch import sketch
from catdog_jax.data import dataset_spec, load_dataset
from catdog_jax.population import (
    Plan,
    distributed,
    train_population,
    use_all_cores,
    use_compilation_cache,
)
from catdog_jax.population.distributed import Group, ProcessEnded
from catdog_jax.population.waves import Segment
from catdog_jax.registry import parse_entry
from catdog_jax.store import Run, RunFolder, open_run, run_name
from catdog_jax.types import Dataset, InputError
from experiments.shared import jobs as job_module
from experiments.shared.checkpointer import Checkpointer
from experiments.shared.config import TrainConfig
from experiments.shared.interrupt import deferred
from experiments.shared.jobs import Job
from experiments.shared.plans import has_plans, kept_plans, new_plans
from experiments.shared.processes import WaveQueue, WorkerDone, check_same, joined_timings
from experiments.shared.progress import Progress, ReadingProgress
from experiments.shared.results import Trained, assemble
from experiments.shared.run_summary import check_disk, manifest_entries, run_summary

if TYPE_CHECKING:
    import xarray as xr


GROWABLE = ("num_members",)
WAITING_SECONDS = 0.5


def train_to_folder(
    config: TrainConfig,
    experiment: str,
    dataset: Dataset | None = None,
    models: str = "",
    measure: "Callable[[Sequence[Job], list[Trained]], xr.Dataset] | None" = None,
) -> tuple[Run, Path]:
    """Train what a config asks for, or open it where that is done already.

    Args:
      config: the settings.
      experiment: name of the folder below `config.out_dir`.
      dataset: of `prepare`; None to call it.
      models: where config names none; empty: those of the data set.
      measure: (jobs, what was trained) -> what the results hold besides; None: no more.

    Returns:
      The finished run and its folder.

    Raises:
      InputError: wrong input; nothing is touched.
      Interrupted: a signal came; the work so far is saved.
      RuntimeError: disk full, or folder in use.
    """
    dataset = prepare(config) if dataset is None else dataset
    models = models or dataset_spec(config.dataset, data_dir=config.data_dir).models
    entries = job_module.split_models(config.models or models)
    jobs = job_module.make_jobs(config, dataset, entries)
    settings = job_module.run_settings(config, dataset, jobs)

    def finish(_: RunFolder, trained: list[Trained]) -> "xr.Dataset":
        ended = assemble(dataset, jobs, trained, settings)
        if measure is None:
            return ended
        return ended.merge(measure(jobs, trained), combine_attrs="no_conflicts")

    names = [parse_entry(e)[0] for e in entries]
    short_name = "+".join(dict.fromkeys(names) if measure else names)
    return fill_folder(
        config, experiment, dataset, jobs, settings, short_name, finish, growable=GROWABLE
    )


def prepare(config: TrainConfig) -> Dataset:
    """Check a config, meet the other processes of the run, take the devices, and read the data.

    Raises:
      InputError: wrong input; nothing is touched.
      RuntimeError: the other processes did not come, or have ended.
    """
    job_module.check_config(config)
    use_all_cores()
    group = distributed.join(config.coordinator, config.num_processes, config.process_id)
    use_compilation_cache(config.compile_cache)
    if not _writes_cache(group, jax.config.values["jax_compilation_cache_dir"]):
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e9)
    return _read_together(config, group)


def _writes_cache(group: Group, folder: str | None) -> bool:
    """Return whether this process keeps what it compiles: one of those that share a folder does.

    JAX writes its cache without care for others that write the same. The number of a folder is the
    same on all machines that see it; of two folders that happen to have the same, one is not
    written, which does no harm.
    """
    try:
        number = os.stat(folder).st_ino if folder else 0
    except OSError:  # in a bucket
        number = 0
    same = [index for index, n in group.gather("compile_cache", number).items() if n == number]
    return min(same) == group.index


def _read_together(config: TrainConfig, group: Group) -> Dataset:
    """Read the data set; where any process may fetch it, the first one does so before the others.

    What the first one has fetched is there for all that see the same data_dir.
    """
    fetching = any(group.gather("download", config.download).values())
    if fetching and not group.first:
        group.wait_for("fetched")
    dataset = read_dataset(config)
    if fetching and group.first:
        group.tell("fetched", True)
    return dataset


def fill_folder(
    config: TrainConfig,
    experiment: str,
    dataset: Dataset,
    jobs: Sequence[Job],
    settings: Mapping[str, Any],
    short_name: str,
    finish: Callable[[RunFolder, list[Trained]], "xr.Dataset"],
    *,
    growable: Sequence[str] = (),
) -> tuple[Run, Path]:
    """Train the jobs of a run into its folder, make the results of them, and open it.

    A run that is done is only opened; one that was stopped goes on.

    Args:
      config: the settings.
      experiment: name of the folder below `config.out_dir`.
      dataset: the run's.
      jobs: the models to train, each on its own data set; may be none.
      settings: all that decides the numbers of the run, ready for JSON.
      short_name: of the name that an unnamed run gets, behind the data set's.
      finish: (run folder, what was trained, in the order of the jobs) -> the results. Called once
        all is trained; deterministic. The folder is given for `update_manifest`.
      growable: settings that may be larger than those of finished results, which are then added to.

    Returns:
      The finished run and its folder.
    """
    group = distributed.current()
    run = run_name("", dict(settings))  # what the processes call it
    check_same(group, run, experiment, settings)
    if not group.first:
        _help(group, run, config, experiment, jobs)
    name = _name(config, settings, short_name, growable)
    planned = None
    if not has_plans(config, experiment, name):  # before a folder is made: it may be refused
        planned = new_plans(config, jobs, group.count)
    check_disk(config, jobs)
    with RunFolder.open_or_create(
        config.out_dir, experiment, name, settings, growable=growable, fresh=config.fresh
    ) as folder:
        if folder.finished:
            print(f"already done: {folder.path} holds these results; nothing is computed")
            group.tell(f"{run}/task", {})
            return open_run(folder.path), folder.path
        if "num_members" in growable:
            # What is asked for, or what finished results hold already, where that is more.
            config = dataclasses.replace(config, num_members=folder.recipe["num_members"])
        planned = kept_plans(folder, config, jobs) or planned
        plans, trials = planned or new_plans(config, jobs, group.count)
        before = dict(folder.manifest.get("timings", {}))
        described = manifest_entries(config, experiment, dataset, jobs, plans)
        folder.update_manifest(trials=trials, **described)
        if dataset.name == "folder":
            folder.write_files(dataset.files)
        print(run_summary(config, dataset, jobs, plans, folder.path, group.count), flush=True)
        task = {
            "name": folder.path.name,
            "session": folder.manifest["sessions"][-1],
            "backend": jax.default_backend(),
            "plans": [plan._asdict() for plan in plans],
            "num_members": config.num_members,
        }
        group.tell(f"{run}/task", task)
        _train_jobs(group, run, folder, config, jobs, plans)
        told = [group.told(f"{run}/timings/{index}") for index in range(1, group.count)]
        if others := [timings for timings in told if timings is not None]:
            spent = folder.manifest.get("timings", {})
            folder.update_manifest(timings=joined_timings(before, spent, others))
        trained = [
            _trained(folder, job, plan, config.num_members)
            for job, plan in zip(jobs, plans, strict=True)
        ]
        folder.write_results(finish(folder, trained))
        return open_run(folder.path), folder.path


def _help(
    group: Group, run: str, config: TrainConfig, experiment: str, jobs: Sequence[Job]
) -> NoReturn:
    """Train waves of the run that process 0 has begun.

    Raises:
      WorkerDone: all waves are done.
      ProcessEnded: process 0 has ended.
      InputError: this process has other devices, or does not see the folder.
    """
    if task := group.wait_for(f"{run}/task"):
        config = dataclasses.replace(config, num_members=task["num_members"])
        plans = [Plan(**plan) for plan in task["plans"]]
        devices, kind = jax.local_device_count(), jax.default_backend()
        needed = max((plan.num_devices for plan in plans), default=1)
        if kind != task["backend"] or devices < needed:
            raise InputError(
                f"{group.name} has {devices} {kind} device(s), and process 0 needs {needed} of "
                f"{task['backend']}; give all processes the same (on CPU by JAX_NUM_CPU_DEVICES)"
            )
        path = Path(config.out_dir).expanduser() / experiment / task["name"]
        with RunFolder.join(path, group.index, task["session"]) as folder:
            print(
                f"{group.name} on {socket.gethostname()}: trains on {devices} {kind} device(s); "
                f"run folder: {path}",
                flush=True,
            )
            _train_jobs(group, run, folder, config, jobs, plans)
    print(f"{group.name}: done", flush=True)
    raise WorkerDone


def is_finished(
    config: TrainConfig, experiment: str, settings: Mapping[str, Any], short_name: str
) -> bool:
    """Return whether `fill_folder` with these arguments would find its work done.

    An answer of False may be wrong (a folder that cannot be read): then work is done twice.
    True in a process that is not the first of its run, for it makes no results.
    """
    if not distributed.current().first:
        return True
    if config.fresh:
        return False
    try:
        open_run(Path(config.out_dir) / experiment / _name(config, settings, short_name, ()))
    except InputError:
        return False
    return True


def _name(
    config: TrainConfig, settings: Mapping[str, Any], short_name: str, growable: Sequence[str]
) -> str:
    short_name = f"{parse_entry(config.dataset)[0]}-{short_name}"
    return config.name or run_name(short_name, dict(settings), ignore=tuple(growable))


def read_dataset(config: TrainConfig) -> Dataset:
    """Load the data set a config names, with a bar where that takes long."""
    bar = ReadingProgress()
    return load_dataset(
        config.dataset,
        data_dir=config.data_dir,
        classes=tuple(part.strip() for part in config.classes.split(",") if part.strip()),
        image_size=config.image_size,
        download=config.download,
        progress=bar.to,
    )


def raise_if_all_diverged(run: Run, path: Path) -> None:
    """Raise where a model has no member left; call it last, when all is kept and shown.

    Raises:
      RuntimeError: every member of some model diverged.
    """
    for entry in run.data["model"].values:
        steps = run.data["diverged_step"].sel(model=entry).values
        if (steps >= 0).all():
            raise RuntimeError(
                f"all {len(steps)} members of {entry} diverged (a loss that was not finite, first "
                f"at step {steps.min()}); lower --learning_rate; what there is: {path}"
            )


def _train_jobs(
    group: Group,
    run: str,
    folder: RunFolder,
    config: TrainConfig,
    jobs: Sequence[Job],
    plans: Sequence[Plan],
) -> None:
    """Train all waves of a run, with its other processes; returns when all waves are done."""
    queues = [
        WaveQueue(group, f"{run}/{job.folder}", math.ceil(config.num_members / plan.wave))
        for job, plan in zip(jobs, plans, strict=True)
    ]
    while True:
        for job, plan, queue in zip(jobs, plans, queues, strict=True):
            untrained = (w for w in queue.take() if folder.load_wave(job.folder, w) is None)
            if (first := next(untrained, None)) is not None:
                _train_job(group, folder, config, job, plan, itertools.chain([first], untrained))
                group.tell(f"{run}/timings/{group.index}", folder.manifest["timings"])
            queue.finish()
        if not [queue for queue in queues if queue.unfinished()]:
            return
        group.check()  # others train what is left, unless they are gone
        time.sleep(WAITING_SECONDS)


def _train_job(
    group: Group,
    folder: RunFolder,
    config: TrainConfig,
    job: Job,
    plan: Plan,
    waves: Iterable[int],
) -> None:
    """Train some waves of one model."""
    # All processes take the waves in order, so those before one's own are done, or nearly.
    per_wave = plan.wave * job.schedule.num_steps
    total = math.ceil(config.num_members / plan.wave) * per_wave
    title = f"{job.label} × {config.num_members}"
    title = f"{group.name}: {title}" if group.count > 1 else title
    with (
        deferred(f"{job.label} is trained and saved in {folder.path}"),
        Progress(title, total, "member-steps") as progress,
        Checkpointer(folder, job) as checkpointer,
    ):

        def on_segment(segment: Segment) -> None:
            done = segment.wave * per_wave + segment.step * plan.wave
            progress.to(done, f"loss {segment.loss:.3f}")
            checkpointer.after_segment(segment, plan.wave)
            try:
                group.check()
            except ProcessEnded:
                checkpointer.save(segment)
                raise

        for wave in train_population(
            job_module.job_learner(config, job, plan),
            job.dataset.train.data,
            job.schedule,
            members=job_module.members_of(config),
            plan=plan,
            evaluations=job_module.evaluation_sets(job.dataset),
            seeds=job_module.seeds_of(config),
            observe=sketch,
            waves=waves,
            restore=checkpointer.restore,
            on_segment=on_segment,
        ):
            checkpointer.keep_wave(wave)


def _trained(folder: RunFolder, job: Job, plan: Plan, num_members: int) -> Trained:
    """Join the waves of one model and leave out the members that were not asked for."""
    indices = range(math.ceil(num_members / plan.wave))
    waves = [folder.await_wave(job.folder, index) for index in indices]
    arrays = {
        name: np.concatenate([wave[name] for wave in waves])[:num_members]
        for name in waves[0]
        if name != "steps"
    }
    like = jax.eval_shape(job.model.init, jax.random.key(0))
    parts = [folder.load_params(job.folder, index, like) for index in indices]
    params = jax.tree.map(lambda *xs: np.concatenate(xs)[:num_members], *parts)
    return Trained(waves[0]["steps"], arrays, params)
