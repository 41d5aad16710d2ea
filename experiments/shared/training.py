"""Trains the populations of a config into a run folder, and goes on where one was left."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from catdog_jax.analysis.sketch import sketch
from catdog_jax.data import dataset_spec, load_dataset
from catdog_jax.population import (
    Plan,
    parse_vary,
    train_population,
    use_all_cores,
    use_compilation_cache,
)
from catdog_jax.population.waves import Segment
from catdog_jax.registry import parse_entry
from catdog_jax.store import Run, RunFolder, open_run, run_name
from catdog_jax.types import Dataset, InputError
from experiments.shared import jobs as job_module
from experiments.shared.announce import announcement, check_disk, manifest_facts
from experiments.shared.config import TrainConfig
from experiments.shared.interrupt import deferred
from experiments.shared.jobs import Job
from experiments.shared.keeper import Keeper
from experiments.shared.progress import Progress, ReadingProgress
from experiments.shared.results import Trained, assemble

GROWABLE = ("num_members",)


def train_to_folder(config: TrainConfig, experiment: str) -> tuple[Run, Path]:
    """Train what a config asks for, or open it where that is done already.

    Args:
      config: the settings.
      experiment: name of the folder below `config.out_dir`.

    Returns:
      The finished run and its folder.

    Raises:
      InputError: wrong input; nothing is touched.
      Interrupted: a signal came; the work so far is saved.
      RuntimeError: disk full, or folder in use.
    """
    dataset = prepare(config)
    entries = job_module.split_models(
        config.models or dataset_spec(config.dataset, data_dir=config.data_dir).models
    )
    jobs = job_module.make_jobs(config, dataset, entries)
    facts = job_module.recipe_facts(config, dataset, jobs)
    stem = "+".join(parse_entry(e)[0] for e in entries)
    return fill_folder(
        config,
        experiment,
        dataset,
        jobs,
        facts,
        stem,
        lambda _, trained: assemble(dataset, jobs, trained, facts),
        growable=GROWABLE,
    )


def prepare(config: TrainConfig) -> Dataset:
    """Check a config, take the machine's cores, and read the data.

    Raises:
      InputError: wrong input; nothing is touched.
    """
    parse_vary(config.vary)
    job_module.check_config(config)
    use_all_cores()
    use_compilation_cache(config.compile_cache)
    return read_dataset(config)


def fill_folder(
    config: TrainConfig,
    experiment: str,
    dataset: Dataset,
    jobs: Sequence[Job],
    facts: Mapping[str, Any],
    stem: str,
    finish: Callable[[RunFolder, list[Trained]], xr.Dataset],
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
      facts: all that decides the numbers of the run, ready for JSON.
      stem: of the name that an unnamed run gets, behind the data set's.
      finish: (run folder, what was trained, in the order of the jobs) -> the results. Called once
        all is trained; deterministic. The folder is given for `update_manifest`.
      growable: facts that may be larger than those of finished results, which are then added to.

    Returns:
      The finished run and its folder.
    """
    vary = parse_vary(config.vary)
    plans = [job_module.job_plan(config, job, config.strategy, config.wave) for job in jobs]
    check_disk(config, jobs)
    name = _name(config, facts, stem, growable)
    with RunFolder.open(
        config.out_dir, experiment, name, facts, growable=growable, fresh=config.fresh
    ) as folder:
        if folder.finished:
            print(f"already done: {folder.path} holds these results; nothing is computed")
            return open_run(folder.path), folder.path
        if "num_members" in growable:
            # What is asked for, or what finished results hold already, where that is more.
            config = dataclasses.replace(config, num_members=folder.recipe["num_members"])
        plans = _recorded_plans(folder, config, jobs, plans)
        folder.update_manifest(**manifest_facts(config, experiment, dataset, jobs, plans))
        if dataset.name == "folder":
            folder.write_files(dataset.files)
        print(announcement(config, dataset, jobs, plans, folder.path), flush=True)
        for job, plan in zip(jobs, plans, strict=True):
            _train_job(folder, config, job, plan, vary)
        trained = [
            _trained(folder, job, plan, config.num_members)
            for job, plan in zip(jobs, plans, strict=True)
        ]
        folder.write_results(finish(folder, trained))
        return open_run(folder.path), folder.path


