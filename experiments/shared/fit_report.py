"""Judges one model's compiled programs and says so, for a person and as JSON."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from catdog_jax.population import Plan
from catdog_jax.population.compiled import groups_text
from catdog_jax.population.topology import Machine
from catdog_jax.store.atomic import replacing, writing
from catdog_jax.store.manifest import run_name, versions
from catdog_jax.types import InputError
from experiments.shared import fit_programs as programs
from experiments.shared.config import TrainConfig, deciding
from experiments.shared.fit_peaks import Bound, bound, peak_of
from experiments.shared.fit_programs import Part, Work
from experiments.shared.fit_search import MOST_TRIALS, Trial, best
from experiments.shared.fit_wave import Search, fitted, search_waves
from experiments.shared.jobs import Job, rule_for, searches
from experiments.shared.progress import duration
from experiments.shared.report import aligned, size


class Times(NamedTuple):
    """The least time a run can take on a machine.

    Attributes:
      step: of one training step of a full wave.
      training, evaluation: seconds in all.
      waves: how many one after another.
    """

    step: Bound
    training: float
    evaluation: float
    waves: int


class Result(NamedTuple):
    """What was found of one model.

    Attributes:
      plan: of the run; None where it cannot be planned.
      parts: its programs, compiled.
      trials: what was compiled to find the largest wave.
      work: what one member costs.
      times: bounds, None where the device's peaks are not published.
      reason: why the run does not fit, or members are coupled; '' where all is well.
    """

    plan: Plan | None
    parts: list[Part]
    trials: list[Trial]
    work: Work
    times: Times | None
    reason: str


def check_model(
    config: TrainConfig,
    job: Job,
    machine: Machine,
    search: bool = True,
    tell: Callable[[str], None] = lambda text: None,
) -> Result:
    """Compile a job's programs for a machine and judge them.

    Args:
      config, job: the training run that is asked about.
      machine: to compile for.
      search: whether to look for the largest wave that fits where a run does not.
      tell: called with a line before each compilation.
    """
    work = programs.work_of(config, job)
    try:
        plan = rule_for(config, job, machine, config.strategy, config.conv, config.wave)
    except InputError as error:
        return Result(None, [], [], work, None, f"{job.label}: {error}")
    found = Search([], {})
    if search or searches(machine, config.wave):
        found = search_waves(config, job, plan, machine, tell)
    refusal = ""
    if searches(machine, config.wave):
        try:
            plan = fitted(config, job, plan, found.trials)
        except InputError as error:
            refusal = str(error)
            plan = programs.resized(plan, min(found.parts))
    parts = found.parts.get(programs.members_per_device(plan))
    if parts is None:
        parts = programs.compile_programs(config, job, plan, machine, tell)
    return Result(
        plan,
        parts,
        found.trials,
        work,
        _times(config, job, plan, machine, work),
        _reason(job, parts, machine, refusal),
    )


def _reason(job: Job, parts: Sequence[Part], machine: Machine, refusal: str = "") -> str:
    """Say what is wrong with a plan's programs, coupled members first; '' where nothing is.

    `refusal` is what a run would say, if it found no wave.
    """
    for part in parts:
        for found in part.collectives:
            if found.couples_members:
                return (
                    f"{job.label}: the {part.name} program couples members: {found.kind} over "
                    f"devices {groups_text(found.groups)}; this is a bug, please report it"
                )
    if refusal:
        return refusal
    for part in parts:
        if not programs.fits([part], machine):
            need = f"{size(part.needed)}" if part.needed else "more"
            return (
                f"{job.label}: the {part.name} program needs {need} on each device, where a wave "
                f"may fill {size(programs.usable(machine))}; give a smaller --wave"
            )
    return ""


def _times(config: TrainConfig, job: Job, plan: Plan, machine: Machine, work: Work) -> Times | None:
    peak = peak_of(machine.kind)
    if peak is None:
        return None
    members = programs.members_per_device(plan)
    waves = programs.num_waves(config, members, plan)
    step = bound(
        peak,
        config.precision,
        members * work.step_flops / plan.share,
        members * work.step_bytes,
    )
    judged = work.judged * job.schedule.num_evaluations
    evaluation = bound(
        peak, config.precision, members * work.judge_flops * judged / plan.share, 0.0
    )
    return Times(
        step, waves * job.schedule.num_steps * step.seconds, waves * evaluation.seconds, waves
    )


def report(config: TrainConfig, job: Job, machine: Machine, result: Result) -> str:
    """Write what was found of one model."""
    work, plan = result.work, result.plan
    costs = (
        f"  one member: {job.num_params:,} weights; {_operations(work.step_flops)} a training step "
        f"of {job.recipe.batch_size}, {_operations(work.judge_flops)} an example judged"
    )
    if plan is None:
        return "\n".join(["", result.reason, costs])
    per_device = programs.members_per_device(plan)
    waves = programs.num_waves(config, per_device, plan)
    place = "device" if plan.share == 1 else f"{plan.share} devices"
    head = ["program", "arguments", "outputs", "in place", "temporaries", "peak", "beside", "all"]
    rows = [[*head, f"of {size(programs.usable(machine))}"]]
    rows += [_row(part, machine) for part in result.parts]
    return "\n".join(
        [
            "",
            f"{job.label}: {waves} wave{'s' if waves > 1 else ''} of {plan.wave:,} members "
            f"({per_device:,} a {place}); {plan.strategy}, convolution {plan.conv}",
            costs,
            "  memory of each device:",
            *("    " + line for line in aligned(rows)),
            *(f"    {part.name}: {part.refusal}" for part in result.parts if part.refusal),
            *_communication(result.parts),
            *_largest(config, plan, machine, result.trials),
            _time_line(config, job, plan, machine, result.times),
            f"  {job.label} fits: {'no' if result.reason else 'yes'}",
        ]
    )


def _row(part: Part, machine: Machine) -> list[str]:
    all_of_it = part.needed
    share = f"{100 * all_of_it / programs.usable(machine):.0f} %" if all_of_it else "too much"
    if part.memory is None:
        wanted = size(all_of_it) if all_of_it else "?"
        return [part.name, *["?"] * 5, size(part.beside), wanted, share]
    memory = part.memory
    figures = (memory.arguments, memory.outputs, memory.aliases, memory.temporaries, memory.peak)
    return [part.name, *map(size, figures), size(part.beside), size(all_of_it or 0), share]


def _communication(parts: Sequence[Part]) -> list[str]:
    lines = []
    for part in parts:
        if part.memory is None:
            continue
        for found in part.collectives:
            over = "OVER MEMBERS" if found.couples_members else "within each member's own devices"
            lines.append(
                f"  communication in {part.name}: {found.kind} × {found.occurrences} {over}, "
                f"devices {groups_text(found.groups)}"
            )
    if not lines and any(part.memory is not None for part in parts):
        lines.append("  communication between devices: none, so none over members")
    return lines


def _largest(
    config: TrainConfig, plan: Plan, machine: Machine, trials: Sequence[Trial]
) -> list[str]:
    if not trials:
        return []
    found = best(list(trials))
    tried = ", ".join(
        f"{t.members:,} ({size(t.needed) if t.needed else 'refused'}{'' if t.fits else ', no'})"
        for t in trials
    )
    if found is None:
        return [f"  no wave that fits was found; members a device tried: {tried}"]
    wave = programs.resized(plan, found.members).wave
    waves = programs.num_waves(config, found.members, plan)
    bad = min((t.members for t in trials if not t.fits), default=None)
    if wave >= config.num_members:
        text = f"  largest wave that fits: all {config.num_members:,} members at once"
    else:
        text = f"  largest wave that fits: {wave:,} members ({found.members:,} a device"
        text += f"; {bad:,} do not fit)" if bad is not None else ")"
        if len(trials) == MOST_TRIALS:
            text += f", as far as {MOST_TRIALS} compilations tell"
    return [
        f"{text}; {waves} wave{'s' if waves > 1 else ''} for {config.num_members:,}",
        f"    members a device tried: {tried}",
    ]


def _time_line(
    config: TrainConfig, job: Job, plan: Plan, machine: Machine, times: Times | None
) -> str:
    if times is None:
        return f"  time: no peak is published for {machine.kind!r}; measure it"
    peak = peak_of(machine.kind)
    assert peak is not None
    return (
        f"  time at the very best: {_short(times.step.seconds)} a step of {plan.wave:,} members "
        f"(bound by {times.step.by}; {peak.flops[config.precision] / 1e12:,.0f} TF/s in "
        f"{config.precision}, {peak.bandwidth / 1e9:,.0f} GB/s, {peak.source}), "
        f"{duration(times.training)} for {job.schedule.num_steps:,} steps of {times.waves} "
        f"wave{'s' if times.waves > 1 else ''}, {duration(times.evaluation)} to judge them "
        f"{job.schedule.num_evaluations} times"
    )


def _operations(count: float) -> str:
    for unit, scale in (("GFLOP", 1e9), ("MFLOP", 1e6)):
        if count >= scale:
            return f"{count / scale:,.2f} {unit}"
    return f"{count / 1e3:,.1f} kFLOP"


def _short(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def write(config: Any, jobs: Sequence[Job], machine: Machine, results: Sequence[Result]) -> Path:
    """Write every figure to fit_check.json in the run folder, whole or not at all."""
    facts = deciding(config)
    name = config.name or run_name(f"{config.topology}-{config.models}", facts)
    path = Path(config.out_dir).expanduser() / "fit_check" / name / "fit_check.json"
    devices = {"kind": machine.kind, "backend": machine.backend, "memory": machine.memory}
    content = {
        "settings": facts,
        "versions": versions(),
        "devices": {"count": len(machine.devices), **devices, "usable": programs.usable(machine)},
        "fits": not any(result.reason for result in results),
        "models": {
            job.label: {
                "plan": result.plan._asdict() if result.plan else None,
                "recipe": job.recipe._asdict(),
                "num_params": job.num_params,
                "programs": {part.name: _part_json(part) for part in result.parts},
                "trials": [trial._asdict() for trial in result.trials],
                "work": result.work._asdict(),
                "times": _times_json(result.times),
                "reason": result.reason,
            }
            for job, result in zip(jobs, results, strict=True)
        },
    }
    with writing("fit_check.json", path.parent), replacing(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
    return path


def _part_json(part: Part) -> dict[str, Any]:
    return {
        **part._asdict(),
        "memory": part.memory._asdict() if part.memory else None,
        "needed": part.needed,
        "collectives": [found._asdict() for found in part.collectives],
    }


def _times_json(times: Times | None) -> dict[str, Any] | None:
    return None if times is None else {**times._asdict(), "step": times.step._asdict()}