def is_finished(config: TrainConfig, experiment: str, facts: Mapping[str, Any], stem: str) -> bool:
    """Tell whether `fill_folder` with these arguments would find its work done.

    An answer of False may be wrong (a folder that cannot be read): then work is done twice.
    """
    if config.fresh:
        return False
    try:
        open_run(Path(config.out_dir) / experiment / _name(config, facts, stem, ()))
    except InputError:
        return False
    return True


def _name(config: TrainConfig, facts: Mapping[str, Any], stem: str, growable: Sequence[str]) -> str:
    stem = f"{parse_entry(config.dataset)[0]}-{stem}"
    return config.name or run_name(stem, dict(facts), ignore=tuple(growable))


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


def refuse_all_lost(run: Run, path: Path) -> None:
    """Raise where a model has no member left; call it last, when all is kept and shown.

    Raises:
      RuntimeError: every member of some model was frozen.
    """
    for entry in run.data["model"].values:
        steps = run.data["frozen_step"].sel(model=entry).values
        if (steps >= 0).all():
            raise RuntimeError(
                f"all {len(steps)} members of {entry} were lost (a loss that was not finite, first "
                f"at step {steps.min()}); lower --learning_rate; what there is: {path}"
            )


def _recorded_plans(
    folder: RunFolder, config: TrainConfig, jobs: Sequence[Job], plans: list[Plan]
) -> list[Plan]:
    """Take the plans of the manifest where the run was begun before: the bits depend on them."""
    recorded = folder.manifest.get("plans")
    if recorded is None:
        return plans
    repeated = []
    for job in jobs:
        plan = Plan(**recorded[job.label])
        if plan.num_devices > jax.local_device_count():
            wave = plan.wave
            plan = job_module.job_plan(config, job, plan.strategy, wave)
            if plan.wave != wave:  # members would be left out, or counted twice
                raise InputError(
                    f"run {folder.path.name!r} was begun in waves of {wave} members of "
                    f"{job.label}, which {plan.num_devices} device(s) cannot share evenly; give "
                    "it as many devices as before, or choose another --name"
                )
        repeated.append(plan)
    return repeated


def _train_job(
    folder: RunFolder,
    config: TrainConfig,
    job: Job,
    plan: Plan,
    vary: tuple[str, ...],
) -> None:
    """Train the waves of one model that are not in the folder yet."""
    num_waves = math.ceil(config.num_members / plan.wave)
    done = [w for w in range(num_waves) if folder.load_wave(job.part, w) is not None]
    if len(done) == num_waves:
        return
    total = num_waves * plan.wave * job.schedule.num_steps
    per_wave = plan.wave * job.schedule.num_steps
    title = f"{job.label} × {config.num_members}"
    with (
        deferred(f"{job.label} is trained and saved in {folder.path}"),
        Progress(title, total, "member-steps", len(done) * per_wave) as progress,
        Keeper(folder, job) as keeper,
    ):

        def on_segment(segment: Segment) -> None:
            progress.to(segment.done, f"loss {segment.loss:.3f}")
            keeper.after_segment(segment, plan.wave)

        for wave in train_population(
            job_module.job_learner(config, job, plan),
            job.dataset.train.data,
            job.schedule,
            num_members=config.num_members,
            plan=plan,
            evaluations=job_module.evaluation_sets(job.dataset),
            seeds=job_module.seeds_of(config),
            vary=vary,
            observe=sketch,
            skip=done,
            restore=keeper.restore,
            on_segment=on_segment,
        ):
            keeper.keep_wave(wave)


def _trained(folder: RunFolder, job: Job, plan: Plan, num_members: int) -> Trained:
    """Join the waves of one model and leave out the members that were not asked for."""
    indices = range(math.ceil(num_members / plan.wave))
    waves = [folder.load_wave(job.part, index) for index in indices]
    found = [wave for wave in waves if wave is not None]
    arrays = {
        name: np.concatenate([wave[name] for wave in found])[:num_members]
        for name in found[0]
        if name != "steps"
    }
    like = jax.eval_shape(job.model.init, jax.random.key(0))
    parts = [folder.load_params(job.part, index, like) for index in indices]
    params = jax.tree.map(lambda *xs: np.concatenate(xs)[:num_members], *parts)
    return Trained(found[0]["steps"], arrays, params)
